//! External account binding.

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD, Engine};
use zeroize::Zeroizing;

use super::AcmeError;

/// An external account (RFC 8555 section 7.3.4). No `Debug`.
pub struct Binding {
    pub kid: String,
    pub(super) hmac: Zeroizing<Vec<u8>>,
}

impl Binding {
    /// `hmac`: the key as CAs show it, in base64url with or without padding, or in plain base64.
    pub fn new(kid: String, hmac: &str) -> Result<Self, AcmeError> {
        let text = hmac.trim();
        let hmac = BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .or_else(|_| BASE64_URL_SAFE.decode(text))
            .or_else(|_| BASE64_STANDARD.decode(text))
            .map_err(|_| AcmeError::BindingKey { why: malformed(text) })?;
        if hmac.is_empty() {
            return Err(AcmeError::BindingKey { why: "it is empty" });
        }
        Ok(Self { kid, hmac: Zeroizing::new(hmac) })
    }
}

fn malformed(text: &str) -> &'static str {
    if text.starts_with('\u{feff}') {
        "it begins with a byte order mark (U+FEFF)"
    } else if text.contains(['"', '\'']) {
        "it has quotes"
    } else {
        "it is not base64url (RFC 4648 section 5)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;

    #[test]
    fn an_external_key_is_read_in_every_form_that_cas_show() {
        for text in ["_-8", "_-8=", "/+8=", " _-8\n"] {
            assert_eq!(*Binding::new("kid".to_owned(), text).ok().unwrap().hmac, [0xff, 0xef], "{text}");
        }
        for (text, why) in
            [("\"_-8\"", "quotes"), ("\u{feff}_-8", "byte order mark"), ("not base64!", "base64url"), ("", "empty")]
        {
            let error = Binding::new("kid".to_owned(), text).err().unwrap();
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(error.code(), Code::AcmeEab);
            assert!(error.next().contains("acme.eab.hmac_file"), "{}", error.next());
        }
    }
}

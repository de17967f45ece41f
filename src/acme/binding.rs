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
            .map_err(|_| AcmeError::Key { why: "the file of `acme.eab` holds no base64".to_owned() })?;
        Ok(Self { kid, hmac: Zeroizing::new(hmac) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_key_is_read_in_every_form_that_cas_show() {
        for text in ["_-8", "_-8=", "/+8=", " _-8\n"] {
            assert_eq!(*Binding::new("kid".to_owned(), text).ok().unwrap().hmac, [0xff, 0xef], "{text}");
        }
        assert!(Binding::new("kid".to_owned(), "not base64!").is_err());
    }
}

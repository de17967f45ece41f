//! As much DER (X.690) as a private key's older form takes: RFC 8017 appendix A.1.2 and RFC 5915 section 3.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Characters in a line of PEM (RFC 7468 section 2).
const LINE: usize = 64;

pub(super) type Secret = Zeroizing<Vec<u8>>;

pub(super) fn value(tag: u8, content: &[u8]) -> Secret {
    let mut der = Zeroizing::new(Vec::with_capacity(content.len() + 6));
    der.push(tag);
    match content.len() {
        short @ 0..=0x7f => der.push(u8::try_from(short).unwrap_or_default()),
        long => {
            let bytes = long.to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            der.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
            der.extend_from_slice(bytes);
        }
    }
    der.extend_from_slice(content);
    der
}

pub(super) fn sequence(parts: &[Secret]) -> Secret {
    let mut content = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| content.extend_from_slice(part));
    value(0x30, &content)
}

/// Not negative, from its bytes.
pub(super) fn integer(bytes: &[u8]) -> Secret {
    let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let mut content = Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
    if bytes.first().is_none_or(|first| first & 0x80 != 0) {
        content.push(0);
    }
    content.extend_from_slice(bytes);
    value(0x02, &content)
}

pub(super) fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(body.len() + body.len() / LINE + 80));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in body.as_bytes().chunks(LINE) {
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

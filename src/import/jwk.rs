//! A private JSON Web Key (RFC 7517), as certbot keeps its account's, as PEM.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use super::der::{Secret, integer, pem, sequence, value};

/// Bytes of one member: RSA 8192 has twice as few.
const LONGEST: usize = 2_048;

/// RFC 7518 section 6. No `Debug`.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    d: Member,
    #[serde(default)]
    x: Member,
    #[serde(default)]
    y: Member,
    #[serde(default)]
    n: Member,
    #[serde(default)]
    e: Member,
    #[serde(default)]
    p: Member,
    #[serde(default)]
    q: Member,
    #[serde(default)]
    dp: Member,
    #[serde(default)]
    dq: Member,
    #[serde(default)]
    qi: Member,
}

#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Member(String);

impl Drop for Member {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Member {
    fn bytes(&self) -> Option<Secret> {
        let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(self.0.trim_end_matches('=')).ok()?);
        (1..=LONGEST).contains(&bytes.len()).then_some(bytes)
    }
}

/// # Errors
/// What is wrong with it, without any of it.
pub(super) fn to_pem(json: &str) -> Result<Zeroizing<String>, &'static str> {
    // serde's own message may quote the text.
    let jwk: Jwk = serde_json::from_str(json).map_err(|_| "is no private JSON Web Key")?;
    let broken = "is a JSON Web Key with a member that is missing or broken";
    match (jwk.kty.as_str(), jwk.crv.as_str()) {
        ("RSA", _) => rsa(&jwk).ok_or(broken),
        ("EC", "P-256") => ec(&jwk, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], 32).ok_or(broken),
        ("EC", "P-384") => ec(&jwk, &[0x2b, 0x81, 0x04, 0x00, 0x22], 48).ok_or(broken),
        _ => Err("is a JSON Web Key of a type that certd does not read (RSA, P-256 and P-384 are)"),
    }
}

/// RFC 8017 appendix A.1.2.
fn rsa(jwk: &Jwk) -> Option<Zeroizing<String>> {
    let mut parts = vec![integer(&[0])];
    for member in [&jwk.n, &jwk.e, &jwk.d, &jwk.p, &jwk.q, &jwk.dp, &jwk.dq, &jwk.qi] {
        parts.push(integer(&member.bytes()?));
    }
    Some(pem("RSA PRIVATE KEY", &sequence(&parts)))
}

/// RFC 5915 section 3. `curve`: its object identifier; `length`: bytes of a coordinate.
fn ec(jwk: &Jwk, curve: &[u8], length: usize) -> Option<Zeroizing<String>> {
    let padded = |member: &Member| {
        let bytes = member.bytes().filter(|bytes| bytes.len() <= length)?;
        let mut whole = Zeroizing::new(vec![0; length - bytes.len()]);
        whole.extend_from_slice(&bytes);
        Some(whole)
    };
    let (d, x, y) = (padded(&jwk.d)?, padded(&jwk.x)?, padded(&jwk.y)?);
    let point = [&[0x00, 0x04], x.as_slice(), y.as_slice()].concat();
    let parts = [integer(&[1]), value(0x04, &d), value(0xa0, &value(0x06, curve)), value(0xa1, &value(0x03, &point))];
    Some(pem("EC PRIVATE KEY", &sequence(&parts)))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::cert::{DnsName, KeyType, PrivateKey};

    /// RFC 7515 appendix A.3.1: a key that everybody knows.
    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

    /// The JSON Web Key of an RSA key, as certbot writes it.
    fn of_rsa(key: &PrivateKey) -> String {
        let pkcs8 =
            STANDARD.decode(key.pem().lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
        // PKCS#8 has PKCS#1's sequence behind 26 bytes, and that its version behind 4 bytes.
        let mut rest = &pkcs8[26 + 4 + 3..];
        let mut members = Vec::new();
        for name in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
            let (length, header) = match rest[1] {
                0x82 => (usize::from(rest[2]) << 8 | usize::from(rest[3]), 4),
                0x81 => (usize::from(rest[2]), 3),
                short => (usize::from(short), 2),
            };
            let number = &rest[header..header + length];
            let number = number.strip_prefix(&[0]).unwrap_or(number);
            members.push(format!("\"{name}\": \"{}\"", BASE64_URL_SAFE_NO_PAD.encode(number)));
            rest = &rest[header + length..];
        }
        format!("{{{}, \"kty\": \"RSA\"}}", members.join(", "))
    }

    #[test]
    fn json_web_keys_become_keys_that_are_read_and_broken_ones_show_nothing() {
        assert!(PrivateKey::parse(to_pem(EC).unwrap()).unwrap().is_p256());
        let key = PrivateKey::generate(KeyType::Rsa2048).unwrap();
        let read = PrivateKey::parse(to_pem(&of_rsa(&key)).unwrap()).unwrap();
        let names = [DnsName::parse("a.example.com").unwrap()].into_iter().collect();
        // RSA signs the same text with the same bytes, if it is the same key.
        assert_eq!(read.request(&names).unwrap(), key.request(&names).unwrap());
        for (json, why) in [
            ("no json", "no private JSON"),
            (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, "no private JSON"),
            (&EC.replace("f83OJ", "!"), "missing or broken"),
            (&EC.replace("P-256", "P-521"), "does not read"),
        ] {
            assert!(to_pem(json).unwrap_err().contains(why), "{json}");
        }
    }
}

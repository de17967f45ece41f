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
    use super::*;
    use crate::cert::PrivateKey;

    /// RFC 7515 appendix A.3.1 and A.2.1: keys that everybody knows.
    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    const RSA: &str = r#"{"kty":"RSA",
        "n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        "e":"AQAB",
        "d":"Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
        "p":"4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
        "q":"uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
        "dp":"BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
        "dq":"h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
        "qi":"IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuMm9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U"}"#;

    #[test]
    fn keys_of_the_rfc_become_keys_that_are_read_and_broken_ones_show_nothing() {
        // The text of RFC 7515 has one character more in "qi" here: base64url of 128 bytes has 171.
        let rsa = RSA.replace("cY7YIBi", "Y7YIBi");
        for json in [EC, &rsa] {
            PrivateKey::parse(to_pem(json).unwrap()).unwrap();
        }
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

//! Parses the file of a shared key: a `key` block of named.conf, as tsig-keygen(8) writes it, or the secret alone.

use base64::prelude::{BASE64_STANDARD, Engine};
use hickory_proto::rr::Name;
use zeroize::Zeroizing;

use super::UpdateError;
use super::tsig::Key;
use crate::config::{Rfc2136, TsigAlgorithm};
use crate::text::escape;

/// The parsed file; borrowed, so that the secret is not copied.
#[derive(Default)]
struct Written<'t> {
    name: Option<&'t str>,
    algorithm: Option<&'t str>,
    secret: Option<&'t str>,
}

/// # Errors
/// The file has neither form, or contradicts the configuration. No error holds any part of the secret.
pub(super) fn read(text: &str, config: &Rfc2136) -> Result<Key, UpdateError> {
    let bad = |why: String| UpdateError::KeyFile { path: config.key_file.clone(), why };
    let written = written(text).map_err(|why| bad(why.to_owned()))?;
    let name = match (written.name, &config.key_name) {
        (Some(own), Some(other)) if !own.trim_end_matches('.').eq_ignore_ascii_case(other) => {
            return Err(bad(format!("holds the key {:?}, and `dns.key_name` is {other:?}", escape(own, 260))));
        }
        (Some(own), _) => own,
        (None, Some(name)) => name.as_str(),
        (None, None) => return Err(bad("does not name the key, and `dns.key_name` is not set".to_owned())),
    };
    let dotted = format!("{}.", name.trim_end_matches('.'));
    let name = Name::from_ascii(&dotted).map_err(|_| bad("the key's name is not a name".to_owned()))?;
    let own = match written.algorithm {
        Some(text) => Some(TsigAlgorithm::parse(text).ok_or_else(|| {
            let names = TsigAlgorithm::ALL.map(TsigAlgorithm::as_str).join(", ");
            bad(format!("the key is for {:?}, and certd signs with {names}", escape(text, 80)))
        })?),
        None => None,
    };
    let algorithm = match (own, config.algorithm) {
        (Some(own), Some(other)) if own != other => {
            let (own, other) = (own.as_str(), other.as_str());
            return Err(bad(format!("the key is for {own}, and `dns.algorithm` is {other}")));
        }
        (own, other) => own.or(other).unwrap_or_default(),
    };
    let base64 = written.secret.ok_or_else(|| bad("holds no secret".to_owned()))?;
    let mut secret = Zeroizing::new(vec![0; base64.len()]);
    let length = BASE64_STANDARD
        .decode_slice(base64, &mut secret)
        .map_err(|_| bad("the secret is not base64, as tsig-keygen writes it".to_owned()))?;
    secret.truncate(length);
    if secret.is_empty() {
        return Err(bad("the secret is empty".to_owned()));
    }
    Ok(Key { name, algorithm, secret })
}

/// `key "name" { algorithm hmac-sha256; secret "…"; };`, or one word.
fn written(text: &str) -> Result<Written<'_>, &'static str> {
    let words = words(text)?;
    if let [secret] = words.as_slice() {
        return Ok(Written { secret: Some(secret), ..Written::default() });
    }
    let ["key", name, "{", inside @ .., "}", ";"] = words.as_slice() else {
        return Err("holds neither one key block (key \"…\" { algorithm …; secret \"…\"; };) nor one word of base64");
    };
    let mut found = Written { name: Some(name), ..Written::default() };
    for statement in inside.chunks(3) {
        match statement {
            ["algorithm", algorithm, ";"] if found.algorithm.is_none() => found.algorithm = Some(algorithm),
            ["secret", secret, ";"] if found.secret.is_none() => found.secret = Some(secret),
            _ => return Err("its key block has something else than one algorithm and one secret"),
        }
    }
    Ok(found)
}

/// The tokens of named.conf's grammar: quoted or bare words, `{`, `}` and `;`, without comments. (A `//` within a word is
/// base64.)
fn words(text: &str) -> Result<Vec<&str>, &'static str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let line = || rest.find('\n').unwrap_or(rest.len());
        let skipped = if rest.starts_with('#') || rest.starts_with("//") {
            line()
        } else if rest.starts_with("/*") {
            rest.find("*/").ok_or("has a comment without an end")? + 2
        } else if matches!(first, '{' | '}' | ';') {
            words.push(&rest[..1]);
            1
        } else if first == '"' {
            let end = rest[1..].find('"').ok_or("has a text without its closing quote")?;
            words.push(&rest[1..=end]);
            end + 2
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "{};\"".contains(c)).unwrap_or(rest.len());
            words.push(&rest[..end]);
            end
        };
        rest = rest[skipped..].trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;
    use crate::config::Host;

    fn config(key_name: Option<&str>, algorithm: Option<TsigAlgorithm>) -> Rfc2136 {
        Rfc2136 {
            host: Host::Ip(Ipv4Addr::LOCALHOST.into()),
            port: 53,
            key_file: "/etc/certd/tsig.key".into(),
            key_name: key_name.map(str::to_owned),
            algorithm,
            zone: None,
            ttl: 60,
        }
    }

    fn why(text: &str, config: &Rfc2136) -> String {
        match read(text, config) {
            Ok(key) => panic!("{} was taken", key.name),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_output_of_tsig_keygen_needs_no_configuration() {
        let text =
            "// made by hand\nkey \"lab.\" {\n\talgorithm hmac-sha512; # strong\n\tsecret \"c2VjcmV0/w==\";\n};\n";
        let key = read(text, &config(None, None)).unwrap();
        assert_eq!((key.name(), key.algorithm), ("lab".to_owned(), TsigAlgorithm::HmacSha512));
        assert_eq!(*key.secret, b"secret\xff");
    }

    #[test]
    fn a_secret_alone_takes_its_name_and_algorithm_from_the_configuration() {
        let key = read("c2VjcmV0\n", &config(Some("certd-key"), None)).unwrap();
        assert_eq!((key.name(), key.algorithm), ("certd-key".to_owned(), TsigAlgorithm::HmacSha256));
        let key = read("c2VjcmV0", &config(Some("k"), Some(TsigAlgorithm::HmacSha384))).unwrap();
        assert_eq!(key.algorithm, TsigAlgorithm::HmacSha384);
    }

    #[test]
    fn a_malformed_file_is_refused_and_its_secret_is_not_shown() {
        let block = "key \"lab\" { algorithm hmac-sha256; secret \"c2VjcmV0\"; };";
        for (text, config, expected) in [
            ("c2VjcmV0", config(None, None), "does not name the key"),
            ("c2Vj!mV0", config(Some("k"), None), "not base64"),
            ("two words", config(Some("k"), None), "holds neither"),
            (block, config(Some("other"), None), "holds the key \"lab\", and `dns.key_name` is \"other\""),
            (block, config(None, Some(TsigAlgorithm::HmacSha512)), "`dns.algorithm` is hmac-sha512"),
            (&block.replace("sha256", "md5"), config(None, None), "certd signs with hmac-sha256"),
            (&block.replace("};", ""), config(None, None), "holds neither"),
            (&format!("{block}{block}"), config(None, None), "something else"),
            (&block.replace("secret \"c2VjcmV0\";", ""), config(None, None), "holds no secret"),
            ("key \"lab", config(None, None), "closing quote"),
        ] {
            let why = why(text, &config);
            assert!(why.contains(expected), "{text}: {why}");
            assert!(!why.contains("c2V"), "{why}");
        }
    }
}

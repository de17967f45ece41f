//! A server that ends a handshake: has it nothing in common with certd, or does it fail for everybody? The alert is the same.
//! So it gets a ClientHello that offers all that certd does, and what others do besides. Only a choice that certd has not
//! shows that others are served: a server that fails for everybody chooses what all have, or ends this handshake too.

use core::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::route::Route;
use super::{accept_any, tls};
use crate::cert::DnsName;
use crate::model::ProbeError;

/// Of rustls with its default provider, for people.
const OFFERED: &str =
    "certd offers TLS 1.3, and TLS 1.2 with ECDHE and GCM or ChaCha20-Poly1305, over X25519, P-256 or P-384";

/// Bytes of an answer that are read: a ServerHello with its extensions has less.
const ANSWER: usize = 4096;

/// RFC 8446 section 4.1.3: the random of a HelloRetryRequest begins so.
const RETRY: [u8; 4] = [0xcf, 0x21, 0xad, 0x74];

const TLS_1_2: u16 = 0x0303;
const TLS_1_3: u16 = 0x0304;

/// The suites that rustls has not, for TLS 1.2 and before.
const SUITES: [(u16, &str); 24] = [
    (0xc024, "ECDHE and CBC"),
    (0xc028, "ECDHE and CBC"),
    (0xc023, "ECDHE and CBC"),
    (0xc027, "ECDHE and CBC"),
    (0xc00a, "ECDHE and CBC"),
    (0xc014, "ECDHE and CBC"),
    (0xc009, "ECDHE and CBC"),
    (0xc013, "ECDHE and CBC"),
    (0x009f, "DHE"),
    (0x009e, "DHE"),
    (0xccaa, "DHE"),
    (0x006b, "DHE"),
    (0x0067, "DHE"),
    (0x0039, "DHE"),
    (0x0033, "DHE"),
    (0x0016, "DHE"),
    (0x009d, "RSA key exchange"),
    (0x009c, "RSA key exchange"),
    (0x003d, "RSA key exchange"),
    (0x003c, "RSA key exchange"),
    (0x0035, "RSA key exchange"),
    (0x002f, "RSA key exchange"),
    (0x000a, "RSA key exchange"),
    (0x0005, "RSA key exchange"),
];

/// The groups that rustls has not.
const GROUPS: [(u16, &str); 12] = [
    (0x19, "P-521"),
    (0x1e, "X448"),
    (0x11eb, "SecP256r1MLKEM768"),
    (0x11ed, "SecP384r1MLKEM1024"),
    (0x200, "ML-KEM-512"),
    (0x201, "ML-KEM-768"),
    (0x202, "ML-KEM-1024"),
    (0x1a, "brainpoolP256r1"),
    (0x1b, "brainpoolP384r1"),
    (0x1c, "brainpoolP512r1"),
    (0x100, "ffdhe2048"),
    (0x101, "ffdhe3072"),
];

/// What the server chooses.
#[derive(Debug, PartialEq, Eq)]
struct Chosen {
    version: u16,
    suite: u16,
    /// Of TLS 1.3.
    group: Option<u16>,
}

/// What to say of a server that ended a handshake; `None`: it chooses what certd has, or nothing at all.
pub(super) async fn judged(route: &Route, sni: &DnsName, deadline: Duration) -> Option<ProbeError> {
    let chosen = timeout(deadline, ask(route, sni)).await.ok().flatten()?;
    let words = words(&chosen)?;
    Some(ProbeError::NothingInCommon(format!(
        "no TLS version or cipher suite in common: the server takes {words}, and {OFFERED}"
    )))
}

async fn ask(route: &Route, sni: &DnsName) -> Option<Chosen> {
    let (stream, prelude) = route.stream().await?.ok()?;
    let mut stream = tls::begin(stream, sni, prelude).await.ok()?;
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).ok()?;
    stream.write_all(&hello(sni, &random)).await.ok()?;
    let mut answer = Vec::new();
    loop {
        match server_hello(&answer) {
            Parsed::Whole(chosen) => return Some(chosen),
            Parsed::Other => return None,
            Parsed::Part if answer.len() >= ANSWER => return None,
            Parsed::Part => {}
        }
        let mut more = [0; 1024];
        match stream.read(&mut more).await {
            Ok(count) if count > 0 => answer.extend_from_slice(&more[..count]),
            _ => return None,
        }
    }
}

/// `None`: certd has it, or it was not offered.
fn words(chosen: &Chosen) -> Option<String> {
    let Chosen { version, suite, group } = *chosen;
    if version == TLS_1_3 {
        let (_, name) = GROUPS.iter().find(|(of, _)| Some(*of) == group)?;
        return Some(format!("TLS 1.3 with {name}"));
    }
    let version = match version {
        TLS_1_2 => "TLS 1.2",
        0x0302 => "TLS 1.1",
        0x0301 => "TLS 1.0",
        0x0300 => "SSL 3.0",
        _ => return None,
    };
    let (_, exchange) = SUITES.iter().find(|(of, _)| *of == suite)?;
    Some(format!("{version} with {exchange}"))
}

/// A record with a ClientHello (RFC 8446 section 4.1.2). Without a key share the server asks for one by a
/// HelloRetryRequest, which names the group.
fn hello(sni: &DnsName, random: &[u8; 32]) -> Vec<u8> {
    let rustls = accept_any::config(None);
    let provider = rustls.crypto_provider();
    let list = |numbers: &mut dyn Iterator<Item = u16>| numbers.flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    let name = [&[0], &*sized(sni.as_str().as_bytes())].concat();
    // TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746 section 3.3).
    let own = provider.cipher_suites.iter().map(|it| u16::from(it.suite()));
    let suites = list(&mut own.chain(SUITES.map(|(suite, _)| suite)).chain([0x00ff]));
    let own = provider.kx_groups.iter().map(|it| u16::from(it.name()));
    let groups = list(&mut own.chain(GROUPS.map(|(group, _)| group)));
    // ECDSA, RSA-PSS and RSA with SHA-256, SHA-384, SHA-512; Ed25519 and Ed448; ECDSA and RSA with SHA-1.
    let signatures: [u16; 13] =
        [0x403, 0x503, 0x603, 0x804, 0x805, 0x806, 0x401, 0x501, 0x601, 0x807, 0x808, 0x203, 0x201];
    let mut extensions = Vec::new();
    let mut add = |kind: u16, content: &[u8]| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(sized(content));
    };
    add(0, &sized(&name));
    add(10, &sized(&groups));
    add(11, &[1, 0]);
    add(13, &sized(&list(&mut signatures.into_iter())));
    // supported_versions, down to TLS 1.0, and no key share.
    add(43, &[8, 3, 4, 3, 3, 3, 2, 3, 1]);
    add(51, &[0, 0]);
    let body = [&TLS_1_2.to_be_bytes()[..], random, &[0], &sized(&suites), &[1, 0], &sized(&extensions)].concat();
    let message = [&[1, 0], &*sized(&body)].concat();
    [&[22, 3, 1], &*sized(&message)].concat()
}

/// With its length before it, in two bytes.
fn sized(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), content].concat()
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Whole(Chosen),
    Part,
    Other,
}

/// RFC 8446 section 4.1.3, at the beginning of the first record.
fn server_hello(bytes: &[u8]) -> Parsed {
    let [kind, _, _, _, _, rest @ ..] = bytes else { return Parsed::Part };
    if *kind != 22 {
        return Parsed::Other;
    }
    let [kind, high, middle, low, rest @ ..] = rest else { return Parsed::Part };
    let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
    if *kind != 2 || length > ANSWER {
        return Parsed::Other;
    }
    let Some(body) = rest.get(..length) else { return Parsed::Part };
    chosen(body).map_or(Parsed::Other, Parsed::Whole)
}

fn chosen(body: &[u8]) -> Option<Chosen> {
    let (version, rest) = number(body)?;
    let (random, rest) = rest.split_at_checked(32)?;
    let (id, rest) = rest.split_first()?;
    let (suite, rest) = number(rest.get(usize::from(*id)..)?)?;
    let mut chosen = Chosen { version, suite, group: None };
    // After the compression method and the length of all extensions.
    let mut extensions = rest.get(3..).unwrap_or_default();
    while !extensions.is_empty() {
        let (kind, rest) = number(extensions)?;
        let (length, rest) = number(rest)?;
        let (content, rest) = rest.split_at_checked(usize::from(length))?;
        match kind {
            43 => chosen.version = number(content)?.0,
            51 if random.starts_with(&RETRY) => chosen.group = Some(number(content)?.0),
            _ => {}
        }
        extensions = rest;
    }
    Some(chosen)
}

fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: u16, random: [u8; 32], suite: u16, extensions: &[u8]) -> Vec<u8> {
        let mut body = [&version.to_be_bytes()[..], &random, &[2, 7, 7], &suite.to_be_bytes(), &[0]].concat();
        if !extensions.is_empty() {
            body.extend(sized(extensions));
        }
        [&[22, 3, 3], &*sized(&[&[2, 0], &*sized(&body)].concat())].concat()
    }

    #[test]
    fn what_a_server_chooses_is_read_from_the_whole_of_its_answer_alone() {
        let old = answer(TLS_1_2, [1; 32], 0x009d, &[]);
        let Parsed::Whole(chosen) = server_hello(&old) else { panic!("it is whole") };
        assert_eq!(words(&chosen).as_deref(), Some("TLS 1.2 with RSA key exchange"));
        for length in 0..old.len() {
            assert_eq!(server_hello(&old[..length]), Parsed::Part, "{length}");
        }
        assert_eq!(words(&Chosen { version: 0x0301, suite: 0x0033, group: None }).unwrap(), "TLS 1.0 with DHE");
        assert_eq!(words(&Chosen { version: TLS_1_2, suite: 0xc02f, group: None }), None, "certd has it");
        assert_eq!(server_hello(&[21, 3, 3, 0, 2, 2, 40]), Parsed::Other, "an alert");
        assert_eq!(server_hello(b"HTTP/1.1 400 Bad Request"), Parsed::Other);
    }

    #[test]
    fn a_group_is_named_where_it_is_what_certd_has_not() {
        let mut random = [0; 32];
        random[..4].copy_from_slice(&RETRY);
        let asks = |group: u8| {
            let retry = answer(TLS_1_2, random, 0x1302, &[0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0, group]);
            let Parsed::Whole(chosen) = server_hello(&retry) else { panic!("it is whole") };
            words(&chosen)
        };
        assert_eq!(asks(0x19).as_deref(), Some("TLS 1.3 with P-521"));
        assert_eq!(asks(0x1d), None, "certd has X25519, and the handshake failed for another reason");
        assert_eq!(
            words(&Chosen { version: TLS_1_3, suite: 0x1301, group: None }),
            None,
            "it goes on with certd's share"
        );
        // Nothing of rustls's own is among them, or an answer would prove nothing.
        let rustls = accept_any::config(None);
        let provider = rustls.crypto_provider();
        for (group, name) in GROUPS {
            assert!(!provider.kx_groups.iter().any(|it| u16::from(it.name()) == group), "{name}");
        }
        for (suite, name) in SUITES {
            assert!(!provider.cipher_suites.iter().any(|it| u16::from(it.suite()) == suite), "{suite:x} {name}");
        }
    }
}

//! What is sent to a node: parameters a line each, never evaluated there, and the certificates with their digests.

use core::mem;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::program::{VERSION, program, sized};
use crate::cert::{CertName, Generation, Pair, PrivateKey, sha256_hex};
use crate::config::{Forms, Install, Pkcs12, Rights};

/// One certificate for one node.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub certificate: CertName,
    pub generation: Generation,
    pub pair: Arc<Pair>,
    pub install: Arc<Install>,
    /// A person goes back to this generation: the node takes it although it holds a newer one (I9).
    pub older: bool,
}

/// What a certificate's files hold on a node's disk, as digests.
#[derive(Clone, Debug)]
pub struct Expected {
    sums: Vec<String>,
    /// Not sent: a node that says it is not quoted.
    key: PrivateKey,
}

impl Expected {
    pub fn of(pair: &Pair, install: &Install) -> Self {
        let Texts { fullchain, key } = Texts::of(pair);
        let mut sums = vec![sha256_hex(&fullchain), sha256_hex(&key)];
        sums.extend(install.chain.as_ref().map(|_| sha256_hex(above_the_leaf(&fullchain))));
        let parts: [&str; 2] = if install.chain_first { [&fullchain, &key] } else { [&key, &fullchain] };
        sums.extend(install.combined.as_ref().map(|_| sha256_hex(Zeroizing::new(parts.concat()))));
        let Forms { certificate_der, key_der, pkcs12 } = &install.forms;
        sums.extend(certificate_der.as_ref().map(|_| sha256_hex(decoded("CERTIFICATE", &fullchain))));
        sums.extend(key_der.as_ref().map(|_| sha256_hex(decoded("PRIVATE KEY", &key))));
        sums.extend(pkcs12.as_ref().map(|pkcs12| made_of(pkcs12, &fullchain, &key)));
        Self { sums, key: pair.key().clone() }
    }

    pub(super) fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// SHA-256 of the chain's file, hex, to be compared with [`Found::digest`](crate::model::Found).
    pub fn fullchain(&self) -> &str {
        self.sums.first().map_or("", String::as_str)
    }

    /// In the order in which the node program goes through a certificate's files.
    pub(super) fn sums(&self) -> impl Iterator<Item = &str> {
        self.sums.iter().map(String::as_str)
    }
}

/// Everything up to the node's first answer, to be sent in one go. It holds private keys.
/// `rehearsal`: the node is to end it before anything is changed, and takes a certificate that no CA has signed.
pub(super) fn opening(nonce: &str, bundles: &[Bundle], rehearsal: bool) -> Zeroizing<Vec<u8>> {
    let mut pieces = Vec::new();
    let forms = bundles.iter().any(|bundle| !bundle.install.forms.is_none());
    let mut text = beginning(program(forms), nonce);
    if rehearsal {
        line(&mut text, "rehearsal", "yes");
    }
    for bundle in bundles {
        line(&mut text, "name", bundle.certificate.as_str());
        line(&mut text, "generation", &bundle.generation.to_string());
        if bundle.older {
            line(&mut text, "older", "yes");
        }
        parameters(&mut text, &bundle.install);
        let Texts { fullchain, key } = Texts::of(&bundle.pair);
        let mut pems = [("chain-pem", fullchain), ("key-pem", key)].into_iter();
        for sum in Expected::of(&bundle.pair, &bundle.install).sums() {
            // The node makes the further files out of the two, so that nothing travels twice.
            let Some((word, pem)) = pems.next() else {
                line(&mut text, "sum", sum);
                continue;
            };
            // The digest of the file as it is to be, its lines, and a line of one dot, which PEM has none of (RFC 7468).
            line(&mut text, word, sum);
            pieces.extend([Zeroizing::new(mem::take(&mut text)), pem]);
            text.push_str(".\n");
        }
    }
    text.push_str("end\n");
    pieces.push(Zeroizing::new(text));
    sized(&pieces.iter().map(|piece| piece.as_str()).collect::<Vec<_>>())
}

/// Where it goes and what is run: the same lines, to the letter, are what an installed receiver permits.
pub(super) fn parameters(text: &mut String, install: &Install) {
    places(text, install);
    install.reload.iter().for_each(|word| line(text, "reload", word));
}

/// The program, and what parameters begin with.
pub(super) fn beginning(program: String, nonce: &str) -> String {
    let mut text = program;
    // First of all, so that a refusal of the version is an answer that can be recognised.
    line(&mut text, "nonce", nonce);
    line(&mut text, "certd", VERSION);
    text
}

/// Where the files are, and how they are tested.
pub(super) fn places(text: &mut String, install: &Install) {
    let Install { fullchain, key, chain, combined, chain_first, forms, in_place, rights, test, .. } = install;
    line(text, "fullchain", fullchain);
    line(text, "key", key);
    chain.iter().for_each(|path| line(text, "chain", path));
    combined.iter().for_each(|path| line(text, "combined", path));
    let Forms { certificate_der, key_der, pkcs12 } = forms;
    certificate_der.iter().for_each(|path| line(text, "certificate-der", path));
    key_der.iter().for_each(|path| line(text, "key-der", path));
    if let Some(Pkcs12 { path, password_file, legacy }) = pkcs12 {
        line(text, "pkcs12", path);
        line(text, "pkcs12-password-file", password_file);
        if *legacy {
            line(text, "pkcs12-algorithms", "legacy");
        }
    }
    if *in_place {
        line(text, "in-place", "yes");
    }
    let Rights { owner, group, mode, key_mode } = rights;
    owner.iter().for_each(|owner| line(text, "owner", owner));
    group.iter().for_each(|group| line(text, "group", group));
    mode.iter().for_each(|mode| line(text, "mode", &mode.to_string()));
    key_mode.iter().for_each(|mode| line(text, "key-mode", &mode.to_string()));
    if combined.is_some() && *chain_first {
        line(text, "chain-first", "yes");
    }
    install.server.and_then(|server| server.account).iter().for_each(|account| line(text, "reader", account));
    test.iter().for_each(|word| line(text, "test", word));
}

/// The configuration has no line breaks in paths and words: it cannot say two lines here.
pub(super) fn line(text: &mut String, key: &str, value: &str) {
    text.extend([key, " ", value, "\n"]);
}

/// The two files that travel, as they are written: ended by one line break.
struct Texts {
    fullchain: Zeroizing<String>,
    key: Zeroizing<String>,
}

impl Texts {
    fn of(pair: &Pair) -> Self {
        let text = |pem: &str| Zeroizing::new(format!("{}\n", pem.trim_end()));
        Self { fullchain: text(&pair.chain().pem()), key: text(pair.key().pem()) }
    }
}

/// Empty, when the leaf stands alone.
fn above_the_leaf(fullchain: &str) -> &str {
    fullchain.split_once("-----END CERTIFICATE-----\n").map_or(fullchain, |(_, rest)| rest)
}

/// The first block of PEM of this kind: before an EC key, openssl writes its parameters.
fn decoded(kind: &str, pem: &str) -> Zeroizing<Vec<u8>> {
    let begins = |line: &str| line.starts_with("-----BEGIN ") && line.ends_with(&format!("{kind}-----"));
    let lines = pem.lines().map(str::trim).skip_while(|line| !begins(line)).skip(1);
    let base64: Zeroizing<String> = Zeroizing::new(lines.take_while(|line| !line.starts_with("-----END ")).collect());
    // A pair is parsed, so it is base64; if it were not, the node's digest would differ.
    Zeroizing::new(STANDARD.decode(base64.as_bytes()).unwrap_or_default())
}

/// Stands for the digest of a PKCS#12 file, which the node makes, and of which no two are alike.
fn made_of(Pkcs12 { legacy, .. }: &Pkcs12, fullchain: &str, key: &str) -> String {
    sha256_hex(Zeroizing::new(format!("PKCS#12 {legacy}\n{fullchain}{key}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::{Chain, KeyType, PrivateKey};

    #[test]
    fn der_is_that_of_the_key_though_its_parameters_come_first() {
        let key = "-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\nAQID\nBA==\n\
                   -----END EC PRIVATE KEY-----\n";
        assert_eq!(**decoded("PRIVATE KEY", key), [1, 2, 3, 4]);
        assert_eq!(**decoded("PRIVATE KEY", &key.replace('\n', "\r\n")), [1, 2, 3, 4]);
        assert!(decoded("CERTIFICATE", key).is_empty());
    }

    #[test]
    fn what_is_sent_takes_no_more_room_than_it_is_long_and_has_the_lines_of_the_dialogue() {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let signer = rcgen::KeyPair::from_pem(key.pem()).unwrap();
        let signed = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&signer).unwrap();
        let chain = Chain::parse(&signed.pem()).unwrap();
        let generation: Generation = "20261123061500-0a".parse().unwrap();
        let pair = Arc::new(Pair::new(chain, key).unwrap());
        let install = Install {
            fullchain: "/f".to_owned(),
            key: "/k".to_owned(),
            chain: Some("/c".to_owned()),
            combined: None,
            chain_first: false,
            forms: Forms::default(),
            in_place: true,
            rights: Rights { owner: Some("o".to_owned()), ..Rights::default() },
            test: vec!["t".to_owned()],
            reload: vec!["r".to_owned(), "s".to_owned()],
            restart: false,
            server: None,
        };
        let certificate = CertName::parse("a").unwrap();
        let bundle = Bundle { certificate, generation, pair, install: Arc::new(install), older: true };
        let sent = opening("0a", &[bundle.clone(), bundle], true);
        // A thousand nodes are spoken to at one time.
        assert_eq!(sent.capacity(), sent.len());
        let sent = core::str::from_utf8(&sent).unwrap();
        let (_, lines) = sent.split_once("\nEND\n").unwrap();
        let of_pem = |line: &str| line.starts_with("-----") || !(line.contains(' ') || [".", "end"].contains(&line));
        let words: Vec<&str> =
            lines.lines().filter(|line| !of_pem(line)).filter_map(|line| line.split(' ').next()).collect();
        let one =
            "name generation older fullchain key chain in-place owner test reload reload chain-pem . key-pem . sum";
        assert_eq!(words.join(" "), format!("nonce certd rehearsal {one} {one} end"));
    }
}

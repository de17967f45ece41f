//! What is sent to a node: parameters a line each, never evaluated there, and the certificates with their digests.

use core::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::program::{VERSION, program};
use crate::cert::{CertName, Generation, Pair};
use crate::config::Install;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected(Vec<String>);

impl Expected {
    pub fn of(pair: &Pair, install: &Install) -> Self {
        let Texts { fullchain, key } = Texts::of(pair);
        let mut sums = vec![sum(&fullchain), sum(&key)];
        sums.extend(install.chain.as_ref().map(|_| sum(above_the_leaf(&fullchain))));
        sums.extend(install.combined.as_ref().map(|_| sum(&Zeroizing::new([&**key, &**fullchain].concat()))));
        Self(sums)
    }

    /// SHA-256 of the chain's file, hex, to be compared with [`Found::digest`](crate::observed::Found).
    pub fn fullchain(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// In the order in which the node program goes through a certificate's files.
    pub(super) fn sums(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Everything up to the node's first answer, to be sent in one go. It holds private keys.
pub(super) fn opening(nonce: &str, bundles: &[Bundle]) -> Zeroizing<Vec<u8>> {
    let mut text = beginning(nonce);
    for bundle in bundles {
        line(&mut text, "name", bundle.certificate.as_str());
        line(&mut text, "generation", &bundle.generation.to_string());
        if bundle.older {
            line(&mut text, "older", "yes");
        }
        parameters(&mut text, &bundle.install);
        let Texts { fullchain, key } = Texts::of(&bundle.pair);
        let expected = Expected::of(&bundle.pair, &bundle.install);
        for (number, sum) in expected.sums().enumerate() {
            match number {
                0 => pem(&mut text, "chain-pem", sum, &fullchain),
                1 => pem(&mut text, "key-pem", sum, &key),
                // The node makes these out of the two, so that nothing travels twice.
                _ => line(&mut text, "sum", sum),
            }
        }
    }
    text.push_str("end\n");
    Zeroizing::new(text.as_bytes().to_vec())
}

/// Where it goes and what is run: the same lines, to the letter, are what an installed receiver permits.
pub(super) fn parameters(text: &mut String, install: &Install) {
    places(text, install);
    install.reload.iter().for_each(|word| line(text, "reload", word));
}

/// The program, and what its parameters begin with.
pub(super) fn beginning(nonce: &str) -> Zeroizing<String> {
    // Room for all of it, so that no half-filled copy with a key is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(1024 * 1024));
    text.push_str(&program());
    // First of all, so that a refusal of the version is an answer that can be recognised.
    line(&mut text, "nonce", nonce);
    line(&mut text, "certd", VERSION);
    text
}

/// Where the files are, and how they are tested.
pub(super) fn places(text: &mut String, install: &Install) {
    let Install { fullchain, key, chain, combined, in_place, test, reload: _ } = install;
    line(text, "fullchain", fullchain);
    line(text, "key", key);
    chain.iter().for_each(|path| line(text, "chain", path));
    combined.iter().for_each(|path| line(text, "combined", path));
    if *in_place {
        line(text, "in-place", "yes");
    }
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

/// The digest of the file as it is to be, its lines, and a line of one dot, which PEM has none of (RFC 7468).
fn pem(text: &mut String, key: &str, sum: &str, pem: &str) {
    text.extend([key, " ", sum, "\n", pem, ".\n"]);
}

fn sum(text: &str) -> String {
    let mut hex = String::new();
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

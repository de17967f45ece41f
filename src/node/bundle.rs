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
        let [chain, key] = texts(pair);
        let Install { fullchain: _, key: _, chain: _, combined: _, in_place: _, test: _, reload: _ } = install;
        Self([chain, key].iter().map(|text| sum(text)).collect())
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
        places(&mut text, &bundle.install);
        bundle.install.reload.iter().for_each(|word| line(&mut text, "reload", word));
        let [chain, key] = texts(&bundle.pair);
        pem(&mut text, "chain-pem", &chain);
        pem(&mut text, "key-pem", &key);
    }
    text.push_str("end\n");
    Zeroizing::new(text.as_bytes().to_vec())
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
    line(text, "fullchain", &install.fullchain);
    line(text, "key", &install.key);
    install.test.iter().for_each(|word| line(text, "test", word));
}

/// The configuration has no line breaks in paths and words: it cannot say two lines here.
pub(super) fn line(text: &mut String, key: &str, value: &str) {
    text.extend([key, " ", value, "\n"]);
}

/// Chain and key as they are written: ended by one line break.
fn texts(pair: &Pair) -> [Zeroizing<String>; 2] {
    let text = |pem: &str| Zeroizing::new(format!("{}\n", pem.trim_end()));
    [text(&pair.chain().pem()), text(pair.key().pem())]
}

/// The digest of the file as it is to be, its lines, and a line of one dot, which PEM has none of (RFC 7468).
fn pem(text: &mut String, key: &str, pem: &str) {
    text.extend([key, " ", &sum(pem), "\n", pem, ".\n"]);
}

fn sum(text: &str) -> String {
    let mut hex = String::new();
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

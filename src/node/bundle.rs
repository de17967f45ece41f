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

/// Everything up to the node's first answer, to be sent in one go. It holds private keys.
pub(super) fn opening(nonce: &str, bundles: &[Bundle]) -> Zeroizing<Vec<u8>> {
    // Room for all of it, so that no half-filled copy with a key is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(32 * 1024 + bundles.len() * 64 * 1024));
    text.push_str(&program());
    // First of all, so that a refusal of the version is an answer that can be recognised.
    line(&mut text, "nonce", nonce);
    line(&mut text, "certd", VERSION);
    for bundle in bundles {
        line(&mut text, "name", bundle.certificate.as_str());
        line(&mut text, "generation", &bundle.generation.to_string());
        if bundle.older {
            line(&mut text, "older", "yes");
        }
        parameters(&mut text, &bundle.install);
        pem(&mut text, "chain-pem", &bundle.pair.chain().pem());
        pem(&mut text, "key-pem", bundle.pair.key().pem());
    }
    text.push_str("end\n");
    Zeroizing::new(text.as_bytes().to_vec())
}

/// Where it goes and what is run: the same lines, to the letter, are what an installed receiver permits.
pub(super) fn parameters(text: &mut String, install: &Install) {
    let Install { fullchain, key, chain: _, combined: _, in_place: _, test, reload } = install;
    line(text, "fullchain", fullchain);
    line(text, "key", key);
    test.iter().for_each(|word| line(text, "test", word));
    reload.iter().for_each(|word| line(text, "reload", word));
}

/// The configuration has no line breaks in paths and words: it cannot say two lines here.
fn line(text: &mut String, key: &str, value: &str) {
    text.extend([key, " ", value, "\n"]);
}

/// The digest of the file as it is to be, its lines, and a line of one dot, which PEM has none of (RFC 7468).
fn pem(text: &mut String, key: &str, pem: &str) {
    let pem = Zeroizing::new(format!("{}\n", pem.trim_end()));
    text.extend([key, " "]);
    for byte in digest(&SHA256, pem.as_bytes()).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text.extend(["\n", pem.as_str(), ".\n"]);
}

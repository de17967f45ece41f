//! The dialogue with a node through a real sshd.

#[path = "node_program/sshd.rs"]
mod sshd;

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certd::cert::{CertName, Chain, Generation, Pair, PrivateKey};
use certd::config::Install;
use certd::node::{Bundle, Dialogue, NodeError};
use certd::plan::rollout::{Base, Committed, ConfigTest, Refusal};
use certd::ssh::{SshError, fingerprint, host_keys};
use sshd::{Sshd, identity};
use zeroize::Zeroizing;

const LIMIT: Duration = Duration::from_secs(20);

/// A folder with a server's files and the two commands, which say what they see.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        place.script("test", "exit 0");
        place.script("reload", &format!("cat {0}/chain.pem {0}/key.pem >{0}/served", place.dir.path().display()));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn bundle(&self, generation: &str) -> (Bundle, String) {
        let (pair, text) = pair();
        let text_of = |name: &str| self.path(name).display().to_string();
        let install = Install {
            fullchain: text_of("chain.pem"),
            key: text_of("key.pem"),
            test: vec![text_of("test")],
            reload: vec![text_of("reload")],
        };
        let bundle = Bundle {
            certificate: CertName::parse("newapi.example.com").unwrap(),
            generation: generation.parse::<Generation>().unwrap(),
            pair: Arc::new(pair),
            install: Arc::new(install),
            allow_older: false,
        };
        (bundle, text)
    }

    fn served(&self) -> String {
        fs::read_to_string(self.path("served")).unwrap_or_default()
    }
}

fn pair() -> (Pair, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["newapi.example.com".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pair = Pair::new(
        Chain::parse(&certificate.pem()).unwrap(),
        PrivateKey::parse(Zeroizing::new(key.serialize_pem())).unwrap(),
    );
    let pair = pair.unwrap();
    let text = format!("{}\n{}\n", pair.chain().pem().trim_end(), pair.key().pem().trim_end());
    (pair, text)
}

#[tokio::test]
async fn a_certificate_is_prepared_committed_and_read_by_the_server() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    let (bundle, text) = place.bundle("20261123061500-04c3");
    let (mut dialogue, prepared) = Dialogue::open(sshd.endpoint(), vec![bundle.clone()], LIMIT).await.unwrap();
    assert_eq!(prepared.test, ConfigTest::Ok);
    assert_eq!(prepared.bases[&bundle.certificate], Base::Nothing);
    assert_eq!(place.served(), "", "nothing is changed before the commit");
    assert_eq!(dialogue.commit().await.unwrap(), Committed::Committed);
    dialogue.done().await;
    assert_eq!(place.served(), text);

    let (dialogue, prepared) = Dialogue::open(sshd.endpoint(), vec![bundle.clone()], LIMIT).await.unwrap();
    assert_eq!(prepared.bases[&bundle.certificate], Base::Unchanged);
    dialogue.abort().await;

    let (next, text_of_next) = place.bundle("20261123061501-04c4");
    let (mut dialogue, prepared) = Dialogue::open(sshd.endpoint(), vec![next], LIMIT).await.unwrap();
    assert_eq!(prepared.bases[&bundle.certificate], Base::Managed(bundle.generation.clone()));
    assert_eq!(dialogue.commit().await.unwrap(), Committed::Committed);
    assert_eq!(place.served(), text_of_next);
    assert!(dialogue.rollback().await.unwrap(), "still ours: it goes back");
    assert_eq!(place.served(), text);
}

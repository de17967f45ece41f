//! A folder with a server's files, and bundles for it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certd::cert::{CertName, Chain, Generation, Pair, PrivateKey};
use certd::config::Install;
use certd::node::{Bundle, Expected, Wanted};
use zeroize::Zeroizing;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A folder with a server's files and the two commands, which say what they see.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        place.scripts();
        place
    }

    pub(crate) fn scripts(&self) {
        self.script("test", "exit 0");
        self.script("reload", &format!("cat {0}/chain.pem {0}/key.pem >{0}/served", self.dir.path().display()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn bundle(&self, generation: &str) -> (Bundle, String) {
        let (pair, text) = pair();
        let text_of = |name: &str| self.path(name).display().to_string();
        let install = Install {
            fullchain: text_of("chain.pem"),
            key: text_of("key.pem"),
            chain: None,
            combined: None,
            in_place: false,
            chain_first: false,
            forms: certd::config::Forms::default(),
            restart: false,
            server: None,
            rights: Default::default(),
            test: vec![text_of("test")],
            reload: vec![text_of("reload")],
        };
        let bundle = Bundle {
            certificate: CertName::parse("newapi.example.com").unwrap(),
            generation: generation.parse::<Generation>().unwrap(),
            pair: Arc::new(pair),
            install: Arc::new(install),
            older: false,
        };
        (bundle, text)
    }

    pub(crate) fn wanted(&self, bundle: &Bundle) -> Wanted {
        let Bundle { certificate, install, pair, .. } = bundle.clone();
        let expected = Some(Expected::of(&pair, &install));
        Wanted { certificate, install, expected }
    }

    pub(crate) fn served(&self) -> String {
        fs::read_to_string(self.path("served")).unwrap_or_default()
    }
}

pub(crate) fn pair() -> (Pair, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["newapi.example.com".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pair = Pair::new(
        Chain::parse(&certificate.pem()).unwrap(),
        PrivateKey::parse(Zeroizing::new(key.serialize_pem())).unwrap(),
    );
    let pair = pair.unwrap();
    let text = format!("{}\n{}\n", pair.chain().pem().trim_end(), pair.key().pem().trim_end());
    (pair, text)
}

//! A place for DER and PKCS#12, with a password file, and pairs for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use super::super::bench::{NAME, Place, Program, hex, with_forms};
use super::super::torn::{KINDS, Real, real};
use crate::lab::node_program::spy::{GROUP, open, set};

pub(crate) const FIRST: &str = "20261123061500-0b";
pub(crate) const SECOND: &str = "20261123061501-0c";
pub(crate) const PASSWORD: &str = "it's a $secret\\";

/// A place with a password file, and with openssl for whatever utilities the program has.
pub(crate) struct Forms {
    pub(crate) place: Place,
    pub(crate) programs: PathBuf,
    pub(crate) legacy: bool,
}

impl Forms {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        open(&place);
        let at = place.dir.path().display().to_string();
        place.script("test", "exit 0");
        place.script("reload", &format!("! cmp -s {} {at}/refused", place.chain.display()));
        let forms = Self { programs: place.path("programs"), place, legacy: false };
        fs::create_dir(&forms.programs).unwrap();
        symlink("/usr/bin/openssl", forms.programs.join("openssl")).unwrap();
        forms.password(&format!("{PASSWORD}\nthe second line\n"));
        forms
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }

    pub(crate) fn password(&self, text: &str) {
        fs::write(self.path("password"), text).unwrap();
        set(&self.path("password"), 0o640, GROUP);
    }

    fn parameters(&self) -> String {
        let at = self.place.dir.path().display();
        format!(
            "fullchain {}\nkey {}\ncertificate-der {at}/ssl/cert.der\nkey-der {at}/ssl/key.der\npkcs12 {at}/ssl/store.p12\n\
             pkcs12-password-file {at}/password\n{}test {at}/test\n",
            self.place.chain.display(),
            self.place.key.display(),
            if self.legacy { "pkcs12-algorithms legacy\n" } else { "" }
        )
    }

    /// The last stands for what the PKCS#12 file is made of.
    fn further(&self, real: &Real) -> String {
        let made_of = hex(&format!("{}{}{}", self.legacy, real.chain, real.key));
        format!("sum {}\nsum {}\nsum {made_of}\n", sum(&der(&real.chain)), sum(&der(&real.key)))
    }

    pub(crate) fn bundle(&self, Real { chain, key }: &Real, generation: &str) -> String {
        let further = self.further(&Real { chain: chain.clone(), key: key.clone() });
        format!(
            "name {NAME}\ngeneration {generation}\n{}reload {}\nchain-pem {}\n{chain}.\nkey-pem {}\n{key}.\n{further}",
            self.parameters(),
            self.path("reload").display(),
            hex(chain),
            hex(key)
        )
    }

    fn program(&self, shell: &[&str], real: &Real, generation: &str) -> Program {
        Program::start_source(shell, &with_forms(&self.programs), &[self.bundle(real, generation)], &[])
    }

    pub(crate) fn prepared(&self, shell: &[&str], real: &Real, generation: &str) -> (Program, String) {
        let mut program = self.program(shell, real, generation);
        let prepared = program.prepared();
        (program, prepared)
    }

    /// What the base is called, and the whole delivery.
    pub(crate) fn delivered(&self, shell: &[&str], real: &Real, generation: &str) -> String {
        let (mut program, prepared) = self.prepared(shell, real, generation);
        assert_eq!(program.commit(), ("committed".to_owned(), String::new()), "{shell:?}");
        program.say("done\n");
        program.end();
        prepared.lines().find_map(|line| line.strip_prefix(&format!("base {NAME} "))).unwrap().to_owned()
    }

    pub(crate) fn refused(&self, shell: &[&str], real: &Real) -> String {
        let mut program = self.program(shell, real, SECOND);
        let (verb, body) = program.answer().unwrap();
        assert_eq!(verb, "refused", "{shell:?}: {body}");
        program.end();
        body.replace(&self.place.dir.path().display().to_string(), "")
    }

    pub(crate) fn look(&self, shell: &[&str], real: &Real) -> String {
        let wanted = format!(
            "name {NAME}\n{}sum {}\nsum {}\n{}",
            self.parameters(),
            hex(&real.chain),
            hex(&real.key),
            self.further(real)
        );
        let (verb, body) = Program::look(shell, &with_forms(&self.programs), &[wanted], &[]);
        assert_eq!(verb, "seen", "{shell:?}: {body}");
        body.replace(&self.place.dir.path().display().to_string(), "")
    }

    /// As somebody reads it who has the password.
    pub(crate) fn opened(&self, password: &str, more: &[&str]) -> Option<String> {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkcs12", "-passin", &format!("pass:{password}"), "-in"]).arg(self.path("ssl/store.p12"));
        let output = openssl.args(more).output().unwrap();
        output.status.success().then(|| String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    #[track_caller]
    pub(crate) fn holds(&self, real: &Real, password: &str) {
        assert_eq!(fs::read_to_string(&self.place.key).unwrap(), real.key);
        assert_eq!(fs::read(self.path("ssl/cert.der")).unwrap(), der(&real.chain), "the leaf alone");
        assert_eq!(fs::read(self.path("ssl/key.der")).unwrap(), der(&real.key));
        let within = self.opened(password, &["-nodes"]).expect("it can be opened");
        for block in real.chain.split_inclusive("-----END CERTIFICATE-----\n") {
            assert!(within.contains(block), "the whole chain");
        }
        assert!(within.contains(&real.key) && within.contains(&format!("friendlyName: {NAME}")), "{within}");
    }
}

pub(crate) fn der(pem: &str) -> Vec<u8> {
    use base64::Engine as _;
    let lines = pem.lines().skip(1).take_while(|line| !line.starts_with("-----"));
    base64::engine::general_purpose::STANDARD.decode(lines.collect::<String>()).unwrap()
}

fn sum(content: &[u8]) -> String {
    certd::cert::sha256_hex(content)
}

/// With an issuer, which only a file of the whole chain holds.
pub(crate) fn pair(kind: usize) -> Real {
    let mut of_kind = real(KINDS[kind]);
    of_kind.chain += &real(KINDS[0]).chain;
    of_kind
}

//! A machine's files below a folder, and the scripts of a takeover on them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use certd::cert::{DnsName, NodeName};
use certd::model::{AcmeClient, Renewal};
use certd::node::takeover;

use crate::lab::node_program::shells::utilities;

pub(crate) const CRON: &str = "9 0 * * * \"/root/.acme.sh\"/acme.sh --cron --home \"/root/.acme.sh\" > /dev/null\n";

pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        for folder in ["root/.acme.sh", "etc/cron.d", "etc/letsencrypt/renewal", "var/lib", "var/spool/cron/crontabs"] {
            fs::create_dir_all(home.path(folder)).unwrap();
        }
        // As Debian has it.
        fs::set_permissions(home.path("var/spool/cron/crontabs"), fs::Permissions::from_mode(0o1730)).unwrap();
        home
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str, mode: u32) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
        // busybox's cp keeps whole seconds.
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        fs::File::options().write(true).open(self.path(path)).unwrap().set_modified(time).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub(crate) fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.path(path)).unwrap().permissions().mode() & 0o777
    }

    pub(crate) fn acme(&self, stem: &str, domain: &str, alt: &str) {
        let text = format!("Le_Domain='{domain}'\nLe_Alt='{alt}'\nLe_Webroot='dns_cf'\nLe_Keylength='ec-256'\n");
        self.write(&format!("root/.acme.sh/{stem}.conf"), &text, 0o644);
    }

    pub(crate) fn certbot(&self, name: &str, names: &[&str]) {
        let params = rcgen::CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        let pem = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
        self.write(&format!("etc/letsencrypt/live/{name}/cert.pem"), &pem, 0o644);
        let conf = format!("version = 2.1.0\ncert = /etc/letsencrypt/live/{name}/cert.pem\n[renewalparams]\n");
        self.write(&format!("etc/letsencrypt/renewal/{name}.conf"), &conf, 0o644);
    }

    /// Every file with mode, owner, time and content, but for the empty folder of the records.
    pub(crate) fn all(&self) -> String {
        let script = "find . ! -type d -printf '%p %M %U %G %T@ %l\\n' | sort; find . -type d -printf '%p %M %U\\n' | sort; \
                      grep -r . . | sort";
        let output = Command::new("sh").args(["-c", script]).current_dir(self.0.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn switch_off(&self, shell: &[&str], off: &[Renewal]) -> Vec<String> {
        self.lines(&self.run(shell, &takeover::switch_off(&node(), off, &[], None)))
    }

    pub(crate) fn would(&self, shell: &[&str], off: &[Renewal]) -> Vec<String> {
        self.lines(&self.run(shell, &takeover::dry_run(&node(), off, &[])))
    }

    pub(crate) fn put_back(&self, shell: &[&str]) -> Vec<String> {
        self.lines(&self.run(shell, &takeover::put_back(&node())))
    }

    pub(crate) fn recorded(&self, shell: &[&str]) -> Vec<String> {
        self.lines(&self.run(shell, &takeover::recorded(&node())))
    }

    /// In a process group of its own, so that `kill -9 0` in it reaches it and its subshells only.
    pub(crate) fn run(&self, shell: &[&str], script: &str) -> Output {
        let root = self.0.path().display();
        let mut script = script.replacen("os=''", &format!("os={root}"), 1);
        if let Some(folder) = utilities(shell) {
            let usual = "\nPATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin ";
            assert!(script.contains(usual));
            script = script.replacen(usual, &format!("\nPATH={} ", folder.display()), 1);
        }
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(["-c", &script]).process_group(0);
        command.output().unwrap()
    }

    /// What it printed, with `{}` for this folder; it came to its end.
    pub(crate) fn lines(&self, output: &Output) -> Vec<String> {
        let text = String::from_utf8_lossy(&output.stdout).replace(&self.0.path().display().to_string(), "{}");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut lines: Vec<String> = text
            .lines()
            .map(|line| line.strip_prefix("certd-setup: ").expect("a line of its own").to_owned())
            .collect();
        assert_eq!(lines.pop().as_deref(), Some("done"), "{text}");
        lines
    }
}

pub(crate) fn node() -> NodeName {
    NodeName::parse("上海").unwrap()
}

fn renewal(client: AcmeClient, file: &str, names: &[&str]) -> Renewal {
    let names = names.iter().map(|name| DnsName::parse(name).unwrap()).collect();
    let (others, paths, elsewhere) = Default::default();
    Renewal { client, file: file.to_owned(), names, others, paths, elsewhere }
}

pub(crate) fn acme(file: &str, names: &[&str]) -> Renewal {
    renewal(AcmeClient::AcmeSh, file, names)
}

pub(crate) fn certbot(file: &str, names: &[&str]) -> Renewal {
    renewal(AcmeClient::Certbot, file, names)
}

pub(crate) fn lego(file: &str, names: &[&str]) -> Renewal {
    renewal(AcmeClient::Lego, file, names)
}

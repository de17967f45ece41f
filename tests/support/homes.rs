//! Homes of acme.sh with certificates of the lab's CA. The texts are those that acme.sh 3.1.5 wrote; `tests/soak/import.rs` has
//! homes that real ones made.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::config::ConfigText;
use super::node::Node;
use super::{Lab, SERVICE};

/// A state directory with an account and a certificate of its own, which is on no node.
pub fn issue(lab: &Lab, name: &str, profile: &str) -> PathBuf {
    let paused = |node: &Node| (node.name.clone(), "paused_until = \"2099-01-01\"".to_owned());
    let text = ConfigText {
        acme: format!("profile = {profile:?}"),
        nodes: lab.nodes.iter().map(paused).collect(),
        ..ConfigText::default()
    };
    lab.write_config_with(&text);
    let state = lab.folder.join(name);
    lab.replace_line("state_dir", &format!("state_dir = {:?}", state.display().to_string()));
    let output = lab.certd(&["renew", "-q"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    state
}

pub struct AcmeSh {
    /// Paths within the home, and what is there.
    pub files: Vec<(String, String)>,
}

impl AcmeSh {
    /// What acme.sh on this node would have, if it had ordered what the state directory has.
    pub fn of(lab: &Lab, state: &Path, node: &Node) -> Self {
        let directory = lab.proxy.directory();
        let authority = directory.trim_start_matches("https://").trim_end_matches("/dir");
        let host = authority.split(':').next().expect("an address");
        let accounts = state.join("accounts").join(authority.replace(':', "-"));
        let read =
            |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let account: serde_json::Value =
            serde_json::from_str(&read(accounts.join("account.json"))).expect("certd wrote it");
        let key = STANDARD.encode(fs::read(accounts.join("key.p8")).expect("certd wrote it"));
        let current = state.join("certs").join(SERVICE).join("current");
        let (fullchain, private) = (node.fullchain(SERVICE), node.key(SERVICE));
        let conf = format!(
            "Le_Domain='{SERVICE}'\nLe_Alt='no'\nLe_Webroot='dns_cf'\nLe_PreHook=''\nLe_PostHook=''\nLe_RenewHook=''\n\
             Le_API='{directory}'\nLe_Keylength='ec-256'\nLe_RealCertPath=''\nLe_RealCACertPath=''\n\
             Le_RealKeyPath='{}'\nLe_ReloadCmd='__ACME_BASE64__START_{}__ACME_BASE64__END_'\nLe_RealFullChainPath='{}'\n",
            private.display(),
            STANDARD.encode(node.reload_command().join(" ")),
            fullchain.display(),
        );
        let folder = format!("{SERVICE}_ecc");
        let url = account["url"].as_str().expect("the account has a URL");
        let files = vec![
            (
                "account.conf".into(),
                format!("SAVED_CF_Token='{}'\nSAVED_CF_Account_ID=''\nUSER_PATH='/bin'\n", lab.token),
            ),
            (
                format!("ca/{host}/dir/account.key"),
                format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"),
            ),
            (format!("ca/{host}/dir/ca.conf"), format!("CA_EMAIL='ops@example.test'\nACCOUNT_URL='{url}'\n")),
            (format!("{folder}/{SERVICE}.conf"), conf),
            (format!("{folder}/{SERVICE}.key"), read(current.join("privkey.pem"))),
            (format!("{folder}/fullchain.cer"), read(current.join("fullchain.pem"))),
        ];
        Self { files }
    }

    /// With another reload command.
    pub fn reload_by(&mut self, command: &str) {
        let conf = format!("{SERVICE}_ecc/{SERVICE}.conf");
        let file = self.files.iter_mut().find(|(path, _)| *path == conf).expect("it has a domain");
        let reload = |line: &str| match line.starts_with("Le_ReloadCmd=") {
            true => format!("Le_ReloadCmd='__ACME_BASE64__START_{}__ACME_BASE64__END_'\n", STANDARD.encode(command)),
            false => format!("{line}\n"),
        };
        file.1 = file.1.lines().map(reload).collect();
    }

    pub fn write(&self, home: &Path) {
        for (path, text) in &self.files {
            let path = home.join(path);
            fs::create_dir_all(path.parent().expect("it has a folder")).expect("the test's folder is ours");
            fs::write(path, text).expect("the test's folder is ours");
        }
    }
}

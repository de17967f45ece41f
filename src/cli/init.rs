use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cert::NodeName;
use crate::config::draft::{Draft, DraftCertificate};
use crate::config::{self, ConfigError, defaults};
use crate::ops::import;
use crate::ops::init::files::WriteError;
use crate::report::Exit;

use super::doctor::Doctor;
use super::fault::Fault;
use super::{Options, output, progress, setup};

mod add;
mod asking;
mod first;
mod from;
mod installs;
mod nodes;
mod terminal;
mod token;
mod trusted;
mod writing;

/// Write the first configuration, or add nodes and names to one
///
/// On a terminal by questions; without one, or with --yes, by these options, where everything that is missing is named at
/// once (exit 2). Tries the DNS token (a TXT record is made and removed), fetches the nodes' host keys and shows their
/// fingerprints, and looks on each node where its web server (nginx, Apache, HAProxy, Caddy) reads the certificate, which
/// changes nothing there. Writes its files at the very end, replaces none, and runs `certd doctor`.
///
/// With --from-acme.sh, acme.sh's folders on the nodes answer: names, token, paths, reload command and account; then its
/// account and certificates are imported as by `certd import`, so that nothing is ordered.
///
/// Where the configuration exists, proposes what is new: nodes whose addresses DNS shows, and nodes and names given by
/// --node and --name. Comments and order of the file stay.
#[derive(Args, Clone)]
pub(super) struct Init {
    #[command(flatten)]
    from: from::From,
    /// A name of the certificate. Repeatable.
    #[arg(long = "name", value_name = "DOMAIN", value_delimiter = ',')]
    names: Vec<String>,
    /// A mail address for the CA [default: none]
    #[arg(long, value_name = "MAIL", value_delimiter = ',')]
    contact: Vec<String>,
    /// The CA: letsencrypt, letsencrypt-staging, zerossl, google, or the URL of a directory [default: letsencrypt]
    #[arg(long, value_name = "CA")]
    directory: Option<String>,
    /// The file with Cloudflare's API token, or to put it into [default: cloudflare.token beside the configuration]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Read the token from stdin, and put it into the token file.
    #[arg(long)]
    token_stdin: bool,
    /// A node [default: the addresses of the names in DNS]. Repeatable.
    #[arg(long = "node", value_name = "[NAME=]ADDRESS[,ADDRESS]")]
    nodes: Vec<String>,
    /// certd's login on the nodes [default: root]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// certd's private key for that login [default: id_ed25519 beside the configuration]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Generate that key if the file is missing.
    #[arg(long)]
    generate_key: bool,
    /// Another login for the look at the web servers: root, or a user with sudo that asks for no password
    #[arg(long, value_name = "USER")]
    login: Option<String>,
    /// Private keys for that login [default: certd's, and an SSH agent's that its user may ask]
    #[arg(long, value_name = "FILE")]
    login_identity: Vec<PathBuf>,
    /// Pin host keys with these fingerprints (`SHA256:…`). Repeatable.
    #[arg(long, value_name = "FINGERPRINT", value_delimiter = ',')]
    fingerprint: Vec<String>,
    /// Pin the host keys that the nodes show now, whoever answers.
    #[arg(long, conflicts_with = "fingerprint")]
    accept_host_keys: bool,
    /// Any other key of the configuration, as `install.fullchain=/etc/nginx/ssl/{name}/fullchain.pem` or `ssh.port=2222`.
    /// Repeatable.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// The certificate that gets a further name, where the configuration has several.
    #[arg(long, value_name = "NAME")]
    certificate: Option<String>,
    /// Ask nothing; take what is proposed.
    #[arg(short, long)]
    yes: bool,
    /// Print the answers for the process that writes them.
    #[arg(long, hide = true)]
    answers: bool,
}

/// What the answers come to. It crosses a pipe: the process that asks is not root when it connects to anybody, and the one
/// that writes connects to nobody.
#[derive(Default, Serialize, Deserialize)]
struct Answers {
    /// The text of a new configuration.
    config: Option<String>,
    /// To be stored.
    token: Option<String>,
    generate_key: bool,
    /// What is to become of a configuration that is there: the text that was read, and the new one.
    edit: Option<(String, String)>,
    /// The key of an external account, to be stored.
    #[serde(default)]
    eab: Option<String>,
    /// Nodes whose acme.sh is imported then.
    #[serde(default)]
    import: Vec<String>,
}

/// An answer that nobody gave.
struct Missing {
    what: String,
    option: &'static str,
}

impl Init {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        if self.answers {
            return asking::answer(self, options);
        }
        if !is_there(&options.config) {
            let draft = self.begun(options)?;
            let files = [Some(&absolute(&options.config).display().to_string()), draft.dns.token_file.as_ref()];
            for file in files.into_iter().flatten().chain(draft.ssh.identity_files.first()) {
                // Before any question: what others can write is refused when it is read.
                import::check_folder(Path::new(file).parent().unwrap_or(Path::new("/")))?;
            }
        }
        let answers = match writing::ask()? {
            Ok(answers) => answers,
            // It has said why.
            Err(code) => return Ok(code),
        };
        let import = answers.import.clone();
        // Arguments of another process: neither options nor paths.
        if let Some(odd) = import.iter().find(|name| name.contains('/') || name.starts_with(['-', '.'])) {
            return Err(Fault::usage(format!(
                "{odd:?} is no name for a node that is imported from\n  next: give it another one: NAME=HOST"
            )));
        }
        if !writing::write(self, options, answers)? {
            return Ok(Exit::Ok.code());
        }
        let mut next = "`certd renew --dry-run` rehearses a renewal; `certd renew` issues and delivers".to_owned();
        if !import.is_empty() {
            let code = self.from.import(&import, self, options)?;
            if code != Exit::Ok.code() {
                return Ok(code);
            }
            next = format!("certd node takeover {}; then certd check", import.join(" "));
        }
        let exit = Doctor::default().run(options)?;
        if matches!(options.output, super::Output::Text) {
            output::text(&format!("next: {next}\n"));
        }
        Ok(exit)
    }

    fn asks(&self) -> bool {
        !self.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// What the options say.
    fn begun(&self, options: &Options) -> Result<Draft, Fault> {
        let mut draft = Draft { notes: vec!["Written by certd init.".to_owned()], ..Draft::default() };
        draft.directory = self.directory.clone().unwrap_or_else(|| "letsencrypt".to_owned());
        draft.contact.clone_from(&self.contact);
        draft.dns.provider = "cloudflare".to_owned();
        let beside = |name: &str| absolute(&options.config).with_file_name(name).display().to_string();
        let path = |path: &PathBuf| absolute(path).display().to_string();
        draft.dns.token_file = Some(self.token_file.as_ref().map_or_else(|| beside("cloudflare.token"), path));
        draft.ssh.user = Some(self.user.clone().unwrap_or_else(|| defaults::SSH_USER.to_owned()));
        draft.ssh.identity_files = vec![self.identity.as_ref().map_or_else(|| beside("id_ed25519"), path)];
        for text in &self.set {
            let refused =
                |why| Fault::usage(format!("--set {text:?} {why}\n  next: see config/full.toml for the keys"));
            draft.set(text).map_err(refused)?;
        }
        if draft.dns.provider != "cloudflare" {
            draft.dns.token_file = None;
        }
        draft.certificates = certificates(&self.names);
        provisional(&draft)?;
        Ok(draft)
    }
}

fn provisional(draft: &Draft) -> Result<config::Config, Fault> {
    draft.provisional().map_err(|errors| Fault {
        exit: Exit::Usage,
        texts: errors.iter().map(|error| format!("{}: {}\n  write: {}", error.key, error.what, error.write)).collect(),
    })
}

fn certificates(names: &[String]) -> Vec<DraftCertificate> {
    if names.is_empty() {
        return Vec::new();
    }
    vec![DraftCertificate { domains: names.to_vec(), ..DraftCertificate::default() }]
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Why a draft would not be a configuration, in one line.
fn flaw(draft: &Draft) -> Result<(), String> {
    let one = |error: &ConfigError| format!("{}; write: {}", error.what, error.write);
    draft.provisional().map(drop).map_err(|errors| errors.first().map(one).unwrap_or_default())
}

fn missing(missing: &[Missing]) -> Result<(), Fault> {
    if missing.is_empty() {
        return Ok(());
    }
    let lines = missing.iter().map(|missing| format!("  {}: {}\n", missing.what, missing.option));
    let lines: String = lines.collect();
    Err(Fault::usage(format!(
        "these answers are missing, and there is no terminal to ask for them (or --yes was given):\n{lines}  next: give \
         these options"
    )))
}

/// From stdin, to its end.
fn read_stdin() -> Result<Zeroizing<String>, Fault> {
    const LONGEST: u64 = 4096;
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize));
    let read = std::io::stdin().lock().take(LONGEST).read_to_string(&mut text);
    read.map_err(|error| Fault::usage(format!("stdin: {error}\n  next: give the token there, on one line")))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        Self { exit: Exit::Usage, texts: vec![format!("{error}\n  next: {}", error.next)] }
    }
}

fn node_name(text: &str) -> Result<NodeName, Fault> {
    NodeName::parse(text).map_err(|bad| Fault::usage(format!("{text:?} {bad}\n  next: give the node another name")))
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

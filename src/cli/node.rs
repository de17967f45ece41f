use core::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::config::{self, Config, Host};
use crate::context::secrets::Secrets;
use crate::context::secrets::issuer_roots;
use crate::model::Finding;
use crate::node::receiver::{self, Account, BadAccount, From, Login, PublicKey, Receiver, remove_from};
use crate::ops::receiver as ops;
use crate::ops::receiver::{Chosen, OtherLogin, Proof};
use crate::report::Exit;
use crate::ssh::{Endpoint, Identity};
use crate::store::{owner, secret};

use super::fault::Fault;
use super::{Options, output, setup};

/// Manage the receiver account on a node, which can accept certificates and do nothing else
#[derive(Args)]
pub(super) struct Node {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create or update the account on a node, and prove that its key can do nothing else
    ///
    /// Needs an administrator's login once. Run it again after changing the certificates, names, paths or commands of
    /// this node, and after updating certd. Options that you omit keep their previous value.
    ///
    /// If the node has openssl, the receiver verifies each certificate: the chain must lead to the node's own roots (or
    /// to `issuer_root_file`, which setup copies there), cover exactly the certificate's names, and be valid today.
    ///
    /// Finally tests the controller's key as that account, as root and as the administrator's login, with one login
    /// each because sshd 9.8 blocks addresses that fail too often. If the key still gets a shell, prints the line to
    /// remove (exit 3).
    Setup(Setup),
    /// Remove the account, its program, its parameters and its sudo rule; certificates stay and are still served
    Remove(Remove),
    /// Show the generation numbers that nodes reported when they refused a certificate; --reset forgets them
    ///
    /// A node refuses a generation older than the one it holds. certd keeps the reported number until the node accepts
    /// a delivery or no longer gets that certificate, and numbers the next certificate above it. An implausible number
    /// (not a valid date, or more than a day ahead) is not kept and affects only that node.
    Fence(super::fence::Fence),
}

#[derive(Args)]
struct Setup {
    #[command(flatten)]
    target: Target,
    /// Accept the key only from these addresses or networks, which should be this controller's [default: anywhere]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    from: Vec<String>,
    /// Accept the key from anywhere; undoes an earlier `--from`.
    #[arg(long, conflicts_with = "from")]
    no_from: bool,
    /// Do not use sudo: the account owns the certificates' folders and can reload the server itself.
    #[arg(long)]
    no_sudo: bool,
    /// Use sudo (the default); undoes an earlier `--no-sudo`.
    #[arg(long, conflicts_with = "no_sudo")]
    sudo: bool,
    /// Allow `certd deploy --generation` to go back to an older certificate on this node.
    #[arg(long)]
    allow_older: bool,
    /// Refuse older certificates (the default); undoes an earlier `--allow-older`.
    #[arg(long, conflicts_with = "allow_older")]
    no_allow_older: bool,
    /// Accept certificates without verifying them on the node, even if it has openssl.
    #[arg(long)]
    no_openssl: bool,
    /// Verify certificates on the node if it has openssl (the default); undoes an earlier `--no-openssl`.
    #[arg(long, conflicts_with = "no_openssl")]
    openssl: bool,
    /// Public keys to authorize [default: those of the configured identities]
    #[arg(long, value_name = "FILE.pub")]
    key: Vec<PathBuf>,
}

#[derive(Args)]
struct Remove {
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Target {
    /// Name of the node in the configuration.
    #[arg(value_name = "NODE")]
    node: String,
    /// The administrator's login: root, or a user with sudo that asks for no password [default: the node's `ssh.user`]
    #[arg(long, value_name = "USER[@HOST]")]
    login: Option<String>,
    /// Private keys for that login [default: the configured identities]
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// Name of the receiver account.
    #[arg(long, default_value = "certd", value_name = "NAME")]
    account: String,
    /// Only print the script, to review and run on the node as root.
    #[arg(long)]
    print: bool,
}

impl Node {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        match &self.command {
            Command::Setup(command) => command.run(&config),
            Command::Remove(command) => command.run(&config),
            Command::Fence(command) => command.run(&config, options),
        }
    }
}

impl Setup {
    fn run(&self, config: &Config) -> Result<u8, Fault> {
        let node = self.target.node(config)?;
        let receiver = self.receiver(config, node)?;
        let script = receiver::setup(&receiver);
        if self.target.print {
            output::text(&script);
            return Ok(Exit::Ok.code());
        }
        let secrets = Secrets::read(config)?;
        let (user, host) = self.target.login(node, &receiver.account)?;
        let identities = self.target.identities()?;
        owner::become_owner(&config.state_dir)?;
        let (proofs, other_logins) = setup::runtime()?.block_on(async {
            let administrator = ops::endpoint(&secrets, node, host.as_ref(), &user).await?;
            let administrator = with(administrator, identities);
            let lines = ops::run(administrator, &script).await?;
            output::text(&heading(&format!("{}: set up by {user}", node.name), &lines));
            if !lines.iter().any(|line| line.starts_with(receiver::OPTIONS) && line.contains(" --from ")) {
                output::text(
                    "  note: the key is accepted from anywhere; restrict it with --from ADDRESS of this controller\n",
                );
            }
            let account = ops::endpoint(&secrets, node, host.as_ref(), receiver.account.as_str()).await?;
            let proofs = ops::prove(config, &account, &receiver, Chosen::of(&lines)).await?;
            let mut other_logins = Vec::new();
            for other in other_logins_to_test(&user) {
                let login = Endpoint { user: other.to_owned(), ..account.clone() };
                other_logins.push(ops::other_login(login, &receiver.keys).await);
            }
            Ok::<_, Finding>((proofs, other_logins))
        })?;
        Ok(report(node, &receiver, &proofs, &other_logins))
    }

    fn receiver(&self, config: &Config, node: &config::Node) -> Result<Receiver, Fault> {
        let own_roots = issuer_roots(config)?;
        let permits = ops::permits(config, node, own_roots);
        if permits.certificates.is_empty() {
            let next = "next: name it in the `nodes` of a [[certificate]]";
            return Err(Fault::usage(format!(
                "no certificate is configured for {}: there is nothing to permit\n  {next}",
                node.name
            )));
        }
        Ok(Receiver {
            node: node.name.clone(),
            account: self.target.account()?,
            keys: self.keys(node)?,
            options: self.options()?,
            ports: ops::ports(node),
            permits,
        })
    }

    fn options(&self) -> Result<receiver::Options, Fault> {
        // `None` keeps the node's previous choice.
        let choice = |yes: bool, no: bool| (yes || no).then_some(yes);
        let from = (self.no_from || !self.from.is_empty()).then_some(&self.from);
        let parsed = |from: &Vec<String>| from.iter().map(|text| From::parse(text)).collect::<Result<_, _>>();
        Ok(receiver::Options {
            from: from.map(parsed).transpose().map_err(bad_word)?,
            sudo: choice(self.sudo, self.no_sudo),
            older: choice(self.allow_older, self.no_allow_older),
            openssl: choice(self.openssl, self.no_openssl),
        })
    }

    fn keys(&self, node: &config::Node) -> Result<Vec<PublicKey>, Fault> {
        if self.key.is_empty() {
            if node.ssh.identity_files.is_empty() {
                let next = "next: give --key FILE.pub with a public key of the agent (ssh-add -L shows them)";
                return Err(Fault::usage(format!(
                    "{}: its keys are in an agent, and no public key is given\n  {next}",
                    node.name
                )));
            }
            return node.ssh.identity_files.iter().map(|file| public_half(file)).collect();
        }
        self.key.iter().map(|file| public_key(file)).collect()
    }
}

impl Remove {
    fn run(&self, config: &Config) -> Result<u8, Fault> {
        let (node, account) = (self.target.node(config)?, self.target.account()?);
        let script = receiver::remove(&node.name, &account);
        if self.target.print {
            output::text(&script);
            return Ok(Exit::Ok.code());
        }
        let secrets = Secrets::read(config)?;
        let (user, host) = self.target.login(node, &account)?;
        let identities = self.target.identities()?;
        owner::become_owner(&config.state_dir)?;
        let lines = setup::runtime()?.block_on(async {
            let administrator = ops::endpoint(&secrets, node, host.as_ref(), &user).await?;
            ops::run(with(administrator, identities), &script).await
        })?;
        output::text(&heading(&format!("{}: removed by {user}", node.name), &lines));
        Ok(Exit::Ok.code())
    }
}

impl Target {
    fn node<'a>(&self, config: &'a Config) -> Result<&'a config::Node, Fault> {
        let names = setup::nodes(config, core::slice::from_ref(&self.node))?;
        let found = config.nodes.iter().find(|node| names.contains(&node.name));
        found.ok_or_else(|| Fault::usage("no node was named\n  next: give its name"))
    }

    fn account(&self) -> Result<Account, Fault> {
        Account::parse(&self.account).map_err(bad_word)
    }

    fn login(&self, node: &config::Node, account: &Account) -> Result<(String, Option<Host>), Fault> {
        administrator(self.login.as_deref(), node, Some(account))
    }

    fn identities(&self) -> Result<Vec<Identity>, Fault> {
        identities(&self.identity)
    }
}

/// The user, and the host when it is not the configured one.
pub(super) fn administrator(
    login: Option<&str>,
    node: &config::Node,
    account: Option<&Account>,
) -> Result<(String, Option<Host>), Fault> {
    let (user, host) = match login {
        None => (node.ssh.user.as_str(), None),
        Some(login) => match login.rsplit_once('@') {
            Some((user, host)) => (user, Some(host)),
            None => (login, None),
        },
    };
    let next = "next: give an administrator's login: --login root, or --login USER@HOST";
    if account.is_some_and(|account| user == account.as_str()) {
        return Err(Fault::usage(format!(
            "{user} is the receiver account, which can only accept certificates\n  {next}"
        )));
    }
    if user.is_empty() || user.starts_with('-') || user.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Fault::usage(format!("{user:?} is not a login name\n  {next}")));
    }
    let host = host.map(|text| {
        let host = text.trim_matches(['[', ']']);
        let address = host.parse().map(Host::Ip).ok();
        address.or_else(|| crate::cert::DnsName::parse(host).map(Host::Name).ok())
    });
    match host {
        Some(None) => Err(Fault::usage(format!("the login has neither an address nor a DNS name after @\n  {next}"))),
        Some(host) => Ok((user.to_owned(), host)),
        None => Ok((user.to_owned(), None)),
    }
}

/// Empty: use the configured identities.
pub(super) fn identities(files: &[PathBuf]) -> Result<Vec<Identity>, Fault> {
    let read = |file: &PathBuf| {
        let pem = secret::read_text(file)?;
        Ok(Identity::new(file.clone(), pem))
    };
    files.iter().map(read).collect()
}

/// Other logins that may accept the same key: root, as in the README's simpler setup, and the login that was just used.
fn other_logins_to_test(user: &str) -> impl Iterator<Item = &str> {
    ["root"].into_iter().chain((user != "root").then_some(user))
}

/// Prints the proofs and returns the exit code.
fn report(node: &config::Node, receiver: &Receiver, proofs: &[Proof], other_logins: &[OtherLogin]) -> u8 {
    let mut text = format!("{}: tried with this controller's key, as {}\n", node.name, receiver.account);
    for proof in proofs {
        let _ = match &proof.result {
            Ok(()) => writeln!(text, "  ok      {}", proof.what),
            Err(why) => writeln!(text, "  FAILED  {}: {why}", proof.what),
        };
    }
    for other in other_logins {
        match &other.login {
            Ok(Login::Shut) => text.push_str(&format!("  ok      the same key is refused as {}\n", other.user)),
            Ok(Login::Shell(lines)) => {
                let _ = writeln!(text, "  WARNING the same key gets a shell as {}", other.user);
                let _ = writeln!(text, "          next: {}", remove_from(&other.user, lines));
            }
            Err(why) => {
                let _ = writeln!(text, "  WARNING cannot tell whether the same key works as {}: {why}", other.user);
            }
        }
    }
    let failed = proofs.iter().filter(|proof| proof.result.is_err()).count();
    if failed == 0 {
        let _ = writeln!(text, "add to the node {} in the configuration:", node.name);
        let _ = writeln!(text, "  ssh = {{ user = \"{}\" }}", receiver.account);
    } else {
        let _ = writeln!(text, "{failed} of {} tests failed; fix them and run this again", proofs.len());
    }
    output::text(&text);
    let shut = other_logins.iter().all(|other| matches!(other.login, Ok(Login::Shut)));
    match (failed, shut) {
        (0, true) => Exit::Ok.code(),
        (0, false) => Exit::Warning.code(),
        _ => Exit::NotDelivered.code(),
    }
}

pub(super) fn with(endpoint: Endpoint, identities: Vec<Identity>) -> Endpoint {
    if identities.is_empty() { endpoint } else { Endpoint { identities, ..endpoint } }
}

fn heading(title: &str, lines: &[String]) -> String {
    let mut text = format!("{title}\n");
    lines.iter().for_each(|line| _ = writeln!(text, "  {line}"));
    text
}

fn bad_word(bad: BadAccount) -> Fault {
    let next = match bad {
        BadAccount::Name(_) => "give --account certd, or another name",
        BadAccount::From(_) => "give --from with this controller's address as the node sees it",
    };
    Fault::usage(format!("{bad}\n  next: {next}"))
}

/// From the `.pub` file next to it, or else from the private key file.
fn public_half(file: &Path) -> Result<PublicKey, Fault> {
    let mut sibling = file.as_os_str().to_owned();
    sibling.push(".pub");
    let sibling = PathBuf::from(sibling);
    if sibling.exists() {
        return public_key(&sibling);
    }
    let pem = secret::read_text(file)?;
    PublicKey::of_private(&pem).map_err(|_| {
        let next = format!("next: ssh-keygen -y -f {0} > {0}.pub", file.display());
        Fault::usage(format!("{}: there is no .pub file next to it\n  {next}", file.display()))
    })
}

fn public_key(file: &Path) -> Result<PublicKey, Fault> {
    let next = "next: give the .pub file that ssh-keygen wrote";
    let text = std::fs::read_to_string(file)
        .map_err(|error| Fault::usage(format!("{}: {error}\n  {next}", file.display())))?;
    PublicKey::parse(&text).map_err(|bad| Fault::usage(format!("{}: {bad}\n  {next}", file.display())))
}

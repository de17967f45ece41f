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

/// The account on a node that can take certificates and do nothing else: set it up, remove it
#[derive(Args)]
pub(super) struct Node {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the account on a node or bring it up to date, and prove that its key does that and nothing else
    ///
    /// Takes an administrator's login, once. Run it again after a change of the certificates, names, paths or commands of
    /// this node, and after an update of certd: what is not said again is as it was the last time.
    ///
    /// Where the node has openssl the receiver judges by itself what comes: the chain must lead to the node's own roots
    /// (or to `issuer_root_file`, which is left there), be for the certificate's names and no others, and hold today.
    ///
    /// At the end the controller's key is tried, as that account, as root and as the administrator's login: one login
    /// each, since sshd 9.8 shuts an address out for a while that fails too often. Where it is still more than a receiver's, the
    /// line to remove is named (exit 3).
    Setup(Setup),
    /// Remove the account with its program, its parameters and its rule of sudo's; certificates stay and are served
    Remove(Remove),
    /// Show the generation numbers for which nodes refused a certificate, and forget them with --reset
    ///
    /// A node refuses a generation that is older than the one that it holds. Such a number is kept until the node takes
    /// what it is sent or no longer gets that certificate, and the next certificate is numbered above it. One that nobody
    /// can have given (no second of the calendar, or more than a day ahead) is not kept, and concerns that node alone.
    Fence(super::fence::Fence),
}

#[derive(Args)]
struct Setup {
    #[command(flatten)]
    target: Target,
    /// Where the key may come from: this controller's addresses or networks. Anywhere when never given.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    from: Vec<String>,
    /// From anywhere: takes an earlier `--from` back.
    #[arg(long, conflicts_with = "from")]
    no_from: bool,
    /// Without sudo: the account itself owns the folders of the certificates, and may reload.
    #[arg(long)]
    no_sudo: bool,
    /// By sudo, as is usual: takes an earlier `--no-sudo` back.
    #[arg(long, conflicts_with = "no_sudo")]
    sudo: bool,
    /// Let `certd deploy --generation` go back to an older certificate on this node.
    #[arg(long)]
    allow_older: bool,
    /// Never back, as is usual: takes an earlier `--allow-older` back.
    #[arg(long, conflicts_with = "allow_older")]
    no_allow_older: bool,
    /// Let the node take certificates without judging them by itself, although it has openssl.
    #[arg(long)]
    no_openssl: bool,
    /// Let it judge them where it has openssl, as is usual: takes an earlier `--no-openssl` back.
    #[arg(long, conflicts_with = "no_openssl")]
    openssl: bool,
    /// Public keys to let in; those of the configured identities when left out.
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
    /// The node, as the configuration has it.
    #[arg(value_name = "NODE")]
    node: String,
    /// The administrator's login there: root, or one that may use sudo without a password. The node's own
    /// (`ssh.user`) when left out.
    #[arg(long, value_name = "USER[@HOST]")]
    login: Option<String>,
    /// Private keys for that login; the configured identities when left out.
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// Name of the account.
    #[arg(long, default_value = "certd", value_name = "NAME")]
    account: String,
    /// Print the script, to be read and run on the node by root, and do nothing.
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
        let secrets = Secrets::read(config).map_err(|failure| Fault::of_configuration(&failure))?;
        let (user, host) = self.target.login(node, &receiver.account)?;
        let identities = self.target.identities()?;
        owner::become_owner(&config.state_dir).map_err(|error| Fault::from(&error))?;
        let (proofs, other_logins) = setup::runtime()?
            .block_on(async {
                let administrator = ops::endpoint(&secrets, node, host.as_ref(), &user).await?;
                let administrator = with(administrator, identities);
                let said = ops::run(administrator, &script).await?;
                output::text(&heading(&format!("{}: set up by {user}", node.name), &said));
                if !said.iter().any(|line| line.starts_with(receiver::OPTIONS) && line.contains(" --from ")) {
                    output::text(
                        "  note: the key may come from anywhere; --from ADDRESS of this controller narrows that\n",
                    );
                }
                let account = ops::endpoint(&secrets, node, host.as_ref(), receiver.account.as_str()).await?;
                let proofs = ops::prove(config, &account, &receiver, Chosen::of(&said)).await?;
                let mut other_logins = Vec::new();
                for other in logins_beside(&user) {
                    let login = Endpoint { user: other.to_owned(), ..account.clone() };
                    other_logins.push(ops::other_login(login, &receiver.keys).await);
                }
                Ok((proofs, other_logins))
            })
            .map_err(|failure: Finding| not_done(&failure))?;
        Ok(told(node, &receiver, &proofs, &other_logins))
    }

    fn receiver(&self, config: &Config, node: &config::Node) -> Result<Receiver, Fault> {
        let own_roots = issuer_roots(config).map_err(|failure| Fault::of_configuration(&failure))?;
        let permits = ops::permits(config, node, own_roots);
        if permits.certificates.is_empty() {
            let next = "next: name it in the `nodes` of a [[certificate]]";
            return Err(Fault::usage(format!(
                "no certificate is for {}: there is nothing to permit\n  {next}",
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
        let said = |yes: bool, no: bool| (yes || no).then_some(yes);
        let from = (self.no_from || !self.from.is_empty()).then_some(&self.from);
        let parsed = |from: &Vec<String>| from.iter().map(|text| From::parse(text)).collect::<Result<_, _>>();
        Ok(receiver::Options {
            from: from.map(parsed).transpose().map_err(bad_word)?,
            sudo: said(self.sudo, self.no_sudo),
            older: said(self.allow_older, self.no_allow_older),
            openssl: said(self.openssl, self.no_openssl),
        })
    }

    fn keys(&self, node: &config::Node) -> Result<Vec<PublicKey>, Fault> {
        if self.key.is_empty() {
            if node.ssh.identity_files.is_empty() {
                let next = "next: --key FILE.pub with the public half of the agent's key (ssh-add -L shows them)";
                return Err(Fault::usage(format!(
                    "{}: its keys are an agent's, and none says which is to be let in\n  {next}",
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
        let secrets = Secrets::read(config).map_err(|failure| Fault::of_configuration(&failure))?;
        let (user, host) = self.target.login(node, &account)?;
        let identities = self.target.identities()?;
        owner::become_owner(&config.state_dir).map_err(|error| Fault::from(&error))?;
        let said = setup::runtime()?.block_on(async {
            let administrator = ops::endpoint(&secrets, node, host.as_ref(), &user).await?;
            ops::run(with(administrator, identities), &script).await
        });
        let said = said.map_err(|failure| not_done(&failure))?;
        output::text(&heading(&format!("{}: removed by {user}", node.name), &said));
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

    /// The user, and the host where it is another than the configuration's.
    fn login(&self, node: &config::Node, account: &Account) -> Result<(String, Option<Host>), Fault> {
        let (user, host) = match &self.login {
            None => (node.ssh.user.as_str(), None),
            Some(login) => match login.rsplit_once('@') {
                Some((user, host)) => (user, Some(host)),
                None => (login.as_str(), None),
            },
        };
        let next = "next: give an administrator's: --login root, or --login USER@HOST";
        if user == account.as_str() {
            return Err(Fault::usage(format!(
                "{user} is the account itself, which can only take certificates\n  {next}"
            )));
        }
        if user.is_empty() || user.starts_with('-') || user.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Fault::usage(format!("{user:?} is no login name\n  {next}")));
        }
        let host = host.map(|text| {
            let host = text.trim_matches(['[', ']']);
            let address = host.parse().map(Host::Ip).ok();
            address.or_else(|| crate::cert::DnsName::parse(host).map(Host::Name).ok())
        });
        match host {
            Some(None) => Err(Fault::usage(format!("the login has no address and no DNS name after its @\n  {next}"))),
            Some(host) => Ok((user.to_owned(), host)),
            None => Ok((user.to_owned(), None)),
        }
    }

    /// None: those of the configuration.
    fn identities(&self) -> Result<Vec<Identity>, Fault> {
        let read = |file: &PathBuf| {
            let pem = secret::read_text(file).map_err(|error| Fault::of_configuration(&Finding::from(&error)))?;
            Ok(Identity { file: file.clone(), pem, passphrase: None })
        };
        self.identity.iter().map(read).collect()
    }
}

/// Where the same key could be more than a receiver's: root's, by the README's simpler line, and the login's that was just
/// used.
fn logins_beside(user: &str) -> impl Iterator<Item = &str> {
    ["root"].into_iter().chain((user != "root").then_some(user))
}

fn told(node: &config::Node, receiver: &Receiver, proofs: &[Proof], other_logins: &[OtherLogin]) -> u8 {
    let mut text = format!("{}: tried with this controller's key, as {}\n", node.name, receiver.account);
    for proof in proofs {
        let _ = match &proof.result {
            Ok(()) => writeln!(text, "  ok      {}", proof.what),
            Err(why) => writeln!(text, "  FAILED  {}: {why}", proof.what),
        };
    }
    for other in other_logins {
        match &other.login {
            Ok(Login::Shut) => text.push_str(&format!("  ok      it is not let in as {}\n", other.user)),
            Ok(Login::Shell(lines)) => {
                let _ = writeln!(text, "  WARNING the same key gets a shell as {}", other.user);
                let _ = writeln!(text, "          next: {}", remove_from(&other.user, lines));
            }
            Err(why) => {
                let _ =
                    writeln!(text, "  WARNING whether the same key is let in as {} is not known: {why}", other.user);
            }
        }
    }
    let failed = proofs.iter().filter(|proof| proof.result.is_err()).count();
    if failed == 0 {
        let _ = writeln!(text, "write into the configuration, at the node {}:", node.name);
        let _ = writeln!(text, "  ssh = {{ user = \"{}\" }}", receiver.account);
    } else {
        let _ =
            writeln!(text, "{failed} of {} are not as they should be; see to them, and run this again", proofs.len());
    }
    output::text(&text);
    let shut = other_logins.iter().all(|other| matches!(other.login, Ok(Login::Shut)));
    match (failed, shut) {
        (0, true) => Exit::Ok.code(),
        (0, false) => Exit::Warning.code(),
        _ => Exit::NotDelivered.code(),
    }
}

fn with(endpoint: Endpoint, identities: Vec<Identity>) -> Endpoint {
    if identities.is_empty() { endpoint } else { Endpoint { identities, ..endpoint } }
}

fn heading(title: &str, lines: &[String]) -> String {
    let mut text = format!("{title}\n");
    lines.iter().for_each(|line| _ = writeln!(text, "  {line}"));
    text
}

fn bad_word(bad: BadAccount) -> Fault {
    let next = match bad {
        BadAccount::Name(_) => "--account certd, or another name",
        BadAccount::From(_) => "--from with this controller's address, as the node sees it",
    };
    Fault::usage(format!("{bad}\n  next: {next}"))
}

fn not_done(failure: &Finding) -> Fault {
    Fault { exit: Exit::NotDelivered, ..Fault::from(failure) }
}

/// The `.pub` file beside it, else what the private key's own file says.
fn public_half(file: &Path) -> Result<PublicKey, Fault> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pub");
    let beside = PathBuf::from(beside);
    if beside.exists() {
        return public_key(&beside);
    }
    let pem = secret::read_text(file).map_err(|error| Fault::of_configuration(&Finding::from(&error)))?;
    PublicKey::of_private(&pem).map_err(|_| {
        let next = format!("next: ssh-keygen -y -f {0} > {0}.pub", file.display());
        Fault::usage(format!("{}: its public half stands beside it in no .pub file\n  {next}", file.display()))
    })
}

fn public_key(file: &Path) -> Result<PublicKey, Fault> {
    let next = "next: give the .pub file that ssh-keygen wrote";
    let text = std::fs::read_to_string(file)
        .map_err(|error| Fault::usage(format!("{}: {error}\n  {next}", file.display())))?;
    PublicKey::parse(&text).map_err(|bad| Fault::usage(format!("{}: {bad}\n  {next}", file.display())))
}

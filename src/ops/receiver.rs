//! A node's receiver, as seen from here: it is set up or removed by an administrator's login, and then the controller's
//! own key proves what it may do, and what not.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;
use tokio::task::JoinSet;

use crate::cert::{CertName, Generation};
use crate::config::{Certificate, Config, Host, Install, Node, Via};
use crate::model::{Advice, Code, Finding, Installed, Severity};
use crate::model::{ConfigTest, Refusal};
use crate::node::receiver::{self, Account, Login, Permit, Permits, PublicKey, Receiver, ReceiverError};
use crate::node::{Bundle, Dialogue, NodeError};
use crate::report::doctor::{Area, CheckupItem};
use crate::ssh::{Answer, Capability, Endpoint, capabilities};

use crate::context::clock;
use crate::context::failure::{bug, failure, of_node};
use crate::context::secrets::Secrets;
use crate::execute::rehearse::unsigned;
use crate::observe::route::way_to;

/// A package manager may be at work on the same node, and holds the database of accounts.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(120);
const PROOF_DEADLINE: Duration = Duration::from_secs(60);
/// For a number that no clock has any use for.
const LONG_AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One thing that was tried with the controller's key.
#[derive(Clone, Debug)]
pub struct Proof {
    pub what: String,
    /// `Err`: it is not as it should be, and why.
    pub result: Result<(), String>,
}

/// Everything that the configuration delivers to this node. `own_roots`: PEM, those that it names.
pub fn permits(config: &Config, node: &Node, own_roots: String) -> Permits {
    let of_node = config.certificates.iter().filter(|certificate| certificate.nodes.contains(&node.name));
    let permit = |certificate: &Certificate| {
        let install = Arc::clone(config.install(&node.name, &certificate.name)?);
        Some(Permit { certificate: certificate.name.clone(), names: certificate.names.clone(), install })
    };
    let system_roots = config.cas().any(|ca| ca.issuer_root_file.is_none());
    Permits { certificates: of_node.filter_map(permit).collect(), own_roots, system_roots }
}

/// The node's own ports that handshakes go to through the connection.
pub fn ports(node: &Node) -> Vec<u16> {
    if node.probe.via == Via::Ssh { vec![node.probe.port] } else { Vec::new() }
}

/// How to log in to a node as `user`; `other`: not at the address that the configuration has.
///
/// # Errors
/// Its name has no address.
pub async fn endpoint(secrets: &Secrets, node: &Node, other: Option<&Host>, user: &str) -> Result<Endpoint, Finding> {
    let unknown = || bug(&node.name, "a node without an address");
    let host = other.or(node.addresses.first()).ok_or_else(unknown)?;
    Ok(Endpoint { user: user.to_owned(), ..way_to(secrets, node, host).await? })
}

/// # Errors
/// Whatever kept the script from its end; it can be run again.
pub async fn run(administrator: Endpoint, script: &str) -> Result<Vec<String>, Finding> {
    let node = administrator.node.clone();
    let ran = receiver::run(administrator, script, SCRIPT_DEADLINE).await;
    ran.map_err(|error: ReceiverError| failure(error.code(), &node, &error, error.next(), Advice::Person))
}

/// What the script said of the node's choices.
#[derive(Clone, Copy, Debug)]
pub struct Chosen {
    /// An older generation may replace a newer one.
    pub older: bool,
    /// The node judges certificates by itself.
    pub judges: bool,
}

impl Chosen {
    pub fn of(said: &[String]) -> Self {
        let options = said.iter().find_map(|line| line.strip_prefix(receiver::OPTIONS));
        Self {
            older: options.is_some_and(|options| options.contains(" --allow-older")),
            judges: said.iter().any(|line| line.starts_with(receiver::JUDGES)),
        }
    }
}

/// With the controller's key: a delivery that is rehearsed works, and nothing else does.
///
/// # Errors
/// It cannot even be tried.
pub async fn prove(
    config: &Config,
    account: &Endpoint,
    receiver: &Receiver,
    chosen: Chosen,
) -> Result<Vec<Proof>, Finding> {
    let mut bundles = Vec::new();
    for Permit { certificate: name, install, .. } in &receiver.permits.certificates {
        let certificate = config.certificate(name).ok_or_else(|| bug(name, "a certificate that is not configured"))?;
        let (generation, pair) = unsigned(certificate)?;
        let (certificate, pair, install) = (name.clone(), Arc::new(pair), Arc::clone(install));
        bundles.push(Bundle { certificate, generation, pair, install, older: false });
    }
    // The first says what is wrong with the login; nothing else is worth trying without it.
    let mut proofs = vec![prepares(account, bundles.clone()).await?];
    let mut dialogues = JoinSet::new();
    if let Some(bundle) = bundles.first() {
        for (index, attempt) in others(bundle, receiver, chosen).into_iter().enumerate() {
            let account = account.clone();
            dialogues.spawn(async move { (index, is_forbidden(account, attempt).await) });
        }
    }
    let attempts = capabilities(account.clone(), attempts(receiver), PROOF_DEADLINE).await;
    let attempts = attempts.map_err(|error| of_node(&receiver.node, &NodeError::from(error)))?;
    proofs.extend(attempts.into_iter().map(|(liberty, answer)| judged(&liberty, &answer)));
    let mut told = dialogues.join_all().await;
    told.sort_by_key(|(index, _)| *index);
    proofs.extend(told.into_iter().map(|(_, proof)| proof));
    Ok(proofs)
}

async fn prepares(account: &Endpoint, bundles: Vec<Bundle>) -> Result<Proof, Finding> {
    let names: Vec<String> = bundles.iter().map(|bundle| bundle.certificate.to_string()).collect();
    let what = format!("a delivery of {} is prepared, and aborted", names.join(", "));
    match Dialogue::rehearse(account.clone(), bundles, PROOF_DEADLINE).await {
        Ok(prepared) => {
            let what = match prepared.test {
                ConfigTest::Ok => what,
                ConfigTest::Failed(words) => {
                    format!(
                        "{what} (the node's configuration test fails already, which setup does not change: {words})"
                    )
                }
            };
            Ok(Proof { what, result: Ok(()) })
        }
        // A newer one is there: the receiver has read all parameters, and says so.
        Err(NodeError::Refused { refusal: Refusal::Newer { .. }, .. }) => Ok(Proof { what, result: Ok(()) }),
        Err(error) => Err(of_node(&account.node, &error)),
    }
}

/// What the receiver must refuse, each by itself.
struct Attempt {
    what: &'static str,
    bundle: Bundle,
    /// With the word of a delivery that could be committed, which it never is.
    in_earnest: bool,
}

fn others(bundle: &Bundle, receiver: &Receiver, chosen: Chosen) -> Vec<Attempt> {
    let with = |change: &dyn Fn(&mut Install)| {
        let mut install = (*bundle.install).clone();
        change(&mut install);
        Bundle { install: Arc::new(install), ..bundle.clone() }
    };
    let mut others = vec![
        ("another path for the chain", with(&|install| install.fullchain = "/etc/certd-proof/chain.pem".to_owned())),
        ("another path for the key", with(&|install| install.key.push_str("/../certd-proof.pem"))),
        ("another command for the test", with(&|install| install.test = vec!["/bin/true".to_owned()])),
        ("another command for the reload", with(&|install| install.reload = vec!["/bin/true".to_owned()])),
        ("one more word for the reload", with(&|install| install.reload.push("certd-proof".to_owned()))),
    ];
    let known: BTreeSet<&CertName> = receiver.permits.certificates.iter().map(|permit| &permit.certificate).collect();
    if let Ok(other) = CertName::parse("certd-proof.invalid")
        && !known.contains(&other)
    {
        others.push(("another certificate", Bundle { certificate: other, ..bundle.clone() }));
    }
    if !chosen.older {
        others.push(("an older generation over a newer one", Bundle { older: true, ..bundle.clone() }));
    }
    let ahead = clock::now() + LONG_AHEAD;
    if let Ok(generation) = Generation::issued(ahead, 0, &bundle.pair.chain().leaf.serial) {
        others.push(("a generation of next month", Bundle { generation, ..bundle.clone() }));
    }
    let mut others: Vec<Attempt> =
        others.into_iter().map(|(what, bundle)| Attempt { what, bundle, in_earnest: false }).collect();
    if chosen.judges {
        let what = "a certificate that no CA has signed";
        others.push(Attempt { what, bundle: bundle.clone(), in_earnest: true });
    }
    others
}

async fn is_forbidden(account: Endpoint, attempt: Attempt) -> Proof {
    let Attempt { what, bundle, in_earnest } = attempt;
    let answer = if in_earnest {
        match Dialogue::open(account, vec![bundle], PROOF_DEADLINE).await {
            Ok((dialogue, _)) => {
                dialogue.abort().await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    } else {
        Dialogue::rehearse(account, vec![bundle], PROOF_DEADLINE).await.map(|_| ())
    };
    let result = match answer {
        Err(NodeError::Refused { refusal: Refusal::NotPermitted { .. }, .. }) => Ok(()),
        Err(error) => Err(format!("it was not refused by the receiver: {error}")),
        Ok(()) => Err("the node took it".to_owned()),
    };
    Proof { what: format!("{what} is refused"), result }
}

/// Another login that was tried with the controller's key: what it is to that, or why nobody can say.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    pub user: String,
    pub login: Result<Login, String>,
}

/// One login with the controller's key as somebody else than the receiver's account.
pub async fn elsewhere(login: Endpoint, keys: &[PublicKey]) -> Elsewhere {
    let user = login.user.clone();
    let tried = receiver::try_login(login, keys, PROOF_DEADLINE).await;
    Elsewhere { user, login: tried.map_err(|error| error.to_string()) }
}

fn attempts(receiver: &Receiver) -> Vec<Capability> {
    let text = str::to_owned;
    let mut attempts = vec![
        Capability::Shell,
        Capability::Command(String::new()),
        Capability::Command(text("scp -t /tmp; echo certd-$((6*7))-proof")),
        Capability::Subsystem(text("sftp")),
        Capability::Terminal,
        Capability::Variable(text("LD_PRELOAD"), text("certd-proof")),
        Capability::Variable(text("BASH_ENV"), text("certd-proof")),
        Capability::AgentForwarding,
        // Where systemd and D-Bus are, everybody may connect to these.
        Capability::ForwardToSocket(text("/run/systemd/journal/stdout")),
        Capability::ForwardToSocket(text("/run/dbus/system_bus_socket")),
        Capability::Listen(text("127.0.0.1")),
        Capability::Listen(text("0.0.0.0")),
        Capability::Forward(text("192.0.2.1"), 443),
    ];
    let local = [22, 443, 25].into_iter().filter(|port| !receiver.ports.contains(port));
    attempts.extend(local.map(|port| Capability::Forward(text("127.0.0.1"), port)));
    attempts
}

fn judged(liberty: &Capability, answer: &Answer) -> Proof {
    let what = match liberty {
        Capability::Shell => "a shell is not to be had".to_owned(),
        Capability::Command(command) if command.is_empty() => "another command is not run".to_owned(),
        Capability::Command(command) => format!("{} is not run", command.split(' ').next().unwrap_or_default()),
        Capability::Subsystem(name) => format!("{name} is not to be had"),
        Capability::Terminal => "a terminal is refused".to_owned(),
        Capability::Variable(name, _) => format!("the variable {name} is refused"),
        Capability::AgentForwarding => "forwarding an agent is refused".to_owned(),
        Capability::Forward(host, port) => format!("a connection to {host} port {port} through the node is refused"),
        Capability::ForwardToSocket(path) => format!("a connection to {path} on the node is refused"),
        Capability::Listen(host) => format!("listening on the node, at {host}, is refused"),
    };
    let why = match liberty {
        Capability::Variable(..) => "sshd takes it: see AcceptEnv in the node's sshd_config",
        Capability::ForwardToSocket(_) => {
            "sshd permits it, since a port is: write into the node's sshd_config `Match User ACCOUNT` and \
             `AllowStreamLocalForwarding no`"
        }
        _ => "it works: see what the node's sshd_config says beside the line of authorized_keys",
    };
    let result = if *answer == Answer::Granted { Err(why.to_owned()) } else { Ok(()) };
    Proof { what, result }
}

/// What an installed receiver is, beside what this configuration would install, and whether its key is root's as well.
pub async fn checked(config: &Config, secrets: &Secrets, node: &Node, installed: &Installed) -> Vec<CheckupItem> {
    let (mut findings, mut well) = (Vec::new(), Vec::new());
    let warning = |code: Code, what: String, next: String| {
        let failure = failure(code, &node.name, what, next, Advice::Person);
        CheckupItem::bad(Area::Nodes, &failure)
    };
    let setup = format!("bring it up to date, with an administrator's login: certd node setup {}", node.name);
    if let Ok(account) = Account::parse(&node.ssh.user) {
        let permits = permits(config, node, secrets.issuer_roots.clone());
        let (program, parameters) = receiver::digests(&account, &permits);
        if installed.program != program {
            let what = "the receiver there is not the one that this certd would install".to_owned();
            findings.push(warning(Code::NodeReceiver, what, setup));
        } else if installed.parameters != parameters {
            let what = "the receiver there permits something else than this configuration would deliver".to_owned();
            findings.push(warning(Code::NodeReceiver, what, setup));
        } else {
            well.push("its receiver permits what this configuration delivers");
        }
    }
    well.push(if installed.judges {
        "judges certificates by itself"
    } else {
        "does not judge certificates by itself (no openssl there, or not wanted): a thief of the key can deliver any pair"
    });
    if node.ssh.user != "root" {
        // The only login that is tried beside the node's own.
        match endpoint(secrets, node, None, "root").await {
            Ok(root) => {
                let keys = receiver::public_halves(&root);
                match elsewhere(root, &keys).await.login {
                    Ok(Login::Shut) => well.push("its key gets no shell as root"),
                    Ok(Login::Shell(lines)) => {
                        let what = "the receiver's key gets a shell as root, too".to_owned();
                        findings.push(warning(Code::NodeRootKey, what, receiver::remove_from("root", &lines)));
                    }
                    Err(why) => {
                        let what = format!("whether its key gets a shell as root, too, is not known: {why}");
                        findings.push(warning(Code::NodeRootKey, what, "run certd doctor again".to_owned()));
                    }
                }
            }
            Err(failure) => findings.push(CheckupItem::bad(Area::Nodes, &failure.of_severity(Severity::Warning))),
        }
    }
    findings.push(CheckupItem::ok(Area::Nodes, &node.name, well.join("; ")));
    findings
}

//! Sets up or removes a node's receiver through an administrator's login, then proves with the controller's key what
//! that key can and cannot do.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;
use tokio::sync::Semaphore;
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
use crate::observe::route::endpoint_at;

/// Long, since a package manager on the node may hold the lock on the account database.
pub(super) const SCRIPT_DEADLINE: Duration = Duration::from_secs(120);
const PROOF_DEADLINE: Duration = Duration::from_secs(60);
/// At once: dropbear takes five connections of one address that are not logged in yet, and sshd ten of all.
const LOGINS: usize = 3;
/// Ahead of any plausible clock, for a generation that the receiver must refuse.
const LONG_AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One test with the controller's key.
#[derive(Clone, Debug)]
pub struct Proof {
    pub what: String,
    /// `Err`: why the test failed.
    pub result: Result<(), String>,
}

/// What the configuration delivers to this node. `own_roots`: PEM of the roots that it names.
pub fn permits(config: &Config, node: &Node, own_roots: String) -> Permits {
    let of_node = config.certificates.iter().filter(|certificate| certificate.nodes.contains(&node.name));
    let permit = |certificate: &Certificate| {
        let install = Arc::clone(config.install(&node.name, &certificate.name)?);
        Some(Permit { certificate: certificate.name.clone(), names: certificate.names.clone(), install })
    };
    let system_roots = config.cas().any(|ca| ca.issuer_root_file.is_none());
    Permits { certificates: of_node.filter_map(permit).collect(), own_roots, system_roots }
}

/// Ports on the node that certd connects to through SSH for handshakes.
pub fn ports(node: &Node) -> Vec<u16> {
    let ports: BTreeSet<u16> =
        node.every_probe().filter(|probe| probe.via == Via::Ssh).map(|probe| probe.port).collect();
    ports.into_iter().collect()
}

/// The endpoint to log in to a node as `user`; `other`: at this host instead of the configured address.
///
/// # Errors
/// The name does not resolve.
pub async fn endpoint(secrets: &Secrets, node: &Node, other: Option<&Host>, user: &str) -> Result<Endpoint, Finding> {
    let unknown = || bug(&node.name, "a node without an address");
    let host = other.or(node.addresses.first()).ok_or_else(unknown)?;
    Ok(Endpoint { user: user.to_owned(), ..endpoint_at(secrets, node, host).await? })
}

/// # Errors
/// The script did not finish. It can be run again.
pub async fn run(administrator: Endpoint, script: &str) -> Result<Vec<String>, Finding> {
    let node = administrator.node.clone();
    let ran = receiver::run(administrator, script, SCRIPT_DEADLINE).await;
    ran.map_err(|error: ReceiverError| failure(error.code(), &node, &error, error.next(), Advice::Person))
}

/// The node's options, as the setup script reported them.
#[derive(Clone, Copy, Debug)]
pub struct Chosen {
    /// An older generation may replace a newer one.
    pub older: bool,
    /// The node verifies certificates.
    pub judges: bool,
}

impl Chosen {
    pub fn of(lines: &[String]) -> Self {
        let options = lines.iter().find_map(|line| line.strip_prefix(receiver::OPTIONS));
        Self {
            older: options.is_some_and(|options| options.contains(" --allow-older")),
            judges: lines.iter().any(|line| line.starts_with(receiver::JUDGES)),
        }
    }
}

/// Proves that the controller's key can rehearse a delivery and do nothing else.
///
/// # Errors
/// The login or the dialogue failed.
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
    // The rehearsal comes first: if the login fails, all other tests are pointless.
    let mut proofs = vec![prepares(account, bundles.clone()).await?];
    let mut dialogues = JoinSet::new();
    let logins = Arc::new(Semaphore::new(LOGINS));
    if let Some(bundle) = bundles.first() {
        for (index, attempt) in others(bundle, receiver, chosen).into_iter().enumerate() {
            let (account, logins) = (account.clone(), Arc::clone(&logins));
            dialogues.spawn(async move {
                let _login = logins.acquire().await;
                (index, is_forbidden(account, attempt).await)
            });
        }
    }
    let (names, attempts): (Vec<String>, Vec<Capability>) = attempts(receiver).into_iter().unzip();
    let answers = capabilities(account.clone(), attempts, PROOF_DEADLINE).await;
    let answers = answers.map_err(|error| of_node(&receiver.node, &NodeError::from(error)))?;
    proofs.extend(names.iter().zip(answers).map(|(name, (capability, answer))| judged(name, &capability, &answer)));
    let mut refusals = dialogues.join_all().await;
    refusals.sort_by_key(|(index, _)| *index);
    proofs.extend(refusals.into_iter().map(|(_, proof)| proof));
    Ok(proofs)
}

async fn prepares(account: &Endpoint, bundles: Vec<Bundle>) -> Result<Proof, Finding> {
    let names: Vec<String> = bundles.iter().map(|bundle| bundle.certificate.to_string()).collect();
    let what = format!("a delivery of {} is prepared and aborted", names.join(", "));
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
        // The node holds a newer generation: the receiver has accepted all parameters before it compares numbers.
        Err(NodeError::Refused { refusal: Refusal::Newer { .. }, .. }) => Ok(Proof { what, result: Ok(()) }),
        Err(error) => Err(of_node(&account.node, &error)),
    }
}

/// A delivery that the receiver must refuse.
struct Attempt {
    what: &'static str,
    bundle: Bundle,
    /// Sent as a real delivery instead of a rehearsal; it is never committed.
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
        Ok(()) => Err("the node accepted it".to_owned()),
    };
    Proof { what: format!("{what} is refused"), result }
}

/// Another login that was tried with the controller's key.
#[derive(Clone, Debug)]
pub struct OtherLogin {
    pub user: String,
    pub login: Result<Login, String>,
}

/// Tries one login with the controller's key as another user than the receiver's account.
pub async fn other_login(login: Endpoint, keys: &[PublicKey]) -> OtherLogin {
    let user = login.user.clone();
    let login = receiver::try_login(login, keys, PROOF_DEADLINE).await;
    OtherLogin { user, login: login.map_err(|error| error.to_string()) }
}

/// What the controller's key must not be able to do, each with its name in the output.
fn attempts(receiver: &Receiver) -> Vec<(String, Capability)> {
    use Capability::*;
    let text = str::to_owned;
    let proof = || text("certd-proof");
    let attempts = [
        ("a shell", Shell),
        ("another command", Command(String::new())),
        ("scp", Command(text("scp -t /tmp; echo certd-$((6*7))-proof"))),
        ("sftp", Subsystem(text("sftp"))),
        ("a terminal", Terminal),
        ("the variable LD_PRELOAD", Variable(text("LD_PRELOAD"), proof())),
        ("the variable BASH_ENV", Variable(text("BASH_ENV"), proof())),
        ("forwarding an agent", AgentForwarding),
    ];
    let mut attempts: Vec<_> = attempts.map(|(what, capability)| (text(what), capability)).into();
    // With systemd and D-Bus, every local user may connect to these sockets.
    for path in ["/run/systemd/journal/stdout", "/run/dbus/system_bus_socket"] {
        attempts.push((format!("a connection to {path} on the node"), ForwardToSocket(text(path))));
    }
    for host in ["127.0.0.1", "0.0.0.0"] {
        attempts.push((format!("listening on the node, at {host},"), Listen(text(host))));
    }
    let local = [22, 443, 25].into_iter().filter(|port| !receiver.ports.contains(port));
    for (host, port) in [("192.0.2.1", 443)].into_iter().chain(local.map(|port| ("127.0.0.1", port))) {
        attempts.push((format!("a connection to {host} port {port} through the node"), Forward(text(host), port)));
    }
    attempts
}

fn judged(what: &str, capability: &Capability, answer: &Answer) -> Proof {
    let why = match capability {
        Capability::Variable(..) => "sshd accepts it: see AcceptEnv in the node's sshd_config",
        Capability::ForwardToSocket(_) => {
            "sshd permits it because it permits a port: add to the node's sshd_config `Match User ACCOUNT` and \
             `AllowStreamLocalForwarding no`"
        }
        _ => "it works: compare the node's sshd_config with the line in authorized_keys",
    };
    let result = if *answer == Answer::Granted { Err(why.to_owned()) } else { Ok(()) };
    Proof { what: format!("{what} is refused"), result }
}

/// Compares the installed receiver with what this configuration would install, and tests whether its key also works as
/// root.
pub async fn checked(config: &Config, secrets: &Secrets, node: &Node, installed: &Installed) -> Vec<CheckupItem> {
    let (mut findings, mut well) = (Vec::new(), Vec::new());
    let warning = |code: Code, what: String, next: String| {
        let failure = failure(code, &node.name, what, next, Advice::Person);
        CheckupItem::bad(Area::Nodes, &failure)
    };
    let setup = format!("update it with an administrator's login: certd node setup {}", node.name);
    if let Ok(account) = Account::parse(&node.ssh.user) {
        let permits = permits(config, node, secrets.issuer_roots.clone());
        let (program, parameters) = receiver::digests(&account, &permits);
        if installed.program != program {
            let what = "its receiver is not the one that this certd installs".to_owned();
            findings.push(warning(Code::NodeReceiver, what, setup));
        } else if installed.parameters != parameters {
            let what = "its receiver does not permit exactly what this configuration delivers".to_owned();
            findings.push(warning(Code::NodeReceiver, what, setup));
        } else {
            well.push("its receiver permits what this configuration delivers");
        }
    }
    well.push(if installed.judges {
        "verifies certificates"
    } else {
        "does not verify certificates (no openssl, or disabled): a thief of the key can deliver any pair"
    });
    if node.ssh.user != "root" {
        // The only other login that doctor tries.
        match endpoint(secrets, node, None, "root").await {
            Ok(root) => {
                let keys = receiver::public_halves(&root);
                match other_login(root, &keys).await.login {
                    Ok(Login::Shut) => well.push("its key gets no shell as root"),
                    Ok(Login::Shell(lines)) => {
                        let what = "the receiver's key also gets a shell as root".to_owned();
                        findings.push(warning(Code::NodeRootKey, what, receiver::remove_from("root", &lines)));
                    }
                    Err(why) => {
                        let what = format!("cannot tell whether its key also gets a shell as root: {why}");
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

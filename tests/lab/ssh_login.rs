//! Logging in with every kind of key that OpenSSH makes, encrypted or not, from files and from an agent.

use crate::lab::plain_sshd as sshd;
use crate::lab::throttle;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use certd::ssh::{Endpoint, Identity, Session, SshError, certificate_file, fingerprint, host_keys};
use sshd::{Sshd, free_address, identity};
use throttle::{Then, Throttle};
use zeroize::Zeroizing;

const LIMIT: Duration = Duration::from_secs(20);
const PASSPHRASE: &str = "two words, and 上海";

async fn login(endpoint: Endpoint) -> Result<(), SshError> {
    let mut session = Session::start(endpoint, "cat").unwrap();
    tokio::time::timeout(LIMIT, session.ready()).await.expect("in time")
}

/// `ssh-keygen`'s arguments beside the file; the key may log in.
fn key(sshd: &Sshd, name: &str, arguments: &[&str]) -> PathBuf {
    let file = sshd.dir.path().join(name);
    let short = if arguments.contains(&"rsa") { ["-b", "2048"].as_slice() } else { &[] };
    let made = Command::new("ssh-keygen").arg("-q").args(arguments).args(short).arg("-f").arg(&file).status().unwrap();
    assert!(made.success());
    let public = fs::read_to_string(file.with_extension("pub")).unwrap();
    let authorized = sshd.dir.path().join("authorized");
    fs::write(&authorized, fs::read_to_string(&authorized).unwrap() + &public).unwrap();
    file
}

fn with(file: &Path, passphrase: Option<&str>) -> Identity {
    Identity { passphrase: passphrase.map(|text| Zeroizing::new(text.to_owned())), ..identity(file) }
}

#[tokio::test]
async fn every_kind_of_key_logs_in_plain_and_encrypted_in_each_format() {
    let sshd = Sshd::start(None);
    for kind in ["ed25519", "ecdsa", "rsa"] {
        for format in ["RFC4716", "PEM", "PKCS8"] {
            // OpenSSH itself writes ed25519 in its own format alone.
            if kind == "ed25519" && format != "RFC4716" {
                continue;
            }
            for passphrase in ["", PASSPHRASE] {
                let name = format!("{kind}-{format}-{}", passphrase.len());
                let file = key(&sshd, &name, &["-t", kind, "-m", format, "-N", passphrase]);
                let identity = with(&file, Some(passphrase).filter(|text| !text.is_empty()));
                assert_eq!(identity.is_encrypted(), !passphrase.is_empty(), "{name}");
                let result = login(Endpoint { identities: vec![identity], ..sshd.endpoint() }).await;
                assert!(result.is_ok(), "{name}: {result:?}");
            }
        }
    }
}

#[tokio::test]
async fn rsa_signs_with_sha2_where_nothing_older_is_taken() {
    let sshd = Sshd::with(free_address(), "PubkeyAcceptedAlgorithms rsa-sha2-256,rsa-sha2-512\n");
    let file = key(&sshd, "rsa", &["-t", "rsa", "-N", ""]);
    login(Endpoint { identities: vec![identity(&file)], ..sshd.endpoint() }).await.unwrap();
}

#[tokio::test]
async fn a_key_that_cannot_be_opened_is_told_apart_from_one_that_is_refused() {
    let sshd = Sshd::start(None);
    let at = sshd.dir.path().display().to_string();
    let printed = async |identity| {
        let error = login(Endpoint { identities: vec![identity], ..sshd.endpoint() }).await.unwrap_err();
        error.to_string().replace(&at, "")
    };
    for (name, kind, format) in [("new", "ed25519", "RFC4716"), ("pem", "rsa", "PEM"), ("pkcs8", "ecdsa", "PKCS8")] {
        let file = key(&sshd, name, &["-t", kind, "-m", format, "-N", PASSPHRASE]);
        let text = format!("上海: no login as root: /{name} (encrypted, and ssh.passphrase_file is not set)");
        assert_eq!(printed(with(&file, None)).await, text);
        let text = format!("上海: no login as root: /{name} (the passphrase does not open it)");
        assert_eq!(printed(with(&file, Some("wrong"))).await, text);
    }
}

#[tokio::test]
async fn a_new_key_is_taken_after_the_old_one_is_refused_and_the_nodes_limit_is_named() {
    let sshd = Sshd::with(free_address(), "MaxAuthTries 3\n");
    let wrong = || identity(&sshd.dir.path().join("wrong"));
    let right = || identity(&sshd.dir.path().join("login"));
    login(Endpoint { identities: vec![wrong(), right()], ..sshd.endpoint() }).await.unwrap();
    let identities = vec![wrong(), wrong(), wrong(), wrong(), right()];
    let error = login(Endpoint { identities, ..sshd.endpoint() }).await.unwrap_err();
    assert!(matches!(error, SshError::Login { .. }), "{error}");
    assert!(
        error.to_string().ends_with("then the node ended the session (MaxAuthTries in its sshd_config)"),
        "{error}"
    );
}

struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(folder: &Path) -> Self {
        let socket = folder.join("agent.sock");
        let child = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = Self { child, socket };
        for _ in 0..500 {
            if agent.socket.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(agent.socket.exists(), "no agent");
        agent
    }

    fn add(&self, file: &Path) {
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(file).env("SSH_AUTH_SOCK", &self.socket).stdin(Stdio::null());
        assert!(add.status().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn an_agents_keys_are_tried_after_the_files() {
    let sshd = Sshd::start(None);
    let agent = Agent::start(sshd.dir.path());
    let at = sshd.dir.path().display().to_string();
    let endpoint = |identities| Endpoint { identities, agent: Some(agent.socket.clone()), ..sshd.endpoint() };
    let printed = async |endpoint| login(endpoint).await.unwrap_err().to_string().replace(&at, "");

    let text = "上海: no login as root: /wrong (refused by the node); the agent at /agent.sock (has no keys)";
    assert_eq!(printed(endpoint(vec![identity(&sshd.dir.path().join("wrong"))])).await, text);
    agent.add(&sshd.dir.path().join("wrong"));
    assert!(printed(endpoint(vec![])).await.ends_with("of the agent (refused by the node)"));
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let agent_key = key(&sshd, &format!("of-agent-{kind}"), &["-t", kind, "-N", ""]);
        agent.add(&agent_key);
        login(endpoint(vec![])).await.unwrap();
    }

    let text = "上海: no login as root: the agent (SSH_AUTH_SOCK is not set)";
    assert_eq!(printed(Endpoint { agent: Some(PathBuf::new()), ..endpoint(vec![]) }).await, text);
    let nobody = Some(sshd.dir.path().join("nobody.sock"));
    let error = printed(Endpoint { agent: nobody, ..endpoint(vec![]) }).await;
    assert!(error.starts_with("上海: no login as root: the agent at /nobody.sock ("), "{error}");
}

#[tokio::test]
async fn an_agent_that_hangs_costs_seconds_and_keeps_no_thread() {
    let sshd = Sshd::start(None);
    let socket = sshd.dir.path().join("hung.sock");
    let _hung = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let error = login(Endpoint { identities: vec![], agent: Some(socket), ..sshd.endpoint() }).await.unwrap_err();
    assert!(error.to_string().ends_with("hung.sock (did not answer within 5 s)"), "{error}");
}

/// Bytes of the server that pass until a login is done.
async fn bytes_of_a_login(sshd: &Sshd) -> usize {
    let whole = Throttle::start(free_address(), sshd.address, usize::MAX, Then::Silence);
    login(Endpoint { address: whole.at, ..sshd.endpoint() }).await.unwrap();
    whole.heard()
}

#[tokio::test]
async fn a_connection_that_ends_during_the_login_is_no_refusal_of_a_key() {
    let sshd = Sshd::with(free_address(), "MaxStartups 200\n");
    let bytes = bytes_of_a_login(&sshd).await;
    let mut phases = std::collections::BTreeSet::new();
    for back in (0..600).step_by(12) {
        let cut = Throttle::start(free_address(), sshd.address, bytes - back, Then::End);
        match login(Endpoint { address: cut.at, ..sshd.endpoint() }).await {
            Ok(()) | Err(SshError::Handshake { .. } | SshError::Exec { .. }) => {}
            Err(SshError::Closed { phase, .. }) => drop(phases.insert(phase)),
            Err(other) => panic!("{back} bytes before the end: {other}"),
        }
    }
    assert!(phases.contains("logging in"), "{phases:?}");
}

#[tokio::test]
async fn a_revoked_host_key_is_refused_even_where_it_is_pinned() {
    let sshd = Sshd::start(None);
    let endpoint = Endpoint { revoked: vec![sshd.host_key("host")], ..sshd.endpoint() };
    let error = login(endpoint).await.unwrap_err();
    assert_eq!(error.code().as_str(), "ssh-host-key-revoked", "{error}");
}

#[tokio::test]
async fn a_certificate_authority_in_known_hosts_is_named_as_what_it_is() {
    let sshd = Sshd::start(None);
    let authorities = vec![sshd.host_key("wrong")];
    let shown = fingerprint(&authorities[0]);
    let error = login(Endpoint { host_keys: vec![], authorities, ..sshd.endpoint() }).await.unwrap_err().to_string();
    let text =
        format!("(known_hosts has an @cert-authority for it, {shown}, and certd does not support host certificates)");
    assert!(error.ends_with(&text), "{error}");
}

#[tokio::test]
async fn a_node_at_an_ipv6_address_is_logged_in_to() {
    let free = std::net::TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap();
    let sshd = Sshd::with(free, "");
    login(sshd.endpoint()).await.unwrap();
}

#[tokio::test]
async fn s20_a_node_that_allows_one_session_a_connection_is_delivered_to_and_one_that_drops_connections_is_named() {
    let sshd = Sshd::with(free_address(), "MaxSessions 1\n");
    login(sshd.endpoint()).await.unwrap();

    let sshd = Sshd::with(free_address(), "MaxStartups 1:100:1\nLoginGraceTime 60\n");
    // One holds the one place that this sshd has for those who have not logged in, once who tried the port has left it.
    let mut held = None;
    let has_the_place = crate::lab::process::wait_until(|| {
        let connection = held.insert(std::net::TcpStream::connect(sshd.address).unwrap());
        let mut greeting = [0; 4];
        std::io::Read::read_exact(connection, &mut greeting).is_ok() && greeting == *b"SSH-"
    });
    assert!(has_the_place);
    // It tries again for some seconds, and says so.
    let limit = Duration::from_millis(1500);
    let mut waiting = Session::start(sshd.endpoint(), "cat").unwrap();
    assert!(tokio::time::timeout(limit, waiting.ready()).await.is_err(), "the place is taken");
    let error = waiting.overdue(limit).to_string();
    assert!(error.starts_with("上海: not done after 1 s, while "), "{error}");
    assert!(error.contains("again, after no SSH session") || error.ends_with("exchanging keys"), "{error}");
    let mut waiting = Session::start(sshd.endpoint(), "cat").unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(500), waiting.ready()).await.is_err(), "the place is taken");
    drop(held);
    tokio::time::timeout(LIMIT, waiting.ready()).await.expect("in time").unwrap();
}

#[tokio::test]
async fn a_line_in_place_of_a_banner_is_shown_and_costs_one_connection() {
    for (line, next) in
        [("Not allowed at this time", "PerSourcePenaltyExemptList"), ("220 mail.example.com ESMTP", "see that 127.")]
    {
        let listener = std::net::TcpListener::bind(free_address()).unwrap();
        let address = listener.local_addr().unwrap();
        let sshd = Sshd::start(None);
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&count);
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let _ = std::io::Write::write_all(&mut client, format!("{line}\r\n").as_bytes());
            }
        });
        let error = login(Endpoint { address, ..sshd.endpoint() }).await.unwrap_err();
        let text =
            format!("上海: no SSH session with {address}: the server answered \"{line}\" in place of an SSH banner");
        assert_eq!(error.to_string(), text);
        assert_eq!(error.code().as_str(), "ssh-turned-away");
        assert!(error.next().contains(next), "{}", error.next());
        let error = host_keys(Endpoint { address, ..sshd.endpoint() }, LIMIT).await.unwrap_err();
        assert_eq!(error.to_string(), text);
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 2, "one for each");
    }
}

#[tokio::test]
async fn the_host_keys_that_were_had_before_the_host_turned_away_are_shown() {
    let sshd = Sshd::start(None);
    let listener = std::net::TcpListener::bind(free_address()).unwrap();
    let (address, behind) = (listener.local_addr().unwrap(), sshd.address);
    std::thread::spawn(move || {
        let mut clients = listener.incoming().flatten();
        let (Some(mut client), Some(mut next)) = (
            clients.next().inspect(|client| {
                let server = std::net::TcpStream::connect(behind).unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let (mut from, mut to) = (server, client.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }),
            clients.next(),
        ) else {
            return;
        };
        let _ = std::io::Write::write_all(&mut next, b"Not allowed at this time\r\n");
        let _ = std::io::Write::flush(&mut client);
    });
    let shown = host_keys(Endpoint { address, ..sshd.endpoint() }, LIMIT).await.unwrap();
    assert_eq!(shown.keys, [sshd.host_key("host")]);
    let error = shown.turned_away.expect("the second connection").to_string();
    assert!(error.contains("\"Not allowed at this time\""), "{error}");
}

#[tokio::test]
async fn a_second_factor_that_is_wanted_after_the_key_is_named() {
    let sshd = Sshd::with(free_address(), "AuthenticationMethods publickey,password\nPasswordAuthentication yes\n");
    let error = login(sshd.endpoint()).await.unwrap_err();
    let key = sshd.dir.path().join("login");
    assert_eq!(error.to_string(), format!("上海: sshd takes {} for root, and wants password besides", key.display()));
    assert!(error.next().contains("AuthenticationMethods publickey"), "{}", error.next());
    // A key that it does not know is refused as everywhere.
    let identities = vec![identity(&sshd.dir.path().join("wrong"))];
    let error = login(Endpoint { identities, ..sshd.endpoint() }).await.unwrap_err();
    assert!(matches!(error, SshError::Login { .. }), "{error}");
}

#[tokio::test]
async fn a_certificate_beside_the_key_logs_in_where_no_key_is_authorized() {
    let authority = tempfile::tempdir().unwrap();
    let ca = authority.path().join("ca");
    let keygen =
        |arguments: &[&str]| assert!(Command::new("ssh-keygen").arg("-q").args(arguments).status().unwrap().success());
    keygen(&["-t", "ed25519", "-N", "", "-f", ca.to_str().unwrap()]);
    let extra = format!("TrustedUserCAKeys {}.pub\nAuthorizedKeysFile none\n", ca.display());
    let sshd = Sshd::with(free_address(), &extra);
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let file = key(&sshd, kind, &["-t", kind, "-N", ""]);
        let alone = Endpoint { identities: vec![identity(&file)], ..sshd.endpoint() };
        let error = login(alone.clone()).await.unwrap_err();
        assert!(matches!(error, SshError::Login { .. }), "{kind}: {error}");
        let public = format!("{}.pub", file.display());
        keygen(&["-s", ca.to_str().unwrap(), "-I", "certd", "-n", "root", &public]);
        let certificate = fs::read_to_string(certificate_file(&file)).unwrap();
        let certified = Identity { certificate: Some(certificate.trim().to_owned()), ..identity(&file) };
        login(Endpoint { identities: vec![certified.clone()], ..alone.clone() })
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
        // One for another account is refused, and the key by itself is tried after it.
        let other = Endpoint { identities: vec![certified], ..alone };
        keygen(&["-s", ca.to_str().unwrap(), "-I", "certd", "-n", "somebody", &public]);
        let certificate = fs::read_to_string(certificate_file(&file)).unwrap();
        let identities = vec![Identity { certificate: Some(certificate), ..identity(&file) }];
        let error = login(Endpoint { identities, ..other }).await.unwrap_err().to_string();
        let file = file.display();
        assert!(
            error.ends_with(&format!("{file}-cert.pub (refused by the node); {file} (refused by the node)")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_program_that_a_signal_ends_is_named_by_it() {
    let sshd = Sshd::start(None);
    for (command, words) in [("kill -KILL $$", "(by SIGKILL)"), ("exit 3", "(exit status 3)")] {
        let mut session = Session::start(sshd.endpoint(), command).unwrap();
        session.ready().await.unwrap();
        let error = tokio::time::timeout(LIMIT, session.read()).await.expect("in time").unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn s23_another_machine_behind_the_address_hears_neither_login_nor_certificate() {
    let (node, other) = (Sshd::start(None), Sshd::with(free_address(), "LogLevel VERBOSE\n"));
    let error = login(Endpoint { address: other.address, ..node.endpoint() }).await.unwrap_err();
    assert_eq!(error.code().as_str(), "ssh-host-key-changed", "{error}");
    assert!(error.to_string().contains(&fingerprint(&other.host_key("host"))), "{error}");
    let log = fs::read_to_string(other.dir.path().join("log")).unwrap();
    assert!(log.contains("Connection from"), "{log}");
    assert!(!log.contains("root"), "not even the user's name was sent: {log}");
}

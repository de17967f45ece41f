//! Nodes that serve HTTP/3.

use std::fs;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::lab::nginx::NginxCommand;
use super::lab::printed::exits;
use super::lab::process::wait_until;
use super::lab::{Lab, SERVICE};
use super::{lab, port, served};

/// The node's server is Caddy (quic-go), which serves the files that certd delivers over TCP and QUIC at one port. That it
/// offers HTTP/3 is not configured.
fn caddy(lab: &Lab) {
    let node = &lab.nodes[0];
    let folder = node.folder.join("caddy");
    fs::create_dir_all(&folder).unwrap();
    let (ip, port) = (node.ssh.ip(), port(&node.ssh.ip().to_string()));
    let (chain, key) = (node.fullchain(SERVICE), node.key(SERVICE));
    let text = format!(
        "{{\n  admin unix/{admin}\n  auto_https disable_redirects\n  skip_install_trust\n}}\n\
         https://{SERVICE}:{port} {{\n  bind {ip}\n  tls {chain} {key}\n  respond \"here\"\n}}\n",
        admin = folder.join("admin").display(),
        chain = chain.display(),
        key = key.display(),
    );
    fs::write(folder.join("Caddyfile"), text).unwrap();
    fs::write(folder.join("start"), start(&folder.display().to_string())).unwrap();
    let mut command = Command::new("sh");
    command.arg(folder.join("start")).stdout(Stdio::null()).stderr(Stdio::null());
    drop(lab.spawn(command).wait());
    let at = SocketAddr::new(ip, port);
    assert!(wait_until(|| TcpStream::connect(at).is_ok()), "Caddy does not start");
    lab.write_config("");
    lab.replace_line("probe = ", &format!("probe = {{ port = {port} }}"));
}

/// Ends the Caddy that runs, and starts one with what the files hold now.
fn start(folder: &str) -> String {
    format!(
        "cd '{folder}'\n[ -e pid ] && kill \"$(cat pid)\" && while kill -0 \"$(cat pid)\" 2>/dev/null; do sleep 0.02; done\n\
         export HOME='{folder}' XDG_DATA_HOME='{folder}' XDG_CONFIG_HOME='{folder}'\n\
         caddy start --config Caddyfile --pidfile pid </dev/null >caddy.log 2>&1\n"
    )
}

#[test]
fn a_node_that_serves_http_3_is_proven_over_tcp_and_quic() {
    let lab = lab("", "");
    caddy(&lab);
    let node = &lab.nodes[0];
    let script = node.folder.join("caddy/start").display().to_string();
    node.replace_command(NginxCommand::Reload, Some(&format!("sh '{script}'\n")));
    let text = exits(&lab.certd(&["renew"]), 0);
    assert!(text.contains("over QUIC"), "{text}");
    let served = served(&lab);
    let over: Vec<&str> = served.iter().map(|served| served["over"].as_str().unwrap()).collect();
    assert_eq!(over, ["tcp", "quic"], "{served:?}");
    assert!(served.iter().all(|served| served["verdict"] == "ok"), "{served:?}");
    assert_eq!(served[0]["fingerprint"], served[1]["fingerprint"]);
    let handshakes = &served[1]["handshakes"];
    assert_eq!((&handshakes["asked"], &handshakes["answered"]), (&5.into(), &5.into()), "{served:?}");
    lab.replace_line("probe = ", &format!("probe = {{ port = {}, quic = false }}", port_of(&served[0])));
    assert_eq!(super::served(&lab).len(), 1, "a configuration that says no is obeyed");
}

fn port_of(served: &serde_json::Value) -> u16 {
    served["address"].as_str().unwrap().parse::<SocketAddr>().unwrap().port()
}

/// Caddy 2.6 puts new files into service at `caddy reload --force` over TCP alone.
#[test]
fn n09_a_caddy_that_keeps_the_old_certificate_over_quic_is_found_without_a_setting_and_is_to_be_restarted() {
    let lab = lab("", "");
    caddy(&lab);
    let node = &lab.nodes[0];
    let folder = node.folder.join("caddy").display().to_string();
    let reload = format!("cd '{folder}' && HOME='{folder}' caddy reload --force --config Caddyfile </dev/null\n");
    node.replace_command(NginxCommand::Reload, Some(&reload));
    let text = exits(&lab.certd(&["renew"]), 6);
    assert!(text.contains("over QUIC still serves") && text.contains("next: restart the server"), "{text}");
    let reloads = node.calls(NginxCommand::Reload);
    let text = exits(&lab.certd(&["renew"]), 6);
    assert!(text.contains("next: restart the server") && !text.contains("certd deploy"), "{text}");
    assert_eq!(node.calls(NginxCommand::Reload), reloads, "no reload would help");
    let text = exits(&lab.certd(&["check"]), 6);
    assert!(text.contains("next: restart the server") && !text.contains("certd deploy"), "{text}");
    let mut restart = Command::new("sh");
    restart.arg(node.folder.join("caddy/start")).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(lab.spawn(restart).wait().unwrap().success());
    let text = exits(&lab.certd(&["check"]), 0);
    assert!(text.contains("over QUIC"), "{text}");
}

/// A QUIC server that knows nothing of the node's reload, at the node's own address and port.
struct Apart(#[allow(dead_code, reason = "it ends with the test")] tokio::runtime::Runtime);

impl Apart {
    fn start(at: SocketAddr, chain: &str, key: &str) -> Self {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls13 = &[&rustls::version::TLS13];
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(tls13);
        let mut tls = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let socket = UdpSocket::bind(at).unwrap();
        let _inside = runtime.enter();
        let (settings, tokio) = (quinn::EndpointConfig::default(), Arc::new(quinn::TokioRuntime));
        let endpoint = quinn::Endpoint::new(settings, Some(config), socket, tokio).unwrap();
        runtime.spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        connection.closed().await;
                    }
                });
            }
        });
        drop(_inside);
        Self(runtime)
    }
}

#[test]
fn n09_a_certificate_that_is_old_over_quic_alone_is_told_and_what_tcp_serves_is_kept() {
    let lab = lab("", "");
    let node = &lab.nodes[0];
    let (old, key) = (node.fullchain(SERVICE), node.key(SERVICE));
    let (old, key) = (fs::read_to_string(old).unwrap(), fs::read_to_string(key).unwrap());
    let _apart = Apart::start(node.tls, &old, &key);
    lab.write_config("");
    lab.replace_line("probe = ", &format!("probe = {{ port = {}, quic = true }}", node.tls.port()));
    let before = node.pair(SERVICE);
    let text = exits(&lab.certd(&["renew"]), 6);
    assert!(text.contains(&format!("{} over QUIC still serves", node.tls)), "{text}");
    assert_ne!(node.pair(SERVICE), before, "the node did not go back");
    assert_eq!(node.settled(SERVICE), node.pair(SERVICE), "over TCP it is served");
    let served = served(&lab);
    let verdict = |over: &str| served.iter().find(|served| served["over"] == over).unwrap()["verdict"].clone();
    assert_eq!((verdict("tcp"), verdict("quic")), ("ok".into(), "unmanaged".into()), "{served:?}");
    exits(&lab.certd(&["check"]), 6);
}

#[test]
fn a_node_that_does_not_answer_over_udp_is_told_as_such_and_keeps_what_it_was_given() {
    let lab = lab("", "");
    let node = &lab.nodes[0];
    lab.write_config("");
    lab.replace_line("probe = ", &format!("probe = {{ port = {}, quic = true }}", node.tls.port()));
    let before = node.pair(SERVICE);
    let text = exits(&lab.certd(&["renew"]), 3);
    assert!(text.contains("no answer over UDP"), "{text}");
    assert_ne!(node.pair(SERVICE), before, "the node did not go back");
    let text = exits(&lab.certd(&["check"]), 3);
    assert!(text.contains("no-quic") && text.contains("is UDP open to this machine"), "{text}");
    let reloads = node.calls(NginxCommand::Reload);
    exits(&lab.certd(&["renew"]), 3);
    assert_eq!(node.calls(NginxCommand::Reload), reloads, "no reload would make UDP answer");
}

//! `certd init` against real name servers, sshd and nginx: what it writes is what `certd renew` succeeds with.

use crate::lab;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Output, Stdio};

use lab::node::NodeOptions;
use lab::printed::exits;
use lab::process::is_root;
use lab::{Lab, Options, SERVICE};

const SSH: u16 = 2222;
const TLS: u16 = 8443;

/// Nodes whose ports are alike, and whose logins find the node's own nginx first.
fn lab(count: usize) -> Lab {
    let options = |number| NodeOptions { ports: Some([SSH, TLS]), ..NodeOptions::new(&format!("n{number}")) };
    let mut lab = Lab::start(Options { nodes: (1..=count).map(options).collect(), ..Options::default() });
    for node in &mut lab.nodes {
        let path = node.folder.join("sshd_config");
        let text = fs::read_to_string(&path).unwrap();
        let search = format!("SHLVL=2 PATH={}/sbin:/usr/bin:/bin", node.folder.display());
        fs::write(path, text.replace("SHLVL=2", &search)).unwrap();
        node.start_sshd();
    }
    lab
}

/// What the lab has otherwise than the world.
fn settings(lab: &Lab) -> Vec<String> {
    let file = |name: &str| lab.folder.join(name).display().to_string();
    let mut settings = vec![
        format!("state_dir={}", lab.state_dir().display()),
        format!("acme.ca_file={}", file("api-root.pem")),
        format!("acme.issuer_root_file={}", file("issuer-roots.pem")),
        format!("dns.api_base={}", lab.cloudflare.base()),
        format!("dns.resolvers=[\"{}\"]", lab.dns.at),
        format!("ssh.port={SSH}"),
        format!("probe.port={TLS}"),
    ];
    if !lab.dns.is_standard_port() {
        settings.push(format!("dns.nameservers=[\"{}\"]", lab.dns.at));
    }
    settings
}

fn init(lab: &Lab, more: &[&str]) -> Command {
    let mut command = lab.command(&["init", "--token-file", "certd.token"]);
    command.current_dir(&lab.folder).args(["--directory", &lab.proxy.directory(), "--contact", "ops@example.test"]);
    for setting in settings(lab) {
        command.args(["--set", &setting]);
    }
    command.args(more);
    command
}

fn with_stdin(mut command: Command, text: &str) -> Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn both(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

#[test]
fn by_options_three_nodes_of_dns_become_a_configuration_that_renews() {
    if !is_root() {
        return;
    }
    let lab = lab(3);
    let options = ["--name", SERVICE, "--token-stdin", "--accept-host-keys", "--yes"];
    let output = with_stdin(init(&lab, &options), &format!("{}\n", lab.token));
    let printed = both(&output);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(!printed.contains(&lab.token), "{printed}");
    let token = lab.folder.join("certd.token");
    assert_eq!(fs::metadata(&token).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(lab.config_path()).unwrap().mode() & 0o777, 0o644);
    assert!(lab.cloudflare.records().is_empty(), "the record of the trial is gone");
    let text = fs::read_to_string(lab.config_path()).unwrap();
    for node in &lab.nodes {
        assert!(text.contains(&node.host_key()), "{text}");
        assert!(text.contains(&format!("{}/conf/ssl/{{name}}/fullchain.pem", node.folder.display())), "{text}");
    }
    let renewed = lab.certd(&["renew"]);
    exits(&renewed, 0);
    assert!(both(&renewed).contains("3 of 3 serve the right certificate"), "{}", both(&renewed));
    // Again: nothing is new, and nothing is overwritten.
    let again = lab.certd(&["init", "--yes"]);
    exits(&again, 0);
    assert!(both(&again).contains("nothing to add"), "{}", both(&again));
    assert_eq!(fs::read_to_string(lab.config_path()).unwrap(), text);
}

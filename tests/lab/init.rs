//! `certd init` against real name servers, sshd and nginx: what it writes is what `certd renew` succeeds with.

use crate::lab;

use std::fs;
use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

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

/// certd on a terminal of its own, by script(1). What is typed waits for its prompt.
struct Typist {
    child: Child,
    shown: Receiver<u8>,
    text: String,
}

impl Typist {
    fn new(lab: &Lab, command: &Command, then: &str) -> Self {
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        let mut script = Command::new("script");
        script.args(["-qec", &format!("trap : INT; {}; code=$?; {then} exit $code", words.join(" ")), "/dev/null"]);
        script
            .current_dir(&lab.folder)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("SHELL", "/bin/sh");
        let child = script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, shown) = channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).bytes().map_while(Result::ok).all(|byte| sender.send(byte).is_ok())
        });
        Self { child, shown, text: String::new() }
    }

    #[track_caller]
    fn answer(&mut self, prompt: &str, answer: &str) {
        let start = self.text.len();
        while !self.text[start..].contains(prompt) {
            let byte = self.shown.recv_timeout(Duration::from_secs(60));
            let byte = byte.unwrap_or_else(|_| panic!("{prompt:?} was never asked:\n{}", self.text));
            // Bytes of one character are shown one by one; none is in a prompt that a test waits for.
            self.text.push(char::from(byte));
        }
        let mut stdin = self.child.stdin.as_ref().unwrap();
        stdin.write_all(answer.as_bytes()).unwrap();
    }

    /// All that was shown, and the exit code.
    fn end(mut self) -> (String, Option<i32>) {
        loop {
            match self.shown.recv_timeout(Duration::from_secs(60)) {
                Ok(byte) => self.text.push(char::from(byte)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it goes on:\n{}", self.text),
            }
        }
        drop(self.child.stdin.take());
        (self.text, self.child.wait().unwrap().code())
    }
}

#[test]
fn on_a_terminal_questions_lead_to_it_and_a_further_node_joins_it_later() {
    if !is_root() {
        return;
    }
    let lab = lab(3);
    let wrong = format!("{}-wrong", lab.token);
    let mut command = Command::new(env!("CARGO_BIN_EXE_certd"));
    command.args(init(&lab, &[]).get_args());
    let mut typist = Typist::new(&lab, &command, "");
    typist.answer("Names of the certificate", &format!("{SERVICE}\r"));
    typist.answer("API token", &format!("{wrong}\r"));
    typist.answer("API token", &format!("{}\r", lab.token));
    typist.answer("Do all of them agree?", "y");
    typist.answer("Names of 127.", "shanghai, guangzhou, -\r");
    typist.answer("Write this to", "y");
    let (shown, code) = typist.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains(&lab.token), "the token was echoed: {shown}");
    assert!(shown.contains("a TXT record was made and removed in the zone example.test"), "{shown}");
    let text = fs::read_to_string(lab.config_path()).unwrap();
    assert!(text.contains("name     = \"guangzhou\"") && !text.contains(&lab.nodes[2].host_key()), "{text}");

    // A comment of somebody's, and a third address in DNS.
    let noted = text.replace("[[certificate]]", "# ours\n[[certificate]]  # the one");
    fs::write(lab.config_path(), &noted).unwrap();
    let unseen = lab.certd(&["init", "--yes"]);
    exits(&unseen, 2);
    assert!(both(&unseen).contains("--accept-host-keys"), "{}", both(&unseen));
    assert_eq!(fs::read_to_string(lab.config_path()).unwrap(), noted);
    let added = lab.certd(&["init", "--yes", "--accept-host-keys"]);
    exits(&added, 0);
    let after = fs::read_to_string(lab.config_path()).unwrap();
    assert!(after.starts_with(&noted), "{after}");
    assert!(
        after.contains(&lab.nodes[2].host_key()) && after.contains(&lab.nodes[2].folder.display().to_string()),
        "{after}"
    );
    let renewed = lab.certd(&["renew"]);
    exits(&renewed, 0);
    assert!(both(&renewed).contains("3 of 3 serve the right certificate"), "{}", both(&renewed));
}

#[test]
fn ctrl_c_at_any_question_leaves_nothing_and_the_terminal_as_it_was() {
    let lab = lab(1);
    let before = names(&lab);
    let (node, key) = (format!("n1=root@{}", lab.ip(0)), lab.folder.join("id_ed25519").display().to_string());
    let from = ["--identity", &key, "--from-acme.sh", &node];
    for (options, last, answers) in [
        (&[][..], "Names of the certificate", &[][..]),
        (&[], "API token", &[("Names of the certificate", SERVICE)]),
        (&[], "Do all of them agree?", &[("Names of the certificate", SERVICE), ("API token", &lab.token)]),
        (&from, "Do all of them agree?", &[]),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_certd"));
        command.args(init(&lab, options).get_args());
        let mut typist = Typist::new(&lab, &command, "stty -a;");
        for (prompt, answer) in answers {
            typist.answer(prompt, &format!("{answer}\r"));
        }
        typist.answer(last, "\x03");
        let (shown, code) = typist.end();
        assert_eq!(code, Some(2), "{last}: {shown}");
        assert!(shown.contains("interrupted: nothing was written"), "{last}: {shown}");
        assert!(shown.contains(" echo ") && shown.contains(" icanon "), "{last}: {shown}");
        assert_eq!(names(&lab), before, "{last}");
    }
    assert!(lab.cloudflare.records().is_empty());
}

/// Of the files where certd would write.
fn names(lab: &Lab) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(&lab.folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

//! The receiver's key in the hands of somebody else: it delivers a certificate, and nothing else.

use std::fs;
use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};

use super::bench::{Account, Talk, is_root, printed, ready, ssh, tree, unchanged};
use super::lab::printed::exits;
use super::lab::process::{output, wait_until};
use super::lab::{Lab, SERVICE};

pub(crate) const NONCE: &str = "0123456789abcdef";

/// What is sent for one certificate, to be changed line by line.
pub(crate) struct Opening {
    program: String,
    lines: Vec<String>,
}

fn hex(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Opening {
    /// What is on the node already, so that even a commit of it changes nothing.
    fn of(lab: &Lab, account: &Account) -> Self {
        let node = &lab.nodes[0];
        let current = node.fullchain(SERVICE).with_file_name(".certd").join(SERVICE).join("current");
        let generation = fs::read_link(current).unwrap().display().to_string();
        let (chain, key) =
            (fs::read_to_string(node.fullchain(SERVICE)).unwrap(), fs::read_to_string(node.key(SERVICE)).unwrap());
        Self::with_pair(account, &generation, &chain, &key)
    }

    /// Any pair, in the words that the node's parameters want.
    pub(crate) fn with_pair(account: &Account, generation: &str, chain: &str, key: &str) -> Self {
        let parameters = fs::read_to_string(account.parameters().join(format!("{SERVICE}.conf"))).unwrap();
        let mut lines = vec![format!("nonce {NONCE}"), "certd 3".into(), format!("name {SERVICE}")];
        lines.push(format!("generation {generation}"));
        // Who it is for, and whose roots count, is the node's alone.
        let sent = |line: &&str| !["#", "names ", "trust "].iter().any(|word| line.starts_with(word));
        lines.extend(parameters.lines().filter(sent).map(str::to_owned));
        lines.extend([format!("chain-pem {}", hex(chain)), format!("{chain}."), format!("key-pem {}", hex(key))]);
        lines.extend([format!("{key}."), "end".into()]);
        Self { program: "certd=3\nEND\n".into(), lines }
    }

    pub(crate) fn text(&self) -> String {
        format!("{}{}\n", self.program, self.lines.join("\n"))
    }

    /// With another line in the place of the first that begins so.
    pub(crate) fn with(&self, key: &str, line: &str) -> String {
        let mut lines = self.lines.clone();
        let at = lines.iter().position(|line| line.starts_with(key)).unwrap_or_else(|| panic!("no line {key}"));
        lines[at] = line.to_owned();
        Self { program: self.program.clone(), lines }.text()
    }

    fn without(&self, key: &str) -> String {
        self.with(key, "\0").replace("\0\n", "")
    }

    /// The other dialogue, with these lines after the parameters.
    fn look(&self, more: &str) -> String {
        let keep = |line: &&String| {
            !["generation ", "reload ", "chain-pem", "key-pem", "-----", "end"].iter().any(|key| line.starts_with(key))
        };
        let mut lines: Vec<String> = self.lines.iter().filter(keep).cloned().collect();
        lines.insert(2, "look yes".into());
        lines.extend([format!("{more}end")]);
        Self { program: self.program.clone(), lines }.text()
    }

    /// With lines before the first that begins so.
    fn before(&self, key: &str, more: &str) -> String {
        let line = self.lines.iter().find(|line| line.starts_with(key)).unwrap();
        self.with(key, &format!("{more}\n{line}"))
    }
}

#[test]
fn a_stolen_key_delivers_a_certificate_and_nothing_else() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = ready(&account);
    exits(&lab.certd(&["renew"]), 0);
    let node = &lab.nodes[0];
    let ssl = node.folder.join("conf/ssl");
    // The program outlives the word that it has done well by as long as it takes to clean up.
    let own = node.fullchain(SERVICE).with_file_name(".certd").join(SERVICE);
    let names = || fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(wait_until(|| !names().any(|name| name.starts_with(".new-"))));
    let (before, served) = (tree(&ssl), node.settled(SERVICE));
    let mine = [account.parameters(), account.home(), account.program().parent().unwrap().to_owned()];
    let mine_before: Vec<_> = mine.iter().map(|folder| tree(folder)).collect();
    // What must not come to be, and what must not come out.
    let marker = lab.folder.join("pwned").display().to_string();
    let secret_file = lab.folder.join("secret").display().to_string();
    fs::write(&secret_file, "certd-lab-secret\n").unwrap();
    let key = fs::read_to_string(node.key(SERVICE)).unwrap();
    let good = Opening::of(&lab, &account);
    let touch = format!("touch {marker}; cat {secret_file} /etc/shadow");
    let run = format!("$({touch})");
    let mut tried = 0;
    let mut try_it = |what: &str, text: String, must: &str| {
        tried += 1;
        assert!(!std::path::Path::new(&marker).exists(), "{what}: something was run");
        assert!(!text.contains("certd-lab-secret") && !text.contains("root:"), "{what}: {text}");
        assert!(!text.contains(key.lines().nth(1).unwrap()), "{what}: {text}");
        assert!(text.contains(must), "{what}: no {must:?} in {text}");
        assert!(!text.contains(" prepared ") && !text.contains(" committed "), "{what}: {text}");
        unchanged(&before, &ssl, what);
    };
    let client =
        |options: &[&str], words: &[&str], stdin: &str| printed(ssh(&lab, &account, options, words), stdin.as_bytes());

    // --- what sshd would give to an ordinary key ---
    let shell = format!("{touch}\nexit\n");
    try_it("a shell", client(&["-T"], &[], &shell), "");
    try_it("a terminal", client(&["-tt"], &[], &shell), "PTY allocation request failed");
    try_it("a command", client(&[], &[&touch], ""), "");
    try_it("a command after a quote", client(&[], &[&format!("'; {touch}; '")], ""), "");
    try_it("a command in a substitution", client(&[], &[&run], ""), "");
    try_it("a command on a second line", client(&[], &[&format!("x\n{touch}\n")], ""), "");
    try_it("sftp", client(&["-s"], &["sftp"], "\0\0\0\x05\x01\0\0\0\x03"), "");
    try_it("scp", client(&[], &["scp", "-t", &marker], "C0644 6 pwned\npwned\n\0"), "");
    let copied = {
        let mut command = Command::new("timeout");
        command.args([
            "30",
            "scp",
            "-s",
            "-F",
            "/dev/null",
            "-o",
            "BatchMode=yes",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]);
        command.args(["-o", "StrictHostKeyChecking=no", "-P", &node.ssh.port().to_string(), "-i"]);
        command.arg(lab.folder.join("id_ed25519")).arg(&secret_file);
        command.arg(format!("{}@{}:{marker}", account.0, node.ssh.ip()));
        printed(command, b"")
    };
    try_it("scp over sftp", copied, "");
    for to in [node.tls.to_string(), node.ssh.to_string(), "127.0.0.1:22".into(), "192.0.2.1:443".into()] {
        try_it(&format!("a connection to {to}"), client(&["-W", &to], &[], ""), "administratively prohibited");
    }
    for remote in ["127.0.0.1:0:127.0.0.1:22", "0.0.0.0:0:127.0.0.1:22", &format!("{marker}:127.0.0.1:22")] {
        let text = client(&["-N", "-o", "ExitOnForwardFailure=yes", "-R", remote], &[], "");
        try_it(&format!("listening at {remote}"), text, "remote port forwarding failed");
    }
    let display = |mut command: Command| {
        command.env("DISPLAY", "127.0.0.1:7");
        command
    };
    let x11 = printed(display(ssh(&lab, &account, &["-v", "-X", "-o", "XAuthLocation=/bin/true"], &[&touch])), b"");
    try_it("X11", x11.lines().filter(|line| !line.starts_with("debug")).collect(), "");
    for variable in [
        "LD_PRELOAD=/x.so",
        "PATH=/tmp",
        "IFS=/",
        "nonce=x",
        &format!("BASH_ENV=\"{run}\""),
        &format!("ENV=\"{run}\""),
        &format!("LC_ALL=\"{run}\""),
    ] {
        let text = client(&["-o", &format!("SetEnv={variable}")], &["x"], &good.with("nonce", "nonce zz"));
        try_it(variable, text, "refused");
    }

    // --- the dialogue ---
    let talk = |text: &str| client(&["-T"], &["certd"], text);
    let refused = |what: &str, text: String| (what.to_owned(), text);
    let name = good.lines[2].clone();
    let chain_line = good.lines.iter().find(|line| line.starts_with("fullchain ")).unwrap().clone();
    let long = "x".repeat(90_000);
    let attempts = [
        refused("a name of nothing", good.with("name ", "name ")),
        refused("another certificate", good.with("name ", "name other.example")),
        refused("a name that is a path", good.with("name ", "name ../../etc/passwd")),
        refused("a name that leads back", good.with("name ", &format!("name x/../{SERVICE}"))),
        refused("a name that is a command", good.with("name ", &format!("name {run}"))),
        refused("a name with a space", good.with("name ", &format!("name {SERVICE} x"))),
        refused("a name twice", good.with("end", &format!("{name}\nend"))),
        refused("a generation that is a path", good.with("generation ", "generation ../../../etc")),
        refused("a generation that leads out", good.with("generation ", "generation 20261123061500-0a/../../x")),
        refused("a generation that is a command", good.with("generation ", &format!("generation 1-{run}"))),
        refused("a generation of twenty digits", good.with("generation ", "generation 99999999999999999999-0a")),
        refused("no generation", good.without("generation ")),
        refused("another path", good.with("fullchain ", &format!("fullchain {marker}"))),
        refused(
            "a path with dots",
            good.with("fullchain ", &chain_line.replace("/fullchain.pem", "/../x/fullchain.pem")),
        ),
        refused("a path that is a command", good.with("key ", &format!("key {run}"))),
        refused("a path twice", good.before("fullchain ", &chain_line)),
        refused("another test", good.with("test ", "test /bin/true")),
        refused("a test of the attacker's", good.with("test ", &format!("test /bin/sh\ntest -c\ntest {touch}"))),
        refused("a second reload", good.before("chain-pem ", &format!("reload ;\nreload {touch}"))),
        refused("half of the reload", good.without("reload ")),
        refused(
            "no reload",
            good.text().lines().filter(|line| !line.starts_with("reload ")).map(|line| format!("{line}\n")).collect(),
        ),
        refused("a digest that is a command", good.with("chain-pem ", &format!("chain-pem {run}"))),
        refused("a digest that is too short", good.with("key-pem ", "key-pem 00")),
        refused("a digest of something else", good.with("key-pem ", &format!("key-pem {}", "0".repeat(64)))),
        refused("a chain twice", good.before("key-pem ", &format!("chain-pem {}\nx\n.", "0".repeat(64)))),
        refused("a chain that does not fit", good.before("key-pem ", &format!("{long}\n{long}\n."))),
        refused("an older one, by word", good.with("generation ", &format!("{}\nolder yes", good.lines[3]))),
        refused("an older one, in silence", {
            let other = good.with("generation ", "generation 20200101000000-0a");
            other
                .replacen("\n-----BEGIN", "\n\n-----BEGIN", 1)
                .replace(&good.lines.iter().find(|l| l.starts_with("chain-pem")).unwrap()[..], "chain-pem 00")
        }),
        refused("a variable of the program's", good.before("end", &format!("permit_asked=x; {touch}"))),
        refused("a line before any name", good.before("name ", &chain_line)),
        refused("a word after the end of the head", good.text().replacen("END\n", &format!("END\n{touch}\n"), 1)),
        refused("two ends of the head", good.text().replacen("END\n", "END\nEND\n", 1)),
        refused("a nonce that is a path", good.with("nonce ", "nonce ../../x")),
        refused("a nonce that is a command", good.with("nonce ", &format!("nonce {run}"))),
        refused("a second nonce", good.before("certd ", "nonce 00")),
        refused("another version", good.with("certd ", "certd 4")),
        refused("a version that is a command", good.with("certd ", &format!("certd {run}"))),
        refused("a look with something to reload", good.look("reload /bin/true\n")),
        refused("a look for another file", good.look("").replace(&chain_line, &format!("fullchain {secret_file}"))),
        refused("a look at another certificate", good.look("").replace(&name, "name other.example")),
        refused("a look in the middle", good.before("generation ", "look yes")),
        refused("a look with many digests", good.look(&format!("sum {}\n", "0".repeat(64)).repeat(9))),
        refused("no certificate", format!("END\nnonce {NONCE}\ncertd 3\nend\ncommit\n")),
        refused("a commit before anything", format!("END\nnonce {NONCE}\ncertd 3\ncommit\n")),
    ];
    for (what, text) in attempts {
        let text = talk(&text);
        try_it(&what, text, " refused ");
    }
    try_it("another program", talk(&format!("{touch}\n{}", good.text().replacen("END\n", "", 1))), "");
    try_it("a program without an end", talk(&"x\n".repeat(60_000)), "more than 64 kB");
    try_it("a line without an end", talk(&"x".repeat(3_000_000)), "");
    try_it("noise", talk(&"\u{1}\u{0}\u{1b}[2J\r\n".repeat(9_000)), "");
    assert!(tried > 60, "{tried}");
    assert!(node.calls(super::lab::nginx::NginxCommand::Reload) <= 2, "nothing was reloaded for it");

    // --- what is the account's by itself ---
    let as_account = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &account.0, "--regid", &account.0, "--init-groups"]).args(words);
        command.output().unwrap().status.success()
    };
    let keys = account.home().join(".ssh/authorized_keys");
    let mut paths = vec![account.program(), account.rule(), keys, node.key(SERVICE)];
    paths.extend(mine.iter().cloned());
    for path in paths {
        assert!(!as_account(&["test", "-w", &path.display().to_string()]), "{}", path.display());
    }
    assert!(!as_account(&["cat", &node.key(SERVICE).display().to_string()]));
    let program = account.program().display().to_string();
    for words in [&["/bin/sh"][..], &["-u", "#-1", "id"], &[&program, "x"], &["-e", "/etc/shadow"]] {
        assert!(!as_account(&[&["sudo", "-n"], words].concat()), "{words:?}");
    }

    // --- who may deliver may look ---
    let seen = printed(
        ssh(&lab, &account, &["-T"], &["certd"]),
        good.look(&format!("sum {0}\nsum {0}\n", "0".repeat(64))).as_bytes(),
    );
    assert!(seen.contains(&format!("certd-node {NONCE} seen ")) && !seen.contains("certd-lab-secret"), "{seen}");
    unchanged(&before, &ssl, "a look");

    // --- nobody is kept out ---
    let mut held: Vec<Talk> =
        (0..6).map(|_| Talk::start(ssh(&lab, &account, &["-T"], &["certd"]), &good.text())).collect();
    for talk in &mut held {
        assert!(talk.answer().starts_with(&format!("certd-node {NONCE} prepared ")));
    }
    // A storm of reloads is one after the other, and each is of what is there.
    for talk in &mut held[..4] {
        talk.say("commit\n");
    }
    for talk in &mut held[..4] {
        assert!(talk.answer().starts_with(&format!("certd-node {NONCE} committed ")));
    }
    drop(held.split_off(3));
    exits(&lab.certd(&["renew", "--force"]), 0);
    drop(held);
    assert_ne!(node.settled(SERVICE), served);
    assert_eq!(node.settled(SERVICE), node.pair(SERVICE));
    // What is left of a session that was cut is its own folder, and the next one sweeps it out.
    assert!(wait_until(|| tree(&ssl).iter().all(|line| !line.contains("/.new-"))), "{:#?}", tree(&ssl));
    // What is older than what is there is refused, from any sender.
    let stale = printed(ssh(&lab, &account, &["-T"], &["certd"]), good.text().as_bytes());
    assert!(stale.contains("newer "), "{stale}");
    assert_eq!(mine.iter().map(|folder| tree(folder)).collect::<Vec<_>>(), mine_before);
    let _ = output(Command::new("visudo").arg("-c"));
}

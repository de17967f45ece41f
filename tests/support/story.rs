//! From acme.sh on three nodes to "3 of 3 serve the right certificate", by the commands of `docs/migrate.md` and nothing else,
//! while somebody shakes hands with each node ten times a second. `tests/lab`: homes as acme.sh writes them; `tests/soak`:
//! homes that acme.sh itself made, and acme.sh run once more when all is done.
//!
//! Each node's sessions see a machine of its own: root's home, cron's tables and /var.

#![allow(clippy::print_stdout, reason = "`make soak` shows its figures")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::homes::{AcmeSh, issue};
use super::node::NodeOptions;
use super::pebble::PebbleOptions;
use super::printed::{exits, stdout};
use super::process::output;
use super::rotations::load::Load;
use super::{Lab, Options, SERVICE};

const NAMES: [&str; 3] = ["cn2-shanghai", "cn2-guangzhou", "cn2-shenzhen"];
const PORTS: [u16; 2] = [2222, 8443];
/// Of what acme.sh has.
pub const TOKEN_FILE: &str = "imported.token";
/// As acme.sh writes it.
const CRON: &str = "9 0 * * * \"/root/.acme.sh\"/acme.sh --cron --home \"/root/.acme.sh\" > /dev/null\n";
/// Between two handshakes with one node.
const PAUSE: Duration = Duration::from_millis(100);

/// Who made the homes.
pub enum Homes<'a> {
    Written,
    /// acme.sh's folder as Debian has it, of each node.
    Real([&'a Path; 3]),
}

/// The nodes and their homes, and what was typed.
pub struct Story {
    pub lab: Lab,
    machines: tempfile::TempDir,
    /// What was typed, and what came of it on stdout.
    pub commands: Vec<(String, String)>,
    begun: Instant,
    orders: usize,
}

/// What a node showed: fingerprints, in the order of their first showing, and how often.
type Seen = Vec<(String, usize)>;

/// Up to the end of the third command; `afterwards` is the rest.
pub fn play(homes: &Homes<'_>) -> Story {
    let mut story = Story::new(homes);
    let own: Vec<String> = story.lab.nodes.iter().map(|node| node.settled(SERVICE).unwrap().fingerprint).collect();
    let orders = story.lab.proxy.script.count("new-order");
    let loads: Vec<Load> = story.lab.nodes.iter().map(|node| Load::of(node.tls)).collect();
    let over = AtomicBool::new(false);
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let _over = Over(&over);
        let watches: Vec<_> = loads.iter().map(|load| scope.spawn(|| watch(load, &over))).collect();
        story.three_commands();
        over.store(true, Ordering::SeqCst);
        watches.into_iter().map(|watch| watch.join().expect("no handshake fails")).collect()
    });
    let took = story.begun.elapsed();
    assert_eq!(story.lab.proxy.script.count("new-order"), orders, "nothing was ordered");
    let shared = story.lab.nodes[0].settled(SERVICE).unwrap().fingerprint;
    assert!(own.contains(&shared), "one of those that acme.sh had ordered");
    for (own, seen) in own.iter().zip(&seen) {
        let shown: Vec<&String> = seen.iter().map(|(fingerprint, _)| fingerprint).collect();
        let expected = if *own == shared { vec![own] } else { vec![own, &shared] };
        assert_eq!(shown, expected, "its own, and then the shared one");
    }
    let commands: Vec<&str> = story.commands.iter().map(|(command, _)| command.as_str()).collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    let handshakes: usize = seen.iter().flatten().map(|(_, count)| count).sum();
    let (took, commands) = (took.as_secs_f64(), commands.join("\n"));
    println!("3 commands, no edit, {took:.1} s; {handshakes} handshakes, none failed:\n{commands}");
    story.orders = orders;
    story
}

/// Ends all watches, however this thread goes on.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn watch(load: &Load, over: &AtomicBool) -> Seen {
    let mut seen = Seen::new();
    while !over.load(Ordering::SeqCst) {
        let shown = load.visit();
        match seen.last_mut() {
            Some((last, count)) if *last == shown => *count += 1,
            // An old worker listens for a moment after the new one.
            _ => match seen.iter_mut().rev().nth(1) {
                Some((before, count)) if *before == shown => *count += 1,
                _ => seen.push((shown, 1)),
            },
        }
        std::thread::sleep(PAUSE);
    }
    seen
}

impl Story {
    #[expect(clippy::disallowed_methods, reason = "how long it takes is a part of the story")]
    fn new(homes: &Homes<'_>) -> Self {
        let machines = tempfile::tempdir().unwrap();
        fs::set_permissions(machines.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let session = |at: usize| machines.path().join(format!("{at}/session"));
        let node = |(at, name): (usize, &&str)| NodeOptions {
            sshd: format!("ForceCommand {}", session(at).display()),
            ports: Some(PORTS),
            ..NodeOptions::new(name)
        };
        let nodes = NAMES.iter().enumerate().map(node).collect();
        // The answer that is looked at is the order's.
        let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
        let lab = Lab::start(Options { nodes, pebble, ..Options::default() });
        let mut story = Self { lab, machines, commands: Vec::new(), begun: Instant::now(), orders: 0 };
        for at in 0..NAMES.len() {
            story.machine(at);
        }
        match homes {
            Homes::Written => story.written(),
            Homes::Real(programs) => story.made(programs),
        }
        let _ = fs::remove_file(story.lab.config_path());
        story.begun = Instant::now();
        story
    }

    fn machine_path(&self, at: usize, path: &str) -> PathBuf {
        self.machines.path().join(at.to_string()).join(path)
    }

    fn write(&self, at: usize, path: &str, text: &str, mode: u32) {
        let path = self.machine_path(at, path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn machine(&self, at: usize) {
        self.write(at, "var/tmp/keep", "", 0o600);
        fs::create_dir_all(self.machine_path(at, "var/lib")).unwrap();
        fs::create_dir_all(self.machine_path(at, "root")).unwrap();
        self.write(at, "etc/cron.d/backup", "7 3 * * * root /usr/bin/true\n", 0o644);
        self.write(at, "var/spool/cron/crontabs/root", &format!("5 4 * * * /usr/bin/true\n{CRON}"), 0o600);
        let binds = ["etc/cron.d", "root", "var"]
            .map(|path| format!("mount --bind {} /{path}", self.machine_path(at, path).display()))
            .join(" && ");
        let path = format!("{}/sbin:/usr/sbin:/usr/bin:/sbin:/bin", self.lab.nodes[at].folder.display());
        let script = format!(
            "#!/bin/sh\nexport HOME=/root PATH={path}\nexec unshare -m sh -c '{binds} && exec sh -c \"$SSH_ORIGINAL_COMMAND\"'\n"
        );
        self.write(at, "session", &script, 0o755);
    }

    /// A command on a node, as root there.
    fn on(&self, at: usize, command: &str) -> Output {
        let mut session = Command::new(self.machine_path(at, "session"));
        session.env("SSH_ORIGINAL_COMMAND", command).env("CF_Token", &self.lab.token).output().unwrap()
    }

    fn written(&mut self) {
        // The one in the middle lives longest.
        for (at, profile) in [(0, "shortlived"), (1, "default"), (2, "shortlived")] {
            let state = issue(&self.lab, &format!("acme-{at}"), profile);
            let mut home = AcmeSh::of(&self.lab, &state, &self.lab.nodes[at]);
            if at == 2 {
                home.reload_by("nginx -t && nginx -s reload");
            }
            home.write(&self.machine_path(at, "root/.acme.sh"));
            let certificate = state.join("certs").join(SERVICE).join("current");
            let node = &mut self.lab.nodes[at];
            for (from, to) in [("fullchain.pem", node.fullchain(SERVICE)), ("privkey.pem", node.key(SERVICE))] {
                fs::copy(certificate.join(from), to).unwrap();
            }
            node.start_nginx();
        }
        self.other_domain(1);
    }

    /// A certificate of somebody else's, which acme.sh goes on renewing.
    fn other_domain(&self, at: usize) {
        let conf = "Le_Domain='other.example.test'\nLe_Alt='no'\nLe_Webroot='dns_cf'\nLe_Keylength='ec-256'\n\
                    Le_NextRenewTime='99999999999'\n";
        self.write(at, "root/.acme.sh/other.example.test_ecc/other.example.test.conf", conf, 0o644);
    }

    /// By acme.sh itself, on the nodes at once.
    fn made(&mut self, programs: &[&Path; 3]) {
        let zone = self.lab.cloudflare.with(|account| account.zones[0].id.clone());
        let base = self.lab.cloudflare.base().trim_end_matches('/').to_owned();
        let made = |at: usize| {
            let home = self.machine_path(at, "root/.acme.sh");
            output(Command::new("cp").arg("-r").arg(programs[at]).arg(&home));
            // The hook is Debian's own, but for where the API is; and the double lists zones with other members first.
            let hook = home.join("dnsapi/dns_cf.sh");
            let text = fs::read_to_string(&hook).unwrap().replace("https://api.cloudflare.com/client/v4", &base);
            let root = format!("_get_root() {{\n  _domain_id={zone}\n  _domain=example.test\n}}\n");
            fs::write(&hook, format!("{text}\n{root}")).unwrap();
            let node = &self.lab.nodes[at];
            let server = format!(
                "--server {} --ca-bundle {}",
                self.lab.proxy.directory(),
                self.lab.folder.join("api-root.pem").display()
            );
            let acme = "sh /root/.acme.sh/acme.sh --home /root/.acme.sh";
            self.succeeds(
                at,
                &format!(
                    "{acme} --issue --dns dns_cf --dnssleep 1 -d {SERVICE} --keylength ec-256 --accountemail ops@example.test \
                     {server}"
                ),
            );
            let reload =
                if at == 2 { "nginx -t && nginx -s reload".to_owned() } else { node.reload_command().join(" ") };
            self.succeeds(
                at,
                &format!(
                    "{acme} --install-cert -d {SERVICE} --ecc --fullchain-file {} --key-file {} --reloadcmd '{reload}' {server}",
                    node.fullchain(SERVICE).display(),
                    node.key(SERVICE).display()
                ),
            );
        };
        std::thread::scope(|scope| {
            let made = &made;
            let all: Vec<_> = (0..NAMES.len()).map(|at| scope.spawn(move || made(at))).collect();
            all.into_iter().for_each(|one| one.join().unwrap());
        });
        self.other_domain(1);
    }

    #[track_caller]
    fn succeeds(&self, at: usize, command: &str) -> String {
        let output = self.on(at, command);
        let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat();
        assert!(output.status.success(), "{command}:\n{text}");
        text
    }

    /// One command of the operator's.
    fn types(&mut self, arguments: &[&str], further: &[String], code: i32) -> String {
        let mut command = self.lab.command(arguments);
        let output = command.args(further).output().unwrap();
        self.commands.push((format!("certd {}", arguments.join(" ")), stdout(&output)));
        exits(&output, code)
    }

    fn three_commands(&mut self) {
        let lab = &self.lab;
        let file = |name: &str| lab.folder.join(name).display().to_string();
        // What the lab has otherwise than the world.
        let mut settings = vec![
            format!("state_dir={}", lab.state_dir().display()),
            format!("acme.ca_file={}", file("api-root.pem")),
            format!("acme.issuer_root_file={}", file("issuer-roots.pem")),
            "acme.certificates_per_week=50".to_owned(),
            format!("dns.api_base={}", lab.cloudflare.base()),
            format!("dns.resolvers=[\"{}\"]", lab.dns.at),
            format!("ssh.port={}", PORTS[0]),
            format!("probe.port={}", PORTS[1]),
        ];
        if !lab.dns.is_standard_port() {
            settings.push(format!("dns.nameservers=[\"{}\"]", lab.dns.at));
        }
        let mut further: Vec<String> = settings.into_iter().flat_map(|text| ["--set".to_owned(), text]).collect();
        let token_file = file(TOKEN_FILE);
        further.extend(["--identity".to_owned(), file("id_ed25519"), "--accept-unknown".to_owned()]);
        further.extend(["--token-file".to_owned(), token_file.clone()]);
        let places: Vec<String> = (0..3).map(|at| format!("{}=root@{}", NAMES[at], lab.ip(at))).collect();
        let init: Vec<&str> = ["init", "--yes", "--accept-host-keys", "--from-acme.sh"]
            .into_iter()
            .chain(places.iter().map(String::as_str))
            .collect();
        let token = lab.token.clone();
        // A warning: acme.sh still renews there.
        let text = self.types(&init, &further, 3);
        assert!(!text.contains(&token) && !text.contains("PRIVATE KEY"), "{text}");
        let written =
            (fs::read_to_string(&token_file).unwrap(), fs::metadata(&token_file).unwrap().permissions().mode());
        assert_eq!((written.0.trim(), written.1 & 0o777), (token.as_str(), 0o600));
        assert!(text.contains("that one becomes the shared one"), "{text}");
        assert!(
            text.contains("next: certd node takeover cn2-shanghai cn2-guangzhou cn2-shenzhen; then certd check"),
            "{text}"
        );
        assert!(!text.contains("/usr/local/sbin/certd-reload"), "the server's own commands are known: {text}");

        let takeover: Vec<&str> = ["node", "takeover"].into_iter().chain(NAMES).chain(["--yes"]).collect();
        let text = self.types(&takeover, &[], 0);
        assert!(text.contains("delivered, reloaded and proven by handshake"), "{text}");

        let text = self.types(&["check"], &[], 0);
        assert!(text.contains("3 of 3 serve the right certificate: all is well (exit 0)"), "{text}");
    }

    /// Nobody else writes there any more, and the CA is told what the next certificate replaces.
    pub fn afterwards(&self, homes: &Homes<'_>) {
        let lab = &self.lab;
        for look in [&["check", "--deep"][..], &["doctor"]] {
            let text = exits(&lab.certd(look), 0);
            assert!(!text.contains("acme.sh"), "{look:?}: {text}");
        }
        let table = |at| fs::read_to_string(self.machine_path(at, "var/spool/cron/crontabs/root")).unwrap();
        assert!(table(0).contains(&format!("true\n#certd took this over: {CRON}")), "{}", table(0));
        assert!(table(1).ends_with(&format!("true\n{CRON}")), "its other domain goes on: {}", table(1));
        if let Homes::Real(_) = homes {
            for at in 0..NAMES.len() {
                let before = self.ours(at);
                // It would order for its other domain.
                let force = if at == 1 { "" } else { "--force" };
                let text =
                    self.succeeds(at, &format!("sh /root/.acme.sh/acme.sh --cron {force} --home /root/.acme.sh"));
                assert!(text.contains(&format!("'{SERVICE}' is not an issued domain, skipping")), "{text}");
                assert_eq!(self.ours(at), before, "{text}");
            }
            assert_eq!(lab.proxy.script.count("new-order"), self.orders, "acme.sh ordered nothing of ours");
            exits(&lab.certd(&["check", "--deep"]), 0);
        }
        // The CA itself says of the order what it replaces: it was ordered with this account.
        let (sender, receiver) = mpsc::channel();
        lab.proxy.script.rewrite("new-order", 1, move |body| {
            sender.send(body.clone()).unwrap();
            body
        });
        let text = stdout(&lab.certd(&["renew", "--force"]));
        let order = receiver.recv().expect("an order was made");
        assert!(order.contains("\"replaces\""), "{order}\n{text}");
        assert!(text.contains("3 of 3 serve the right certificate"), "{text}");
    }

    /// Links and contents at certd's paths on a node.
    fn ours(&self, at: usize) -> BTreeMap<PathBuf, (Option<PathBuf>, Vec<u8>)> {
        let node = &self.lab.nodes[at];
        let files = [node.fullchain(SERVICE), node.key(SERVICE)].into_iter();
        files.map(|path| (path.clone(), (fs::read_link(&path).ok(), fs::read(&path).unwrap()))).collect()
    }
}

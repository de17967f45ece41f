//! One lab for many kills: put back, killed, run again, looked at.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certd::cert::{CertName, Leaf};
use certd::context::clock;
use certd::model::Ari;
use certd::plan::renewal;
use certd::store::Store;
use jiff::{SignedDuration, Timestamp};

use super::tally::Cycle;
use crate::lab::node::{Node, Old};
use crate::lab::pebble::PebbleOptions;
use crate::lab::process::{output, wait_until};
use crate::lab::{Lab, Options, SERVICE};

const CHALLENGE: &str = "_acme-challenge.newapi.example.test";
/// Between two looks at a node's pair: often, and without a core to itself.
const LOOK: Duration = Duration::from_millis(3);
/// How often the lab's patience (30 s) is waited for certd's end: it gives a node 160 s, and disks can be busy.
const PATIENCES: usize = 6;
/// SIGKILL, signal(7).
const KILL: i32 = 9;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scenario {
    /// No state, and nodes with the files of an older tool.
    First,
    /// The CA's window has come, and the order replaces the certificate.
    Replaces,
    /// The same, with a state restored from a backup: the CA refuses `replaces`, since that was replaced before.
    ReplacedBefore,
}

impl Scenario {
    /// A run that was not killed says that it was in this scenario.
    fn is_told(self, text: &str) -> bool {
        let (replaces, refused) = (text.contains("make an order that replaces"), text.contains("refuses `replaces`"));
        (replaces, refused) == (self != Self::First, self == Self::ReplacedBefore)
    }
}

/// What is left on the controller's disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Disk {
    /// All that was written: the process alone ends.
    Lasts,
    /// The power goes: files hold what was synced.
    LosesData,
    /// The same, and names are those that were synced with their folder.
    LosesNames,
}

pub(crate) struct Bench {
    scenario: Scenario,
    disk: Disk,
    lab: Lab,
    shim: PathBuf,
    /// Ids of the TXT records of others at our name.
    foreign: Vec<String>,
    /// Where it was killed and what the next run printed.
    words: String,
}

impl Bench {
    pub(crate) fn start(scenario: Scenario, disk: Disk) -> Self {
        let pebble = PebbleOptions { nonce_reject: 0, retry_after: (0, 0), ..PebbleOptions::default() };
        let lab = Lab::start(Options { pebble, ..Options::nodes(2) });
        lab.write_config("");
        let shim = lab.folder.join("kill_at.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/kill_at.c");
        output(
            Command::new("gcc")
                .args(["-Wall", "-Wextra", "-O1", "-shared", "-fPIC", "-o"])
                .arg(&shim)
                .arg(source)
                .arg("-ldl"),
        );
        let foreign = vec![
            lab.cloudflare.add_txt(CHALLENGE, "somebody-elses", None),
            lab.cloudflare.add_txt(CHALLENGE, "another-controllers", Some("certd 01234567")),
        ];
        let bench = Self { scenario, disk, lab, shim, foreign, words: String::new() };
        if scenario != Scenario::First {
            bench.run_to_its_end();
        }
        if scenario == Scenario::ReplacedBefore {
            bench.come_due();
            copy(&bench.lab.state_dir(), &bench.backup("state"));
            bench.lab.nodes.iter().for_each(|node| copy(&node.folder.join("conf/ssl"), &bench.backup(&node.name)));
            bench.run_to_its_end();
        }
        bench
    }

    /// Puts the lab back, kills certd at this point, runs it again, and looks at everything.
    pub(crate) fn cycle(&mut self, at: usize) -> Cycle {
        match self.scenario {
            Scenario::First => self.begin_anew(),
            Scenario::Replaces => self.come_due(),
            Scenario::ReplacedBefore => self.restore(),
        }
        let issued = self.lab.pebble.issued();
        let over = AtomicBool::new(false);
        let cycle = std::thread::scope(|scope| {
            let watches: Vec<_> = self.lab.nodes.iter().map(|node| scope.spawn(|| no_torn_pair(node, &over))).collect();
            let until = Over(&over);
            let cycle = self.kill(at);
            let printed = cycle.is_ok().then(|| self.run(&["renew"]));
            drop(until);
            watches.into_iter().for_each(|watch| watch.join().expect("no torn pair"));
            (cycle, printed)
        });
        let (cycle, printed) = cycle;
        let cycle = cycle.unwrap_or_else(|text| panic!("{text}"));
        let (status, text) = printed.expect("it ran again");
        self.words = match &cycle {
            Cycle::Killed { kind, what } => format!("{kind}, {what}\n{text}"),
            Cycle::Survived => text,
        };
        assert_eq!(status.code(), Some(0), "{}", self.words);
        assert_eq!(self.lab.pebble.issued() - issued, 1, "{}", self.words);
        self.look();
        cycle
    }

    /// As it was before certd ever came.
    fn begin_anew(&self) {
        remove(&self.lab.state_dir());
        for node in &self.lab.nodes {
            remove(&node.folder.join("conf/ssl"));
            node.install(&self.lab.old_authority, &Old::Days(20));
            reload(node);
        }
    }

    /// As it was when the copies were made.
    fn restore(&self) {
        remove(&self.lab.state_dir());
        copy(&self.backup("state"), &self.lab.state_dir());
        for node in &self.lab.nodes {
            remove(&node.folder.join("conf/ssl"));
            copy(&self.backup(&node.name), &node.folder.join("conf/ssl"));
            reload(node);
        }
    }

    /// The CA wants what is held renewed now. The ledger and older generations are forgotten, as if weeks had passed.
    fn come_due(&self) {
        let store = Store::open(&self.lab.state_dir()).expect("the state is whole");
        let name = CertName::parse(SERVICE).expect("it is one");
        let kept = store.stored(&name).expect("the state is whole").current.expect("it was issued");
        let folder = self.lab.state_dir().join("certs").join(SERVICE);
        let generations = store.generations(&name).expect("the state is whole");
        generations.iter().filter(|old| **old != kept.generation).for_each(|old| remove(&folder.join(old.to_string())));
        let mut tried = store.state().expect("the state is whole");
        tried.ari.clear();
        store.write_state(&tried).expect("the state is whole");
        fs::remove_file(self.lab.state_dir().join("ledger.jsonl")).expect("something was issued");
        let (start, end) = window(&kept.leaf, tried.seed);
        let answer = format!(r#"{{"suggestedWindow":{{"start":"{start}","end":"{end}"}}}}"#);
        let pem = fs::read_to_string(folder.join("current/cert.pem")).expect("the state is whole");
        self.lab.pebble.set_renewal_info(&pem, &answer);
    }

    fn backup(&self, of: &str) -> PathBuf {
        self.lab.folder.join(format!("backup-{of}"))
    }

    /// Runs `renew` up to this point.
    fn kill(&self, at: usize) -> Result<Cycle, String> {
        let log = self.lab.folder.join("points");
        let _ = fs::remove_file(&log);
        let mut command = self.lab.command(&["renew"]);
        command.env("LD_PRELOAD", &self.shim).env("KILL_AT", at.to_string()).env("KILL_AT_LOG", &log);
        if self.disk != Disk::Lasts {
            command.env("KILL_AT_CUTS", self.lab.state_dir());
        }
        if self.disk == Disk::LosesNames {
            command.env("KILL_AT_NAMES", "1");
        }
        let (status, text) = self.ended(command);
        let points = fs::read_to_string(&log).unwrap_or_default();
        let point = points.lines().find_map(|line| line.strip_prefix(&format!("{at} ")));
        match (status.signal(), point) {
            (Some(KILL), Some(point)) => {
                let (kind, what) = self.name(point);
                Ok(Cycle::Killed { kind, what })
            }
            (None, None) if status.success() && !points.is_empty() && self.scenario.is_told(&text) => {
                Ok(Cycle::Survived)
            }
            _ => Err(format!("{status}, {point:?}, {text}")),
        }
    }

    /// Of a line of the log: the kind of the step, and the step without what differs in each lab and run.
    fn name(&self, point: &str) -> (String, String) {
        let mut words = point.splitn(3, ' ');
        let [when, call, object] = [(); 3].map(|()| words.next().unwrap_or_default());
        let lab = &self.lab;
        let mut peers = vec![(lab.proxy.at, "the CA"), (lab.cloudflare.at, "the API"), (lab.dns.at, "DNS")];
        peers.extend(lab.nodes.iter().flat_map(|node| [(node.ssh, "a node's sshd"), (node.tls, "a node's server")]));
        if let Some((_, peer)) = peers.iter().find(|(at, _)| at.to_string() == object) {
            return (format!("{when} {call} to {peer}"), format!("{when} {call} {peer}"));
        }
        let path = object.strip_prefix(&lab.folder.display().to_string()).unwrap_or(object);
        let generation = |part: &str| part.trim_start_matches('.').starts_with("20") && part.contains('-');
        let account = |part: &str| part.starts_with("127.");
        let parts = path.split('/').map(|part| match part {
            part if generation(part) => "<generation>",
            part if account(part) => "<ca>",
            part => part,
        });
        let path = parts.collect::<Vec<_>>().join("/");
        (format!("{when} {call} of a file"), format!("{when} {call} {path}"))
    }

    /// All is as it ought to be.
    fn look(&self) {
        let leaf = self.lab.nodes[0].pair(SERVICE).unwrap_or_else(|torn| panic!("{torn}"));
        let kept = self.lab.state_dir().join("certs").join(SERVICE).join("current");
        let held = crate::lab::pki::pair(&kept.join("fullchain.pem"), &kept.join("privkey.pem"));
        assert_eq!(held.as_ref(), Ok(&leaf), "{}", self.words);
        for node in &self.lab.nodes {
            let serves = wait_until(|| node.settled(SERVICE).as_ref() == Ok(&leaf));
            assert!(serves, "{} does not serve it: {}", node.name, self.words);
            assert_eq!(node.pair(SERVICE).as_ref(), Ok(&leaf), "{}: {}", node.name, self.words);
        }
        let txt = self.lab.cloudflare.records().into_iter().filter(|record| record.kind == "TXT");
        assert_eq!(txt.map(|record| record.id).collect::<Vec<_>>(), self.foreign, "{}", self.words);
        assert_eq!(self.lab.dns.txt(CHALLENGE).len(), self.foreign.len(), "{}", self.words);
        let mut left = Vec::new();
        unfinished(&self.lab.state_dir(), &mut left);
        assert!(left.is_empty(), "{left:?}: {}", self.words);
        let (status, text) = self.run(&["check"]);
        assert_eq!(status.code(), Some(0), "{text}\n{}", self.words);
        assert!(self.lab.nodes_are_quiet(), "a program goes on on a node: {}", self.words);
    }

    fn run_to_its_end(&self) {
        let (status, text) = self.run(&["renew"]);
        assert!(status.success(), "{text}");
    }

    fn run(&self, arguments: &[&str]) -> (ExitStatus, String) {
        self.ended(self.lab.command(arguments))
    }

    /// How it ended and what it printed.
    fn ended(&self, mut command: Command) -> (ExitStatus, String) {
        let path = self.lab.folder.join("certd.log");
        let log = fs::File::create(&path).expect("the lab's folder is ours");
        let err = log.try_clone().expect("a file can be cloned");
        let mut child = command.stdin(Stdio::null()).stdout(log).stderr(err).spawn().expect("certd starts");
        let ended = (0..PATIENCES).any(|_| wait_until(|| child.try_wait().expect("it is our child").is_some()));
        if !ended {
            child.kill().expect("it is our child");
        }
        let status = child.wait().expect("it is our child");
        let text = fs::read_to_string(&path).unwrap_or_default();
        assert!(ended, "it does not come to its end: {text}");
        (status, text)
    }
}

fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("nobody runs who would write there");
    }
}

fn copy(from: &Path, to: &Path) {
    output(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Returns when what is in place is served.
fn reload(node: &Node) {
    let [program, arguments @ ..] = &node.reload_command()[..] else { unreachable!() };
    output(Command::new(program).args(arguments));
    assert!(wait_until(|| node.settled(SERVICE) == node.pair(SERVICE)), "{}: {}", node.name, node.nginx_log());
}

/// A window that has begun, has not ended, and within which this installation has drawn a moment that is over.
fn window(leaf: &Leaf, seed: u64) -> (Timestamp, Timestamp) {
    let now = clock::now();
    let windows =
        (1..100).map(|minutes| (now - SignedDuration::from_hours(24), now + SignedDuration::from_mins(minutes)));
    let drawn = |(start, end): &(Timestamp, Timestamp)| {
        let ari = Ari {
            fingerprint: leaf.fingerprint,
            start: *start,
            end: *end,
            explanation: None,
            asked_at: now,
            ask_again: now,
            doubted: false,
        };
        renewal::due(leaf, Some(&ari), seed).0
    };
    let seconds = |at: Timestamp| Timestamp::from_second(at.as_second()).expect("it was one");
    let mut windows = windows.map(|(start, end)| (seconds(start), seconds(end)));
    windows.find(|window| drawn(window) <= now).expect("one in a hundred is drawn in the past")
}

/// Ends the watch, however this thread goes on.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Watches a node's pair; it is read only when one of its files is another than before.
fn no_torn_pair(node: &Node, over: &AtomicBool) {
    let mark = |path: &Path| fs::metadata(path).map(|found| (found.ino(), found.mtime(), found.mtime_nsec())).ok();
    let mut seen = None;
    while !over.load(Ordering::Relaxed) {
        let now = Some((mark(&node.fullchain(SERVICE)), mark(&node.key(SERVICE))));
        if now != seen {
            node.pair(SERVICE).unwrap_or_else(|torn| panic!("{}: {torn}", node.name));
            seen = now;
        }
        std::thread::sleep(LOOK);
    }
}

/// What a write that was cut short has left.
fn unfinished(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the state is ours").flatten() {
        if entry.file_name().to_string_lossy().starts_with('.') {
            found.push(entry.path());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            unfinished(&entry.path(), found);
        }
    }
}

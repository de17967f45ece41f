//! One fleet for many kills: a new generation, a delivery that is cut short somewhere, one that is not, and a look at
//! everything.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::lab::node::Node;
use crate::lab::pki::Leaf;
use crate::lab::process::wait_until;
use crate::lab::{Lab, Options, SERVICE};

/// Between two looks at a node's pair: often, and without a core to itself.
const LOOK: Duration = Duration::from_millis(2);
/// How often the lab's patience (30 s) is waited for certd's end: it gives a node 160 s, and disks can be busy.
const PATIENCES: usize = 6;

pub(crate) struct Bench {
    pub(crate) lab: Lab,
    /// What every node serves.
    served: Leaf,
    /// Staged files of programs that were killed: no server reads them, and the next dialogue removes them.
    rubbish: Vec<PathBuf>,
}

impl Bench {
    pub(crate) fn start(nodes: usize) -> Self {
        let lab = Lab::start(Options::nodes(nodes));
        lab.write_config("");
        let served = lab.keep_new();
        let mut bench = Self { lab, served, rubbish: Vec::new() };
        bench.deliver("the first delivery");
        bench
    }

    /// Delivers a new generation by a command that something strikes, and again by one that nothing does. Returns what
    /// the first one came to.
    pub(crate) fn cycle(
        &mut self,
        at: &str,
        struck: impl FnOnce(&Lab) -> (ExitStatus, String),
    ) -> (ExitStatus, String) {
        let new = self.lab.keep_new();
        let old = std::mem::replace(&mut self.served, new.clone());
        let over = AtomicBool::new(false);
        let (lab, watched) = (&self.lab, &over);
        let (first, seen) = std::thread::scope(|scope| {
            let watches: Vec<_> = lab.nodes.iter().map(|node| scope.spawn(move || pairs(node, watched))).collect();
            let until = Over(watched);
            let first = struck(lab);
            let second = self.lab.certd(&["deploy"]);
            assert_eq!(second.status.code(), Some(0), "{at}: {}\nthe next run: {}", first.1, text(&second));
            drop(until);
            let seen: Vec<_> = watches.into_iter().map(|watch| watch.join().expect("no torn pair")).collect();
            (first, seen)
        });
        for (node, seen) in self.lab.nodes.iter().zip(seen) {
            // I1, I9: from the old one to the new one, once.
            let once = [vec![old.clone(), new.clone()], vec![new.clone()]].contains(&seen);
            assert!(
                once,
                "{at}: {}: {:?}\n{}",
                node.name,
                seen.iter().map(|leaf| &leaf.serial).collect::<Vec<_>>(),
                first.1
            );
        }
        self.look(at);
        first
    }

    fn deliver(&mut self, at: &str) {
        let output = self.lab.certd(&["deploy"]);
        assert_eq!(output.status.code(), Some(0), "{at}: {}", text(&output));
        self.look(at);
    }

    /// All is as it ought to be, and nothing is left over.
    fn look(&mut self, at: &str) {
        assert!(self.lab.nodes_are_quiet(), "{at}: a program goes on on a node");
        let mut rubbish = Vec::new();
        for node in &self.lab.nodes {
            assert_eq!(node.settled(SERVICE).as_ref(), Ok(&self.served), "{at}: {}", node.name);
            assert_eq!(node.pair(SERVICE).as_ref(), Ok(&self.served), "{at}: {}", node.name);
            let (staged, left): (Vec<_>, Vec<_>) = left_over(node).into_iter().partition(|path| is_staged(path));
            assert!(left.is_empty(), "{at}: {}: {left:?}", node.name);
            rubbish.extend(staged);
        }
        assert!(!rubbish.iter().any(|path| self.rubbish.contains(path)), "{at}: {rubbish:?} is left for good");
        self.rubbish = rubbish;
    }
}

fn is_staged(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".new-"))
}

/// What a delivery that was not finished has left: an intent, staged files, a lock that is a link, links half made.
fn left_over(node: &Node) -> Vec<PathBuf> {
    let ssl = node.fullchain(SERVICE).parent().expect("a file is in a folder").to_owned();
    let mut left = Vec::new();
    for folder in [ssl.clone(), ssl.join(".certd"), ssl.join(".certd").join(SERVICE)] {
        for entry in fs::read_dir(folder).expect("certd was here").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let staged = name.starts_with(".new-") || name.ends_with(".held") || name.ends_with(".certd-new");
            if staged || name == "intent" || name == "next" {
                left.push(entry.path());
            }
        }
    }
    left
}

/// The pairs that are there one after the other, each time whole (I2); looked at when a file is another than before.
fn pairs(node: &Node, over: &AtomicBool) -> Vec<Leaf> {
    let mark = |path: &Path| fs::metadata(path).map(|found| (found.ino(), found.mtime(), found.mtime_nsec())).ok();
    let (mut last, mut seen) = (None, Vec::new());
    loop {
        let ended = over.load(Ordering::Relaxed);
        let now = Some((mark(&node.fullchain(SERVICE)), mark(&node.key(SERVICE))));
        if now != last {
            let pair = node.pair(SERVICE).unwrap_or_else(|torn| panic!("{}: {torn}", node.name));
            if seen.last() != Some(&pair) {
                seen.push(pair);
            }
            last = now;
        }
        if ended {
            return seen;
        }
        std::thread::sleep(LOOK);
    }
}

/// Ends the watch, however this thread goes on.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs it to its end, whichever that is.
pub(crate) fn ended(lab: &Lab, mut command: Command) -> (ExitStatus, String) {
    let path = lab.folder.join("output");
    let file = fs::File::create(&path).expect("the lab's folder is ours");
    command.stdout(file.try_clone().expect("a file can be cloned")).stderr(file).stdin(Stdio::null());
    let mut child = lab.spawn(command);
    let ended = (0..PATIENCES).any(|_| wait_until(|| child.try_wait().is_ok_and(|status| status.is_some())));
    let text = || fs::read_to_string(&path).unwrap_or_default();
    assert!(ended, "it does not come to its end: {}", text());
    (child.wait().expect("it is our child"), text())
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

//! A fleet of three is given one certificate after the other while new HTTPS connections come the whole time: none fails,
//! no node ever holds a torn pair, and every certificate is served, in order. `make soak`: a thousand; `cargo test`: some.

#![allow(clippy::print_stdout, reason = "`make soak` shows its figures")]

pub(crate) mod load;

use crate::lab;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lab::node::Node;
use lab::{Lab, Options, SERVICE};
use load::Load;

/// Between two looks at a node's pair: often, and without a core to itself.
const LOOK: Duration = Duration::from_millis(2);

/// Between two visits to a node: what is tested is the reload and not how much a processor can bear.
const PAUSE: Duration = Duration::from_millis(10);

/// What everybody may expect of the moment.
#[derive(Default)]
struct Course {
    /// Fingerprints, in the order of their making.
    made: Mutex<Vec<String>>,
    /// The one that every node serves, as certd reported when it was done.
    proven: AtomicUsize,
    over: AtomicBool,
}

impl Course {
    fn number(&self, fingerprint: &str) -> usize {
        let made = self.made.lock().expect("no holder panics");
        let number = made.iter().rposition(|made| made == fingerprint);
        number.unwrap_or_else(|| panic!("{fingerprint} is none of ours"))
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }
}

/// What a client saw of one node.
#[derive(Default)]
struct Seen {
    handshakes: usize,
    /// How often the one before was served after certd had reported the end of the rollout.
    late: usize,
    /// Numbers, each when it was first seen.
    order: Vec<usize>,
}

fn visit(load: &Load, course: &Course) -> Seen {
    let mut seen = Seen::default();
    while course.goes_on() {
        let proven = course.proven.load(Ordering::SeqCst);
        let number = course.number(&load.visit());
        seen.handshakes += 1;
        let newest = seen.order.last().copied().unwrap_or(0);
        // An old worker listens for a moment after the new one; nobody sees what came before that.
        assert!(number + 1 >= newest.max(proven), "{number} is served after {newest}, and {proven} was proven");
        seen.late += usize::from(number < proven);
        if seen.order.last().is_none_or(|newest| *newest < number) {
            seen.order.push(number);
        }
        std::thread::sleep(PAUSE);
    }
    seen
}

/// The pair, each time that a file of it is another: whole, and never an older one than before (I2, I9).
fn watch(node: &Node, course: &Course) -> usize {
    let mark = |path: &Path| fs::metadata(path).map(|found| (found.ino(), found.mtime(), found.mtime_nsec())).ok();
    let (mut last, mut newest, mut looks) = (None, 0, 0);
    while course.goes_on() {
        let now = Some((mark(&node.fullchain(SERVICE)), mark(&node.key(SERVICE))));
        if now != last {
            let pair = node.pair(SERVICE).unwrap_or_else(|torn| panic!("{}: {torn}", node.name));
            let number = course.number(&pair.fingerprint);
            assert!(number >= newest, "{}: {number} after {newest}", node.name);
            (last, newest, looks) = (now, number, looks + 1);
        }
        std::thread::sleep(LOOK);
    }
    looks
}

pub(crate) fn rotate(rotations: usize) {
    let lab = Lab::start(Options::default());
    lab.write_config("");
    let course = Course::default();
    deliver(&lab, &course);
    let loads: Vec<Load> = lab.nodes.iter().map(|node| Load::of(node.tls)).collect();
    let (seen, looks) = std::thread::scope(|scope| {
        let course = &course;
        let over = Over(&course.over);
        let visits: Vec<_> = loads.iter().map(|load| scope.spawn(move || visit(load, course))).collect();
        let watches: Vec<_> = lab.nodes.iter().map(|node| scope.spawn(move || watch(node, course))).collect();
        for rotation in 1..=rotations {
            deliver(&lab, course);
            if rotation.is_multiple_of(50) {
                println!("{rotation} rotations");
            }
            let panicked =
                visits.iter().any(|visit| visit.is_finished()) || watches.iter().any(|watch| watch.is_finished());
            if panicked {
                break;
            }
        }
        drop(over);
        let seen: Vec<Seen> = visits.into_iter().map(|visit| visit.join().expect("no handshake fails")).collect();
        let looks: usize = watches.into_iter().map(|watch| watch.join().expect("no torn pair")).sum();
        (seen, looks)
    });
    for (node, seen) in lab.nodes.iter().zip(&seen) {
        let all: Vec<usize> = (0..=rotations).collect();
        assert_eq!(seen.order, all, "{} served every one, in order", node.name);
        println!("{}: {} handshakes, none failed; {} late", node.name, seen.handshakes, seen.late);
    }
    println!("{rotations} rotations, {looks} pairs looked at");
}

/// Another certificate, on its way to every node and proven there.
fn deliver(lab: &Lab, course: &Course) {
    let number = {
        let mut made = course.made.lock().expect("no holder panics");
        // Nobody has seen it yet: it is known before it is there.
        made.push(lab.keep_new().fingerprint);
        made.len() - 1
    };
    let output = lab.certd(&["deploy"]);
    assert_eq!(output.status.code(), Some(0), "{number}: {}", lab::printed::stdout(&output));
    course.proven.store(number, Ordering::SeqCst);
}

/// Ends all visits and watches, however this thread goes on.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

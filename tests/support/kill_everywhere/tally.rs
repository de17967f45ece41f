//! Where certd was killed, in numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::SignedDuration;

/// What came of one point.
pub(crate) enum Cycle {
    /// `what` it was about to do, and to whom.
    Killed { kind: String, what: String },
    /// It was over before.
    Survived,
}

#[derive(Default)]
pub(crate) struct Tally {
    /// Kills by kind of step.
    kinds: BTreeMap<String, usize>,
    /// Different steps: call and file, or call and peer.
    places: BTreeSet<String>,
    pub(crate) survived: usize,
    pub(crate) failures: Vec<String>,
    last: usize,
    pub(crate) took: SignedDuration,
}

impl Tally {
    pub(crate) fn add(&mut self, at: usize, cycle: Cycle) {
        match cycle {
            Cycle::Killed { kind, what } => {
                *self.kinds.entry(kind).or_default() += 1;
                self.places.insert(what);
                self.last = self.last.max(at);
                if self.kills().is_multiple_of(50) {
                    println!("{} kills, {} failed", self.kills(), self.failures.len());
                }
            }
            Cycle::Survived => self.survived += 1,
        }
    }

    pub(crate) fn fail(&mut self, at: usize, words: &str) {
        let failure = format!("KILL_AT={at}: {words}");
        println!("{failure}");
        self.failures.push(failure);
    }

    pub(crate) fn kills(&self) -> usize {
        self.kinds.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kills, places, last) = (self.kills(), self.places.len(), self.last);
        let (failures, seconds) = (self.failures.len(), self.took.as_secs());
        writeln!(f, "{kills} kills at {places} different steps, up to the {last}th, {failures} failed, {seconds} s")?;
        self.kinds.iter().try_for_each(|(kind, count)| writeln!(f, "  {count:5}  {kind}"))
    }
}

//! When each of many recurring checks is due: spread over their interval, without drift, and none twice at a time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

/// Instants are those of a clock that cannot be set.
#[derive(Debug)]
pub struct Rota<K> {
    slots: BTreeMap<K, Slot>,
    due: BTreeSet<(SignedDuration, K)>,
}

#[derive(Debug)]
struct Slot {
    due: SignedDuration,
    interval: SignedDuration,
    running: bool,
}

impl<K: Clone + Ord> Default for Rota<K> {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), due: BTreeSet::new() }
    }
}

impl<K: Clone + Ord> Rota<K> {
    /// Replaces what is to be checked. A check whose interval is the same keeps its instants.
    pub fn replace(&mut self, checks: impl IntoIterator<Item = (K, SignedDuration)>, now: SignedDuration) {
        let mut before = core::mem::take(&mut self.slots);
        self.due.clear();
        let checks: BTreeMap<K, SignedDuration> = checks.into_iter().collect();
        let count = i32::try_from(checks.len()).unwrap_or(i32::MAX);
        for (number, (key, interval)) in (0..).zip(checks) {
            let part = interval / count * number;
            let slot = match before.remove(&key) {
                Some(slot) if slot.interval == interval => slot,
                Some(slot) => Slot { due: now + part, interval, ..slot },
                None => Slot { due: now + part, interval, running: false },
            };
            self.due.insert((slot.due, key.clone()));
            self.slots.insert(key, slot);
        }
    }

    /// When the next check is due. `None`: there is none.
    pub fn next_due(&self) -> Option<SignedDuration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The next check that is due, which then runs. One that is due while it still runs is left out.
    pub fn take(&mut self, now: SignedDuration) -> Option<K> {
        while let Some((due, key)) = self.due.first().filter(|(due, _)| *due <= now).cloned() {
            self.due.pop_first();
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            // After more than an interval (this machine slept, or has too much to do), what was missed is not made up for.
            let next = due + slot.interval;
            slot.due = if next > now { next } else { now + slot.interval };
            self.due.insert((slot.due, key.clone()));
            if !core::mem::replace(&mut slot.running, true) {
                return Some(key);
            }
        }
        None
    }

    pub fn done(&mut self, key: &K) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.running = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: SignedDuration = SignedDuration::from_secs(30);

    fn seconds(count: i64) -> SignedDuration {
        SignedDuration::from_secs(count)
    }

    #[test]
    fn checks_are_spread_over_their_interval_and_keep_their_instants_for_a_week() {
        let mut rota = Rota::default();
        rota.replace((0..10).map(|key| (key, EVERY)), seconds(100));
        let mut times = 0;
        while let Some(due) = rota.next_due().filter(|due| *due < seconds(100 + 7 * 86_400)) {
            // Some milliseconds late, each time.
            let now = due + SignedDuration::from_millis(7);
            let key = rota.take(now).expect("it is due");
            assert_eq!(due, seconds(100 + 3 * i64::from(key)) + EVERY * (times / 10));
            assert_eq!(rota.take(now), None, "one at a time");
            rota.done(&key);
            times += 1;
        }
        assert_eq!(times, 10 * 7 * 86_400 / 30);
        assert_eq!((rota.slots.len(), rota.due.len()), (10, 10));
    }

    #[test]
    fn a_check_that_still_runs_is_left_out_and_missed_ones_are_not_made_up_for() {
        let mut rota = Rota::default();
        rota.replace([("slow", EVERY)], seconds(0));
        assert_eq!(rota.take(seconds(0)), Some("slow"));
        assert_eq!(rota.take(seconds(30)), None);
        rota.done(&"slow");
        assert_eq!(rota.next_due(), Some(seconds(60)));
        // This machine sleeps for an hour.
        assert_eq!(rota.take(seconds(3600)), Some("slow"));
        rota.done(&"slow");
        assert_eq!(rota.take(seconds(3600)), None);
        assert_eq!(rota.next_due(), Some(seconds(3630)));
    }

    #[test]
    fn another_configuration_leaves_the_others_their_instants() {
        let mut rota = Rota::default();
        rota.replace([("a", EVERY), ("b", EVERY)], seconds(0));
        assert_eq!(rota.take(seconds(0)), Some("a"));
        rota.replace([("a", EVERY), ("c", seconds(10))], seconds(5));
        assert_eq!(rota.next_due(), Some(seconds(10)));
        assert_eq!((rota.take(seconds(10)), rota.take(seconds(10))), (Some("c"), None));
        rota.done(&"b");
        rota.done(&"c");
        assert_eq!((rota.take(seconds(30)), rota.take(seconds(30))), (Some("c"), None), "a still runs");
        rota.replace([], seconds(31));
        assert_eq!((rota.next_due(), rota.take(seconds(99))), (None, None));
    }
}

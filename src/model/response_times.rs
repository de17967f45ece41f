//! Response times of the last hour, in bounded memory: a histogram for each ten minutes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Seconds of one slot.
const SLOT: i64 = 600;
/// Whole slots that are kept beside the current one.
const KEPT: i64 = 6;
/// Ratio of a class's bounds: an answer is off by less than a tenth.
const RATIO: f64 = 1.1;
/// The class of whatever takes longer than a minute.
const LAST: u8 = 116;

/// Counts by the slot's number and the class of the time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseTimes(BTreeMap<i64, BTreeMap<u8, u32>>);

impl ResponseTimes {
    pub fn note(&mut self, took_ms: u32, now: Timestamp) {
        let slot = slot(now);
        // A clock that went back leaves no slots of the future.
        self.0.retain(|other, _| (slot - KEPT..=slot).contains(other));
        let count = self.0.entry(slot).or_default().entry(class(took_ms)).or_default();
        *count = count.saturating_add(1);
    }

    /// How many there were within the last hour.
    pub fn count(&self, now: Timestamp) -> u32 {
        self.recent(now).map(|(_, count)| count).fold(0, u32::saturating_add)
    }

    /// The time, in milliseconds, within which this share of the answers came. `None`: there were none.
    pub fn within(&self, percent: u32, now: Timestamp) -> Option<u32> {
        let mut classes: BTreeMap<u8, u64> = BTreeMap::new();
        self.recent(now).for_each(|(class, count)| *classes.entry(class).or_default() += u64::from(count));
        let all: u64 = classes.values().sum();
        let wanted = (all * u64::from(percent)).div_ceil(100).max(1);
        let mut so_far = 0;
        classes.into_iter().find_map(|(class, count)| {
            so_far += count;
            (so_far >= wanted).then(|| upper_bound(class))
        })
    }

    fn recent(&self, now: Timestamp) -> impl Iterator<Item = (u8, u32)> {
        let (first, last) = (slot(now - SignedDuration::from_hours(1)), slot(now));
        let slots = self.0.iter().filter(move |(slot, _)| (first..=last).contains(*slot));
        slots.flat_map(|(_, counts)| counts.iter().map(|(class, count)| (*class, *count)))
    }
}

fn slot(at: Timestamp) -> i64 {
    at.as_second().div_euclid(SLOT)
}

/// Class n holds times of less than 1.1 to the power of n + 1.
fn class(took_ms: u32) -> u8 {
    let class = f64::from(took_ms.max(1)).ln() / RATIO.ln();
    // Saturates.
    (class as u8).min(LAST)
}

fn upper_bound(class: u8) -> u32 {
    RATIO.powi(i32::from(class) + 1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

    #[test]
    fn percentiles_are_within_a_tenth_and_an_hour() {
        let mut times = ResponseTimes::default();
        assert_eq!((times.within(50, NOW), times.count(NOW)), (None, 0));
        for took in 1..=100 {
            times.note(took * 10, NOW);
        }
        assert_eq!(times.count(NOW), 100);
        for (percent, exact) in [(50, 500_f64), (95, 950.0), (100, 1000.0)] {
            let found = f64::from(times.within(percent, NOW).unwrap());
            assert!((found / exact - 1.0).abs() < 0.1, "{percent}: {found}");
        }
        let later = NOW + SignedDuration::from_mins(80);
        assert_eq!((times.within(50, later), times.count(later)), (None, 0));
    }

    #[test]
    fn extremes_have_a_class() {
        let of = |took| {
            let mut times = ResponseTimes::default();
            times.note(took, NOW);
            times.within(95, NOW).unwrap()
        };
        assert_eq!((of(0), of(1)), (1, 1));
        assert!(of(60_000) >= 60_000 && of(u32::MAX) < 90_000, "{}", of(u32::MAX));
    }

    #[test]
    fn a_week_of_answers_takes_no_more_room_than_an_hour() {
        let mut times = ResponseTimes::default();
        for step in 0..7 * 24 * 120 {
            times.note(1 + step as u32 % 50_000, NOW + SignedDuration::from_secs(30 * i64::from(step)));
        }
        assert!(times.0.len() <= 7, "{}", times.0.len());
        assert!(times.0.values().all(|counts| counts.len() <= usize::from(LAST) + 1));
        assert!(serde_json::to_string(&times).unwrap().len() < 10_000);
    }
}

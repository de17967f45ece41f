//! Maintenance windows: the hours of the week in which a node may be changed. They are in UTC, so that daylight saving
//! time skips or repeats none.

use core::fmt;
use core::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use super::BadSchedule;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;
/// Second 0 of Unix time was a Thursday; a week begins on Monday.
const EPOCH: i64 = 3 * DAY as i64 * 60;

/// `Sat 02:00-06:00`: on each of its days from one minute to another, past midnight where the end comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    written: String,
    /// Monday is 0.
    days: Vec<u32>,
    /// Minutes of the day at which it opens, and for how many it is open.
    from: u32,
    length: u32,
}

/// When a node may be changed. None of them: always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows(Vec<Window>);

impl Windows {
    pub(super) fn new(windows: Vec<Window>) -> Self {
        Self(windows)
    }

    pub(super) fn always(&self) -> bool {
        self.0.is_empty()
    }

    /// The instant from which the node may be changed, when it may not be now.
    pub fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        if self.0.iter().any(|window| window.is_open(now)) {
            return None;
        }
        let next = self.0.iter().flat_map(|window| window.starts()).map(|start| {
            let second = i64::from(start) * 60;
            (second - second_of_week(now)).rem_euclid(i64::from(WEEK) * 60)
        });
        let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
        next.min().map(|seconds| whole.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX))
    }
}

impl Window {
    /// Minutes of the week.
    fn starts(&self) -> impl Iterator<Item = u32> {
        self.days.iter().map(|day| day * DAY + self.from)
    }

    fn is_open(&self, now: Timestamp) -> bool {
        let now = second_of_week(now);
        let since = |start| (now - i64::from(start) * 60).rem_euclid(i64::from(WEEK) * 60);
        self.starts().any(|start| since(start) < i64::from(self.length) * 60)
    }
}

fn second_of_week(at: Timestamp) -> i64 {
    (at.as_second() + EPOCH).rem_euclid(i64::from(WEEK) * 60)
}

impl FromStr for Window {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (days, hours) = match words[..] {
            [hours] => ("Mon-Sun", hours),
            [days, hours] => (days, hours),
            _ => return Err(bad(format!("{text:?} is no window"), "days and hours, in UTC: \"Sat 02:00-06:00\"")),
        };
        let days = list_of_days(days)?;
        let Some((from, to)) = hours.split_once('-') else {
            return Err(bad(format!("{hours:?} has no end"), "from and to: \"02:00-06:00\""));
        };
        let (from, to) = (minute(from)?, minute(to)?);
        if from == DAY {
            return Err(bad("\"24:00\" is an end and no beginning", "\"00:00-…\", of the day after"));
        }
        if from == to {
            return Err(bad(format!("{hours:?} ends as it begins"), "a whole day is \"00:00-24:00\""));
        }
        let length = if from < to { to - from } else { to + DAY - from };
        Ok(Self { written: words.join(" "), days, from, length })
    }
}

/// `Sat`, `Mon-Fri`, `Sat-Mon`, and lists of them.
fn list_of_days(text: &str) -> Result<Vec<u32>, BadSchedule> {
    let mut days = Vec::new();
    for item in text.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (day(first)?, day(last)?);
        let count = (last + 7 - first) % 7;
        days.extend((0..=count).map(|n| (first + n) % 7));
    }
    days.sort_unstable();
    days.dedup();
    Ok(days)
}

fn day(text: &str) -> Result<u32, BadSchedule> {
    let found = (0..).zip(DAYS).find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(number, _)| number);
    found.ok_or_else(|| bad(format!("{text:?} is no day"), format!("one of {}, as in \"Mon-Fri\"", DAYS.join(", "))))
}

/// `02:00` to `24:00`, in minutes.
fn minute(text: &str) -> Result<u32, BadSchedule> {
    let number = |part: &str| part.parse::<u32>().ok().filter(|_| part.len() == 2 && !part.starts_with('+'));
    let parts = text.split_once(':').and_then(|(hour, minute)| Some((number(hour)?, number(minute)?)));
    let time = parts.filter(|(hour, minute)| *minute < 60 && (*hour < 24 || (*hour, *minute) == (24, 0)));
    time.map(|(hour, minute)| hour * 60 + minute).ok_or_else(|| {
        bad(format!("{text:?} is no time of the day"), "hours and minutes, in UTC: \"02:00\" to \"24:00\"")
    })
}

fn bad(what: impl Into<String>, write: impl Into<String>) -> BadSchedule {
    BadSchedule { what: what.into(), write: write.into() }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens(windows: &[&str], now: &str) -> Option<String> {
        let windows = Windows(windows.iter().map(|text| text.parse().unwrap()).collect());
        windows.opens(now.parse().unwrap()).map(|at| at.to_string())
    }

    // 2026-11-23 is a Monday.
    #[test]
    fn a_window_is_open_from_its_first_second_to_the_last_before_its_end() {
        let saturday = ["Sat 02:00-06:00"];
        assert_eq!(opens(&saturday, "2026-11-23T12:00:00Z").as_deref(), Some("2026-11-28T02:00:00Z"));
        assert_eq!(opens(&saturday, "2026-11-28T01:59:59.5Z").as_deref(), Some("2026-11-28T02:00:00Z"));
        assert_eq!(opens(&saturday, "2026-11-28T02:00:00Z"), None);
        assert_eq!(opens(&saturday, "2026-11-28T05:59:59.9Z"), None);
        assert_eq!(opens(&saturday, "2026-11-28T06:00:00Z").as_deref(), Some("2026-12-05T02:00:00Z"));
    }

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_on_which_it_opens() {
        let sunday = ["Sun 22:00-04:00"];
        assert_eq!(opens(&sunday, "2026-11-29T23:00:00Z"), None);
        assert_eq!(opens(&sunday, "2026-11-30T03:59:00Z"), None, "over the end of the week too");
        assert_eq!(opens(&sunday, "2026-11-29T03:00:00Z").as_deref(), Some("2026-11-29T22:00:00Z"));
        assert_eq!(opens(&["22:00-24:00"], "2026-11-25T00:00:00Z").as_deref(), Some("2026-11-25T22:00:00Z"));
    }

    #[test]
    fn of_several_windows_the_next_one_counts_and_none_means_always() {
        let two = ["Mon-Fri 03:00-04:00", "sat,sun 00:00-24:00"];
        assert_eq!(opens(&two, "2026-11-23T12:00:00Z").as_deref(), Some("2026-11-24T03:00:00Z"));
        assert_eq!(opens(&two, "2026-11-27T12:00:00Z").as_deref(), Some("2026-11-28T00:00:00Z"));
        assert_eq!(opens(&two, "2026-11-29T23:59:59Z"), None);
        assert_eq!(opens(&["Sat-Mon 00:00-24:00"], "2026-11-23T23:00:00Z"), None, "a range over the week's end");
        assert_eq!(opens(&[], "2026-11-23T12:00:00Z"), None);
        assert_eq!(opens(&["Thu 00:00-00:01"], "1970-01-01T00:00:30Z"), None, "the day that clocks begin with");
    }

    #[test]
    fn an_invalid_window_is_refused_with_a_suggestion() {
        for (text, what) in [
            ("", "\"\" is no window"),
            ("Sat 02:00 - 06:00", "\"Sat 02:00 - 06:00\" is no window"),
            ("Sat 2-6", "\"2\" is no time of the day"),
            ("Sat 02:00-06:60", "\"06:60\" is no time of the day"),
            ("Sat 02:00-24:01", "\"24:01\" is no time of the day"),
            ("Sat 24:00-02:00", "\"24:00\" is an end and no beginning"),
            ("02:00-02:00", "\"02:00-02:00\" ends as it begins"),
            ("Saturday 02:00-06:00", "\"Saturday\" is no day"),
            ("Sat, 02:00-06:00", "\"\" is no day"),
            ("02:00", "\"02:00\" has no end"),
            ("+2:00-06:00", "\"+2:00\" is no time of the day"),
        ] {
            let bad = text.parse::<Window>().unwrap_err();
            assert_eq!(bad.what, what);
            assert!(!bad.write.is_empty(), "{text}");
        }
    }
}

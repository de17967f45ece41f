//! Generations are fenced, not counted: a node never goes back to an older one because of a stale controller.

use core::fmt;
use core::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp, tz::Offset};
use serde::{Deserialize, Serialize};

/// A generation's number has so many digits, wherever it is written, sent, read or compared.
const DIGITS: usize = 14;
/// The greatest number that has so many.
const MOST: u64 = 99_999_999_999_999;
/// How far ahead of our clock the number of another machine may lie. Clocks that agree within a day are believed
/// (`plan::clock`), and so both may be right.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// One issued certificate of a name: a number that only grows, and the leaf's serial. The number is the UTC second of
/// issuance as `YYYYMMDDhhmmss`, or the second after the greatest number seen anywhere. Shown, and used as the name of a
/// folder, as `20261123061500-04c3…` (the serial in lower-case hex, at most 40 digits: RFC 5280 section 4.1.2.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Generation {
    number: u64,
    serial: String,
}

impl Generation {
    /// The generation of a certificate issued at `now`, above every number `seen` in the store or in a node's answer.
    pub fn issued(now: Timestamp, seen: u64, serial: &str) -> Result<Self, NotAGeneration> {
        Self::new(number(now).max(after(seen)), serial)
    }

    fn new(number: u64, serial: &str) -> Result<Self, NotAGeneration> {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if serial.is_empty() || serial.len() > 40 || !serial.chars().all(hex) {
            return Err(NotAGeneration(serial.chars().take(60).collect()));
        }
        Ok(Self { number, serial: serial.to_owned() })
    }

    /// The same certificate with a number above every one `seen`.
    pub fn above(&self, seen: u64) -> Self {
        Self { number: self.number.max(after(seen)), serial: self.serial.clone() }
    }

    /// The same certificate with the number of this second.
    pub fn at(&self, second: Timestamp) -> Self {
        Self { number: number(second), serial: self.serial.clone() }
    }

    /// A number of up to 20 digits, kept by an earlier certd that numbered above any number a node reported. It reads as
    /// the greatest number; the serial tells two such generations apart. Refusing it would lose the whole state file.
    fn of_an_earlier(text: &str) -> Option<Self> {
        let (number, serial) = text.split_once('-')?;
        let long = (DIGITS + 1..=20).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
        Self::new(MOST, serial).ok().filter(|_| long)
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn serial(&self) -> &str {
        &self.serial
    }
}

/// The UTC second as `YYYYMMDDhhmmss`.
pub fn number(at: Timestamp) -> u64 {
    digits(Offset::UTC.to_datetime(at))
}

fn digits(at: DateTime) -> u64 {
    let parts = [(at.month(), 100), (at.day(), 100), (at.hour(), 100), (at.minute(), 100), (at.second(), 100)];
    // Years before 0 have no number; no clock that is believed shows one.
    let year = u64::try_from(at.year()).unwrap_or(0);
    parts.into_iter().fold(year, |number, (part, width)| number * width + u64::try_from(part).unwrap_or(0))
}

/// The greatest number that may be anybody's at `now`.
pub fn latest(now: Timestamp) -> u64 {
    number(now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX))
}

/// A number reported by another machine: 14 digits that are a second of the calendar.
pub fn parse_number(text: &str) -> Option<u64> {
    let number = read(text)?;
    (floor(number).map(digits) == Some(number)).then_some(number)
}

/// The one bound for reading. What an older certd wrote may be a second that no clock shows (…60): it counted on by one.
fn read(text: &str) -> Option<u64> {
    let whole = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| whole)
}

/// The first second of the calendar that is above `number`; the last that there is stays.
fn after(number: u64) -> u64 {
    let Some(last) = floor(number) else { return 0 };
    last.checked_add(SignedDuration::from_secs(1)).map_or(number, digits)
}

/// The last second of the calendar that is not above `number`. `None`: it has no year of four digits, and is no number.
fn floor(number: u64) -> Option<DateTime> {
    let part = |width: u64| i8::try_from(number / width % 100).unwrap_or(i8::MAX);
    let (month, day, hour, minute, second) = (part(100_000_000), part(1_000_000), part(10_000), part(100), part(1));
    let year = i16::try_from(number / 10_000_000_000).ok().filter(|year| (1..=9999).contains(year))?;
    let end = |date: Date| Some(date.at(23, 59, 59, 0));
    match month {
        0 => return end(Date::new(year - 1, 12, 31).ok()?),
        1..=12 => {}
        _ => return end(Date::new(year, 12, 31).ok()?),
    }
    let first = Date::new(year, month, 1).ok()?;
    let date = match day {
        0 => return end(first.yesterday().ok()?),
        _ if day > first.days_in_month() => return end(first.last_of_month()),
        _ => Date::new(year, month, day).ok()?,
    };
    Some(match (hour, minute, second) {
        (24.., ..) => date.at(23, 59, 59, 0),
        (_, 60.., _) => date.at(hour, 59, 59, 0),
        (_, _, 60..) => date.at(hour, minute, 59, 0),
        _ => date.at(hour, minute, second, 0),
    })
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014}-{}", self.number, self.serial)
    }
}

impl FromStr for Generation {
    type Err = NotAGeneration;

    fn from_str(text: &str) -> Result<Self, NotAGeneration> {
        let bad = || NotAGeneration(text.chars().take(60).collect());
        let (number, serial) = text.split_once('-').ok_or_else(bad)?;
        Self::new(read(number).ok_or_else(bad)?, serial).map_err(|_| bad())
    }
}

impl From<Generation> for String {
    fn from(generation: Generation) -> Self {
        generation.to_string()
    }
}

impl TryFrom<String> for Generation {
    type Error = NotAGeneration;

    /// Of files of our own alone: what another machine says is parsed.
    fn try_from(text: String) -> Result<Self, NotAGeneration> {
        text.parse().or_else(|bad| Self::of_an_earlier(&text).ok_or(bad))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a generation (want YYYYMMDDhhmmss-serial)")]
pub struct NotAGeneration(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_the_utc_second_of_its_issuance() {
        let at: Timestamp = "2026-11-23T06:15:00Z".parse().unwrap();
        assert_eq!(Generation::issued(at, 0, "04c3").unwrap().to_string(), "20261123061500-04c3");
    }

    #[test]
    fn a_generation_outgrows_every_number_seen_so_that_a_lost_clock_locks_nobody_out() {
        let at: Timestamp = "2016-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(Generation::issued(at, 20_261_123_061_500, "04c3").unwrap().number(), 20_261_123_061_501);
    }

    #[test]
    fn a_generation_is_never_a_path() {
        let n = "20261123061500";
        for text in ["../x", "1-../x", "-1", ""] {
            assert!(text.parse::<Generation>().is_err(), "{text}");
        }
        for rest in ["-../x", "-", "", "-AB", "-ab/c", "--ab"] {
            assert!(format!("{n}{rest}").parse::<Generation>().is_err(), "{rest}");
        }
    }

    #[test]
    fn what_an_earlier_certd_kept_with_more_digits_is_read_and_no_other_machine_may_say_it() {
        for number in ["999999999999999", "1000000000000000000", "9999999999999999999", "18446744073709551615"] {
            let text = format!("{number}-04c3");
            let kept: Generation = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!((kept.number(), kept.serial()), (MOST, "04c3"), "{number}");
            assert_eq!(kept.to_string().parse::<Generation>().ok(), Some(kept), "it is written as it is read");
            assert!(text.parse::<Generation>().is_err(), "{number}");
        }
        for bad in ["1-04c3", "-04c3", "99999999999999x-04c3", "999999999999999-", "999999999999999999999-04c3"] {
            assert!(serde_json::from_str::<Generation>(&format!("\"{bad}\"")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_that_is_written_can_be_read_back_whatever_was_seen() {
        let at: Timestamp = "2026-11-23T06:15:00Z".parse().unwrap();
        for seen in [0, 1, 20_261_123_061_559, 99_991_231_235_959, 99_999_999_999_999, u64::MAX, u64::MAX - 1] {
            let generation = Generation::issued(at, seen, "04c3").unwrap();
            for generation in [generation.above(seen), generation] {
                let text = generation.to_string();
                assert_eq!(text.parse::<Generation>().ok(), Some(generation), "{seen}: {text}");
            }
        }
    }

    #[test]
    fn the_number_after_the_last_second_of_a_minute_a_day_or_a_year_is_the_next_second() {
        let pairs = [
            (20_261_123_061_500, 20_261_123_061_501),
            (20_261_123_061_559, 20_261_123_061_600),
            (20_261_123_235_959, 20_261_124_000_000),
            (20_261_231_235_959, 20_270_101_000_000),
            (20_280_228_235_959, 20_280_229_000_000),
            // As an older certd counted.
            (20_261_123_061_560, 20_261_123_061_600),
            (20_261_123_240_000, 20_261_124_000_000),
            (20_260_230_000_000, 20_260_301_000_000),
            (20_260_001_000_000, 20_260_101_000_000),
            (20_261_301_000_000, 20_270_101_000_000),
        ];
        for (seen, next) in pairs {
            assert_eq!(after(seen), next, "{seen}");
            assert_eq!(parse_number(&next.to_string()), Some(next), "{next}");
        }
    }

    #[test]
    fn a_number_that_another_machine_tells_is_fourteen_digits_and_a_second_of_the_calendar() {
        assert_eq!(parse_number("20261123061500"), Some(20_261_123_061_500));
        for text in [
            "",
            "0",
            "1",
            "99999999999999",
            "9999999999999999999",
            "99999999999999999999",
            "20261123061560",
            "20261123240000",
            "20260230000000",
            "20260001000000",
            "20261301000000",
            "2026112306150",
            "+2026112306150",
            "20261123 61500",
            "00000000000000",
            "２０２６１１２３０６１５００",
        ] {
            assert_eq!(parse_number(text), None, "{text}");
        }
        let now: Timestamp = "2026-11-23T06:15:00Z".parse().unwrap();
        assert_eq!(latest(now), 20_261_124_061_500);
    }
}

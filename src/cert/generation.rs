//! Generations are fenced, not counted: a node never goes back to an older one because of a stale controller.

use core::fmt;
use core::str::FromStr;

use jiff::{Timestamp, tz::Offset};
use serde::{Deserialize, Serialize};

/// One issued certificate of a name: a number that only grows, and the leaf's serial. The number is the UTC second of
/// issuance as `YYYYMMDDhhmmss`, or one more than the greatest number seen anywhere. Shown, and used as the name of a
/// folder, as `20261123061500-04c3…` (the serial in lower-case hex, at most 40 digits: RFC 5280 section 4.1.2.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Generation {
    number: u64,
    serial: String,
}

impl Generation {
    /// The generation of a certificate issued at `now`, above every number `seen` in the store or in a node's answer.
    pub fn issued(now: Timestamp, seen: u64, serial: &str) -> Result<Self, NotAGeneration> {
        let at = Offset::UTC.to_datetime(now);
        let mut number = 0u64;
        for (part, width) in [
            (i64::from(at.year()), 10_000),
            (i64::from(at.month()), 100),
            (i64::from(at.day()), 100),
            (i64::from(at.hour()), 100),
            (i64::from(at.minute()), 100),
            (i64::from(at.second()), 100),
        ] {
            number = number * width + u64::try_from(part).unwrap_or(0);
        }
        Self::new(number.max(seen.saturating_add(1)), serial)
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
        Self { number: self.number.max(seen.saturating_add(1)), serial: self.serial.clone() }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn serial(&self) -> &str {
        &self.serial
    }
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
        if number.is_empty() || number.len() > 19 || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        Self::new(number.parse().map_err(|_| bad())?, serial).map_err(|_| bad())
    }
}

impl From<Generation> for String {
    fn from(generation: Generation) -> Self {
        generation.to_string()
    }
}

impl TryFrom<String> for Generation {
    type Error = NotAGeneration;

    fn try_from(text: String) -> Result<Self, NotAGeneration> {
        text.parse()
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
        for text in ["../x", "1-../x", "1-", "-1", "1-AB", "1-ab/c", "", "99999999999999999999-ab"] {
            assert!(text.parse::<Generation>().is_err(), "{text}");
        }
    }
}

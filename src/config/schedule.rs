//! A schedule in the format of crontab(5): five fields, or a nickname such as `@daily`. It is in UTC, so that daylight saving
//! time skips or repeats no run.
//!
//! The fields are parsed strictly here and passed to the crate as plain numbers, since its own syntax has six or seven
//! fields, and its Sunday is 1 and not 0 or 7.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use jiff::Timestamp;

/// When passes begin.
#[derive(Clone)]
pub struct Schedule {
    written: String,
    /// Two where day of month and day of week are both restricted: either is enough.
    parts: Vec<cron::Schedule>,
}

/// Why a text is not a schedule, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct BadSchedule {
    pub what: String,
    pub write: String,
}

struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    /// The first of them means `least`.
    names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
const DAY_OF_MONTH: Field = Field { name: "day of month", least: 1, most: 31, names: &[] };
const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// Both 0 and 7 are Sunday.
const DAY_OF_WEEK: Field =
    Field { name: "day of week", least: 0, most: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// 1 January 2026. A schedule without an instant after it has a day that never comes, such as 30 February.
const ANY_INSTANT: Timestamp = Timestamp::constant(1_767_225_600, 0);

impl Schedule {
    /// The first instant after `now`. `None`: after the year 2099.
    pub fn after(&self, now: Timestamp) -> Option<Timestamp> {
        let now = DateTime::<Utc>::from_timestamp(now.as_second(), 0)?;
        let next = self.parts.iter().filter_map(|part| part.after(&now).next()).min()?;
        Timestamp::from_second(next.timestamp()).ok()
    }
}

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let fields = match text.trim() {
            nickname if nickname.starts_with('@') => of_nickname(nickname)?,
            fields => fields,
        };
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            let what = format!("{text:?} has {} fields", fields.len());
            return Err(bad(what, "five: minute, hour, day of month, month, day of week, as in \"17 */6 * * *\""));
        };
        let [minutes, hours, months] =
            [numbers(&MINUTE, minute)?, numbers(&HOUR, hour)?, numbers(&MONTH, month)?].map(|set| list(&set));
        let (days, weekdays) = (list(&numbers(&DAY_OF_MONTH, day)?), weekdays(&numbers(&DAY_OF_WEEK, weekday)?));
        let every = |days: &str, weekdays: &str| format!("0 {minutes} {hours} {days} {months} {weekdays}");
        // crontab(5): "If both fields are restricted (i.e., do not contain the "*" character), the command will be run
        // when either field matches the current time."
        let texts = if day.starts_with('*') || weekday.starts_with('*') {
            vec![every(&days, &weekdays)]
        } else {
            vec![every(&days, "*"), every("*", &weekdays)]
        };
        let no = |error: cron::error::Error| bad(format!("{text:?} is no schedule: {error}"), "\"17 */6 * * *\"");
        let parts = texts.iter().map(|text| text.parse().map_err(no)).collect::<Result<_, _>>()?;
        let schedule = Self { written: text.trim().to_owned(), parts };
        if schedule.after(ANY_INSTANT).is_none() {
            return Err(bad(format!("{text:?} never comes: no such month has that day"), "a day that the month has"));
        }
        Ok(schedule)
    }
}

fn of_nickname(nickname: &str) -> Result<&'static str, BadSchedule> {
    if let Some((_, fields)) = NICKNAMES.iter().find(|(name, _)| *name == nickname) {
        return Ok(fields);
    }
    if nickname == "@reboot" {
        let what = "\"@reboot\" is no time: certd looks, and makes up for what was missed, whenever it starts";
        return Err(bad(what, "\"@hourly\", \"@daily\", or five fields"));
    }
    let names: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
    Err(bad(format!("{nickname:?} is no known schedule"), format!("one of {}, or five fields", names.join(", "))))
}

/// `*`, `*/n`, `a`, `a-b`, `a-b/n`, and lists of them.
fn numbers(field: &Field, text: &str) -> Result<BTreeSet<u32>, BadSchedule> {
    let mut set = BTreeSet::new();
    for item in text.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (field.least, field.most),
            Some((from, to)) => (number(field, from)?, last(field, to)?),
            None if step.is_some() => {
                let what = format!("{item:?} counts steps from one {}", field.name);
                return Err(bad(what, format!("\"*/…\", or a range: \"{range}-{}/…\"", field.most)));
            }
            None => (number(field, range)?, number(field, range)?),
        };
        if from > to {
            let (least, most) = (field.least, field.most);
            return Err(bad(
                format!("{range:?} ends before it begins"),
                format!("two ranges: \"{from}-{most},{least}-{to}\""),
            ));
        }
        let step = match step {
            None => 1,
            Some(step) => step.parse().ok().filter(|step| (1..=field.most).contains(step)).ok_or_else(|| {
                let what = format!("{step:?} is no step of a {}", field.name);
                bad(what, format!("a number from 1 to {}", field.most))
            })?,
        };
        set.extend((from..=to).step_by(step as usize));
    }
    Ok(set)
}

fn number(field: &Field, text: &str) -> Result<u32, BadSchedule> {
    let named = field.names.iter().position(|name| name.eq_ignore_ascii_case(text));
    let named = named.and_then(|place| u32::try_from(place).ok()).map(|place| place + field.least);
    let digits = || text.bytes().all(|byte| byte.is_ascii_digit());
    let number = named.or_else(|| text.parse().ok().filter(|_| digits()));
    number.filter(|number| (field.least..=field.most).contains(number)).ok_or_else(|| {
        let names = match field.names {
            [first, .., last] => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        let what = format!("{text:?} is no {}", field.name);
        bad(what, format!("a number from {} to {}{names}", field.least, field.most))
    })
}

/// The end of a range: `fri-sun` is five to seven.
fn last(field: &Field, text: &str) -> Result<u32, BadSchedule> {
    let number = number(field, text)?;
    Ok(if text.eq_ignore_ascii_case("sun") { field.most } else { number })
}

fn list(numbers: &BTreeSet<u32>) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// In the crate's numbers: Sunday is 1. All days are written `*`, which the crate requires to match by date alone.
fn weekdays(numbers: &BTreeSet<u32>) -> String {
    let days: BTreeSet<u32> = numbers.iter().map(|day| day % 7 + 1).collect();
    if days.len() == 7 { "*".to_owned() } else { list(&days) }
}

fn bad(what: impl Into<String>, write: impl Into<String>) -> BadSchedule {
    BadSchedule { what: what.into(), write: write.into() }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.written, f)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::Weekday;
    use jiff::tz::TimeZone;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(text: &str) -> Schedule {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The first `count` instants after noon of a Monday.
    fn first(text: &str, count: usize) -> Vec<String> {
        let mut now = at("2026-11-23T12:00:00Z");
        let next = |_| {
            now = schedule(text).after(now).unwrap();
            now.to_string().trim_end_matches(":00Z").to_owned()
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn every_six_hours_at_an_odd_minute() {
        assert_eq!(first("17 */6 * * *", 3), ["2026-11-23T12:17", "2026-11-23T18:17", "2026-11-24T00:17"]);
        assert_eq!(schedule("17 */6 * * *").after(at("2026-11-23T12:17:00Z")), Some(at("2026-11-23T18:17:00Z")));
        assert_eq!(schedule("17 */6 * * *").after(at("2026-11-23T12:16:59.5Z")), Some(at("2026-11-23T12:17:00Z")));
    }

    #[test]
    fn sunday_is_0_and_7_and_sun_and_monday_is_1() {
        for text in ["0 3 * * 0", "0 3 * * 7", "0 3 * * sun", "0 3 * * SUN"] {
            assert_eq!(first(text, 2), ["2026-11-29T03:00", "2026-12-06T03:00"], "{text}");
        }
        for text in ["0 3 * * 1", "0 3 * * mon", "0 3 * * Mon"] {
            assert_eq!(first(text, 1), ["2026-11-30T03:00"], "{text}");
        }
        assert_eq!(first("0 3 * * 5-7", 4)[..], first("0 3 * * fri-sun", 4)[..]);
        assert_eq!(first("0 3 * * 5-7", 3), ["2026-11-27T03:00", "2026-11-28T03:00", "2026-11-29T03:00"]);
        assert_eq!(first("0 3 * * sun-tue", 3), ["2026-11-24T03:00", "2026-11-29T03:00", "2026-11-30T03:00"]);
    }

    #[test]
    fn day_of_month_and_day_of_week_are_either_when_both_are_restricted_and_both_when_one_is_a_star() {
        assert_eq!(
            first("30 4 1,15 * 5", 4),
            ["2026-11-27T04:30", "2026-12-01T04:30", "2026-12-04T04:30", "2026-12-11T04:30"]
        );
        assert_eq!(first("30 4 15 * *", 1), ["2026-12-15T04:30"]);
        assert_eq!(first("30 4 * * 5", 1), ["2026-11-27T04:30"]);
        // crontab(5) looks at the star alone: of the odd days the Mondays.
        assert_eq!(first("30 4 */2 * 1", 2), ["2026-12-07T04:30", "2026-12-21T04:30"]);
    }

    #[test]
    fn k02_no_run_is_lost_or_doubled_where_the_clocks_change_since_it_is_utc() {
        for (day, count) in [("2027-03-28", 4), ("2026-10-25", 4), ("2027-03-14", 4)] {
            let (mut now, end) = (at(&format!("{day}T00:00:00Z")), at(&format!("{day}T23:59:59Z")));
            let mut runs = Vec::new();
            while let Some(next) = schedule("30 2-5 * * *").after(now).filter(|next| *next < end) {
                runs.push(next);
                now = next;
            }
            assert_eq!(runs.len(), count, "{day}: {runs:?}");
        }
    }

    #[test]
    fn the_29th_of_february_comes_in_leap_years() {
        assert_eq!(first("0 0 29 2 *", 2), ["2028-02-29T00:00", "2032-02-29T00:00"]);
        assert_eq!(first("0 0 31 * *", 3), ["2026-12-31T00:00", "2027-01-31T00:00", "2027-03-31T00:00"]);
    }

    #[test]
    fn the_nicknames_mean_what_crontab_says() {
        for (nickname, next) in [
            ("@hourly", "2026-11-23T13:00"),
            ("@daily", "2026-11-24T00:00"),
            ("@midnight", "2026-11-24T00:00"),
            ("@weekly", "2026-11-29T00:00"),
            ("@monthly", "2026-12-01T00:00"),
            ("@yearly", "2027-01-01T00:00"),
            ("@annually", "2027-01-01T00:00"),
        ] {
            assert_eq!(first(nickname, 1), [next], "{nickname}");
        }
    }

    #[test]
    fn every_instant_is_one_that_the_fields_name_and_none_is_left_out() {
        for text in ["*/7 1-3,22 * * *", "0 0 1-7 * 0", "5,50 */5 */9 jan-MAR,11 *", "59 23 31 12 *", "0 12 * 2 0-2,6"]
        {
            let schedule = schedule(text);
            let fields: Vec<&str> = text.split(' ').collect();
            let sets = [MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK];
            let sets: Vec<BTreeSet<u32>> = sets.iter().zip(&fields).map(|(f, t)| numbers(f, t).unwrap()).collect();
            let named = |now: Timestamp| {
                let now = now.to_zoned(TimeZone::UTC);
                let weekday = match now.weekday() {
                    Weekday::Sunday => [0, 7],
                    other => [other.to_sunday_zero_offset() as u32; 2],
                };
                let day = sets[2].contains(&(now.day() as u32));
                let week = weekday.iter().any(|day| sets[4].contains(day));
                let both = fields[2].starts_with('*') || fields[4].starts_with('*');
                sets[0].contains(&(now.minute() as u32))
                    && sets[1].contains(&(now.hour() as u32))
                    && sets[3].contains(&(now.month() as u32))
                    && if both { day && week } else { day || week }
            };
            let (mut next, end) = (schedule.after(at("2027-12-31T00:00:00Z")).unwrap(), at("2028-04-02T00:00:00Z"));
            let mut now = at("2027-12-31T00:01:00Z");
            while now < end {
                assert_eq!(named(now), now == next, "{text} at {now}");
                if now == next {
                    next = schedule.after(now).unwrap();
                }
                now += jiff::SignedDuration::from_mins(1);
            }
        }
    }

    #[test]
    fn an_invalid_schedule_is_refused_with_a_suggestion() {
        for (text, what) in [
            ("", "has 0 fields"),
            ("* * * *", "has 4 fields"),
            ("0 * * * * *", "has 6 fields"),
            ("60 * * * *", "\"60\" is no minute"),
            ("* 24 * * *", "\"24\" is no hour"),
            ("* * 0 * *", "\"0\" is no day of month"),
            ("* * * 13 *", "\"13\" is no month"),
            ("* * * * 8", "\"8\" is no day of week"),
            ("* * * foo *", "\"foo\" is no month"),
            ("+5 * * * *", "\"+5\" is no minute"),
            ("*/0 * * * *", "\"0\" is no step of a minute"),
            ("5/10 * * * *", "counts steps from one minute"),
            ("* 22-2 * * *", "ends before it begins"),
            ("1,,2 * * * *", "\"\" is no minute"),
            ("0 0 30 2 *", "never comes"),
            ("@reboot", "is no time"),
            ("@often", "is no known schedule"),
        ] {
            let error = text.parse::<Schedule>().expect_err(text);
            assert!(error.what.contains(what), "{text}: {error}");
            assert!(!error.write.is_empty(), "{text}");
        }
    }
}

//! `[run]`: when `certd run` makes a pass, and how often it checks.

use jiff::SignedDuration;

use super::defaults::{CHECK_AT_LEAST_EVERY, CHECK_AT_MOST_EVERY, CHECK_EVERY, SCHEDULE};
use super::error::ConfigErrors;
use super::schedule::Schedule;
use super::written::{Section, Spanned};

#[derive(Clone, Debug)]
pub struct Run {
    /// When passes start.
    pub schedule: Schedule,
    /// Interval of the checks of what nodes serve.
    pub check_every: SignedDuration,
}

pub(super) fn read(mut section: Section<'_>) -> Run {
    let errors = section.errors();
    let schedule = section.string("schedule").and_then(|text| schedule(&text, errors));
    let check_every = section.string("check_every").and_then(|text| check_every(&text, errors));
    section.finish();
    Run {
        schedule: schedule.unwrap_or_else(|| SCHEDULE.parse().expect("the default was tried")),
        check_every: check_every.unwrap_or(CHECK_EVERY),
    }
}

fn schedule(text: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Schedule> {
    text.value.parse().map_err(|bad: super::BadSchedule| errors.at(text, bad.what, bad.write)).ok()
}

fn check_every(text: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<SignedDuration> {
    let span = text.value.parse::<SignedDuration>().ok();
    let within = span.filter(|span| (CHECK_AT_MOST_EVERY..=CHECK_AT_LEAST_EVERY).contains(span));
    within.or_else(|| {
        let what = match span {
            None => format!("{:?} is no span of time", text.value),
            Some(_) => format!("{:?} is too short or too long", text.value),
        };
        errors.none(text, what, "a span from \"1s\" to \"24h\", such as \"5m\"")
    })
}

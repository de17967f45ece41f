//! Turns times, durations and reasons into sentences.

mod delivery;

use jiff::{SignedDuration, Timestamp, tz::Offset};
use serde::Serialize;

use crate::model::{Area, Finding};
use crate::plan::ledger::LimitReached;
use crate::plan::rollout::{Abort, Outcome};
use crate::plan::{Against, Basis, ClockDoubt, Obstacle, PassedOver, RenewalReason, RenewalWait};

use super::{Delivery, LastFailure, sudo};

pub use delivery::hold_end;
pub(super) use delivery::{cost, delivery, delivery_wait, drift, early};

/// Advice for a server that keeps an old certificate over QUIC alone.
pub(super) const RESTART: &str =
    "restart the server on the node: a reload changes nothing over QUIC until it is started anew (Caddy 2.6 is so)";

/// Advice where a server does not read one of two pairs.
pub(super) const READ_BOTH: &str = "once a delivery has put its files there, let the server read them beside the other pair \
                                    (nginx: `ssl_certificate` and `ssl_certificate_key` twice), and reload it";

/// Advice for a wrong clock.
pub const SET_THE_CLOCK: &str =
    "set it (timedatectl); until then nothing is renewed or delivered, and nothing is called expired";

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// `2026-11-23`, in UTC.
pub(super) fn day(at: Timestamp) -> String {
    Offset::UTC.to_datetime(at).date().to_string()
}

/// `2026-11-23 06:15 UTC`.
pub fn minute(at: Timestamp) -> String {
    let at = Offset::UTC.to_datetime(at);
    format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

/// The same for the end of a wait: rounded up, so that it is over at the printed time.
pub(super) fn from(at: Timestamp) -> String {
    minute(at.checked_add(SignedDuration::from_secs((-at.as_second()).rem_euclid(60))).unwrap_or(at))
}

/// `89 d`, `5 h`, `3 min`, `-2 d`: rounded towards zero, so that "1 d" is at least a day.
pub(super) fn span(span: SignedDuration) -> String {
    let seconds = span.as_secs();
    match seconds.abs() {
        s if s >= 2 * DAY => format!("{} d", seconds / DAY),
        s if s >= 2 * HOUR => format!("{} h", seconds / HOUR),
        s if s >= 60 => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// A short form, to follow a node's name.
pub(super) fn outcome_word(delivery: &Delivery) -> &'static str {
    match delivery {
        Delivery::Rehearsed { test: None } => "rehearsed",
        Delivery::Rehearsed { test: Some(_) } => "configuration test fails",
        Delivery::Ended(outcome) => match outcome {
            Outcome::Served => "served",
            Outcome::Failed { .. } => "not delivered",
            Outcome::Unknown { .. } => "lost after the commit",
            Outcome::RolledBack { .. } => "went back",
            Outcome::BrokenBefore { .. } => "broken before",
            Outcome::Placed { .. } => "server not running",
            Outcome::Unverified { .. } | Outcome::Absent { .. } => "not proven",
            Outcome::Undone { .. } => "went back after the reload",
            Outcome::Aborted { .. } => "not touched",
        },
    }
}

/// `in 89 d`, `24 h ago`.
pub(super) fn ends(at: Timestamp, now: Timestamp) -> String {
    let left = at.duration_since(now);
    if left.is_negative() { format!("{} ago", span(-left)) } else { format!("in {}", span(left)) }
}

/// `2027-02-21 (89 d)`.
pub(super) fn until(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", day(at), span(at.duration_since(now)))
}

pub(super) fn basis(basis: &Basis) -> String {
    match basis {
        Basis::Ari { start, end, explanation } => {
            let why =
                explanation.as_ref().map(|url| format!(", see {}", crate::text::escape(url, 200))).unwrap_or_default();
            format!("drawn within the CA's window {} to {}{why}", minute(*start), minute(*end))
        }
        Basis::Lifetime { left } => format!("1/{left} of the lifetime is left then"),
        Basis::Floor => "the CA's window is later than the last 1/20 of the lifetime".into(),
    }
}

pub(super) fn renewal(reason: &RenewalReason) -> String {
    match reason {
        RenewalReason::Resumed { begun_at, order_url: Some(url) } => {
            format!("an order begun {} is unfinished: {}", minute(*begun_at), crate::text::escape(url, 200))
        }
        RenewalReason::Resumed { begun_at, order_url: None } => {
            format!("an issuance begun {} did not come to its order", minute(*begun_at))
        }
        RenewalReason::Forced => "--force".into(),
        RenewalReason::Nothing => "the store has no certificate of this name".into(),
        RenewalReason::Revoked { at, code } => {
            format!("the stored certificate is revoked, or was given up, {} (reason {code} of RFC 5280)", minute(*at))
        }
        RenewalReason::NamesChanged { missing, extra } => {
            let list = |names: &[crate::cert::DnsName], sign| {
                names.iter().map(|name| format!(" {sign}{name}")).collect::<String>()
            };
            format!("the names changed:{}{}", list(missing, '+'), list(extra, '-'))
        }
        RenewalReason::KeyTypeChanged { from, to } => {
            format!("the key type changed from {} to {}", from.as_str(), to.as_str())
        }
        RenewalReason::ProfileChanged { from, to } => {
            let show = |profile: &Option<String>| profile.clone().unwrap_or_else(|| "none".into());
            format!("the profile changed from {} to {}", show(from), show(to))
        }
        RenewalReason::Together { with, not_after } => {
            format!("together with {with}, which has the same names; expires {}", minute(*not_after))
        }
        RenewalReason::Due { at, not_after, basis: why } => {
            format!("due since {} ({}); expires {}", minute(*at), basis(why), minute(*not_after))
        }
    }
}

pub(super) fn renewal_wait(reason: &RenewalWait) -> String {
    match reason {
        RenewalWait::NotDue { at, not_after, basis: why, ask_again: _ } => {
            format!("not due until {} ({}); expires {}", from(*at), basis(why), minute(*not_after))
        }
        RenewalWait::BackOff { ca, until, failures, failure, by_the_ca, passed_over, .. } => format!(
            "due, but {}{}; next try {}{}: {}{}",
            failed(*failures),
            at_ca(ca, passed_over),
            from(*until),
            match by_the_ca {
                true if failure.code.area() == Area::Ca => ", as the CA asked",
                true => ", as it asked",
                false => ", or now with --force",
            },
            what(failure),
            all_passed_over(passed_over)
        ),
        RenewalWait::Ledger { ca, full, passed_over, .. } => {
            let (full, at) = (full_words(full), at_ca(ca, passed_over));
            format!("{full}{at}; --force does not override this{}{}", instead(reason), all_passed_over(passed_over))
        }
        RenewalWait::IssuedNow => "this pass has issued one already; the next pass looks again".into(),
        RenewalWait::MayNotIssue { stored: true } => "this command delivers and does not issue".into(),
        RenewalWait::MayNotIssue { stored: false } => "nothing is stored yet: `certd renew` issues it".into(),
    }
}

fn failed(failures: u32) -> String {
    format!("{failures} {} failed", if failures == 1 { "attempt" } else { "attempts in a row" })
}

/// Names the CA if several are in question.
fn at_ca(ca: &str, others: &[PassedOver]) -> String {
    if others.is_empty() { String::new() } else { format!(" at {ca}") }
}

fn all_passed_over(others: &[PassedOver]) -> String {
    others.iter().map(|other| format!("; {}", passed_over(other))).collect()
}

/// Why a CA is not asked now.
pub(super) fn passed_over(passed: &PassedOver) -> String {
    let PassedOver { ca, until, why } = passed;
    match why {
        Obstacle::BackOff { failures, failure, .. } => {
            format!("{ca} is not asked before {}, since {}: {}", from(*until), failed(*failures), what(failure))
        }
        Obstacle::Ledger { full } => format!("{ca} is not asked: {}", full_words(full)),
    }
}

fn full_words(full: &LimitReached) -> String {
    match full {
        LimitReached::Certificates { used, room, until } => format!(
            "the ledger is full: {used} certificates for these names within 7 days, {room} allowed; \
             the next one {}",
            from(*until)
        ),
        LimitReached::Replacements { used, room, until } => format!(
            "the ledger is full: {used} replacements within a day that the CA asked for, {room} allowed; \
             the next one {}",
            from(*until)
        ),
        LimitReached::Account { used, room, until } => format!(
            "the ledger is full: {used} orders of this account within 3 hours, {room} allowed; the next one {}",
            from(*until)
        ),
        LimitReached::Authorizations { name, failed, until } => {
            format!("{failed} authorizations of {name} failed within an hour; the next one {}", from(*until))
        }
        LimitReached::ByTheCa { until } => {
            format!("the CA answered 429 (too many requests): none before {}", from(*until))
        }
    }
}

/// What helps sooner than waiting. A CA's limits cannot be overridden, only avoided.
fn instead(wait: &RenewalWait) -> &'static str {
    match wait {
        RenewalWait::Ledger { full: LimitReached::Certificates { .. }, .. } => {
            ". Sooner: another CA (`[[acme.fallback]]`) or another set of names, which has its own limit"
        }
        RenewalWait::Ledger { full: LimitReached::Account { .. } | LimitReached::ByTheCa { .. }, .. } => {
            ". Sooner: another CA (`[[acme.fallback]]`)"
        }
        _ => "",
    }
}

/// `this machine's clock says 2036-…, …: …`.
pub fn clock(doubt: &ClockDoubt) -> String {
    let instant = minute(doubt.instant);
    let against = match doubt.against {
        Against::Program => format!("certd was written after {instant}"),
        Against::Certificate => format!("a stored certificate begins {instant}"),
        Against::Seen => format!("it was later already, {instant}"),
        Against::LongSince => format!("certd last ran {instant}, more than a year before"),
        Against::Ca => format!("the CA's says {instant}"),
    };
    format!("this machine's clock says {}, which cannot be right: {against}", minute(doubt.now))
}

/// The outcome at a node, with advice.
pub fn outcome(outcome: &Outcome) -> (String, Option<String>) {
    match outcome {
        Outcome::Served => ("delivered, reloaded and proven by handshake".into(), None),
        Outcome::Failed { failure } => (format!("nothing was changed: {}", what(failure)), Some(failure.next.clone())),
        Outcome::Unknown { failure } => (
            format!("the connection ended after the commit: {}", what(failure)),
            Some("the next pass reads the node again and finishes or undoes it".into()),
        ),
        Outcome::RolledBack { output } => (
            format!("the node refused the new certificate and went back: {output}"),
            Some("its test or reload accepts the former certificate but not this one: fix what it reports, then run `certd deploy`".into()),
        ),
        Outcome::BrokenBefore { output } => (
            format!("unchanged: its configuration test fails without our change: {output}"),
            Some(sudo::advice_or(output, "fix the server's configuration on the node; the next pass delivers")),
        ),
        Outcome::Placed { output } => (
            match sudo::advice(output) {
                Some(_) => format!("the files are in place, and nothing was reloaded: {output}"),
                None => format!("the files are in place, the server does not run: {output}"),
            },
            Some(sudo::advice_or(output, "start the server; certd does not start what was stopped")),
        ),
        Outcome::Unverified { why, over_quic: true } => {
            (format!("proven by handshake over TCP; {why}"), Some(RESTART.into()))
        }
        Outcome::Unverified { why, over_quic: false } => (
            format!("its files are in place, but no handshake proves it: {why}"),
            Some("is the TLS port open to this machine? does the server read the configured paths?".into()),
        ),
        Outcome::Absent { why } => {
            (format!("its files are in place, and the server does not read them: {why}"), Some(READ_BOTH.into()))
        }
        Outcome::Undone { why, not_back, serves } => {
            let back = match not_back {
                None if *serves => "went back, and serves the former certificate".to_owned(),
                None => "went back, and does not serve".to_owned(),
                Some(failure) => format!("could not go back: {}", what(failure)),
            };
            (format!("{why} after the reload; {back}"), Some("does the server read the configured paths?".into()))
        }
        Outcome::Aborted { why: Abort::OursAt(node) } => {
            (format!("not touched, since {node} refused the new certificate"), None)
        }
        Outcome::Aborted { why: Abort::Interrupted } => ("not touched: interrupted".into(), None),
    }
}

/// `3 deliveries failed since 2026-11-23 06:15 UTC, next try 2026-11-23 12:15 UTC: the cause`.
pub(super) fn last_failure(last: &LastFailure) -> String {
    let since = last.since.map(|since| format!(" since {}", minute(since))).unwrap_or_default();
    let next_try = last.next_try.map(|at| format!(", next try {}", from(at))).unwrap_or_default();
    let failed = match last.attempts {
        1 => format!("its last delivery failed{since}"),
        attempts => format!("{attempts} deliveries failed{since}"),
    };
    format!("{failed}{next_try}: {}", what(&last.failure))
}

/// The word that serde writes for a value's variant, at `key`.
pub(super) fn tag(value: &impl Serialize, key: &str) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json[key].as_str().unwrap_or_default().to_owned()
}

/// Without the object, which is printed elsewhere.
pub(super) fn what(failure: &Finding) -> &str {
    let named = failure.what.strip_prefix(&failure.object).and_then(|rest| rest.strip_prefix(": "));
    named.unwrap_or(&failure.what)
}

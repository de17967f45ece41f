//! What came of a delivery to a node, in words.

use crate::plan::rollout::{Abort, Outcome};

use super::words::{READ_BOTH, what};
use super::{Delivery, not_asked};

/// Advice for a server that keeps an old certificate over QUIC alone.
pub(super) const RESTART: &str =
    "restart the server on the node: a reload changes nothing over QUIC until it is started anew (Caddy 2.6 is so)";

/// Advice for a reload command that fails while the server serves.
const RELOAD: &str = "run the command on the node by hand, without a terminal: no shell reads it, so that `&&`, `|` and `;` are words \
                      like others there (a script can have them); then run `certd deploy`";

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
            Outcome::ReloadFails { .. } => "reload fails",
            Outcome::Unverified { .. } | Outcome::Absent { .. } => "not proven",
            Outcome::Undone { .. } => "went back after the reload",
            Outcome::Aborted { .. } => "not touched",
        },
    }
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
            Some(not_asked::advice_or(output, "fix the server's configuration on the node; the next pass delivers")),
        ),
        Outcome::Placed { output } => (
            match not_asked::advice(output) {
                Some(_) => format!("the files are in place, and nothing was reloaded: {output}"),
                None => format!("the files are in place, the server does not run: {output}"),
            },
            Some(not_asked::advice_or(output, "start the server; certd does not start what was stopped")),
        ),
        Outcome::ReloadFails { output } => (
            format!("the files are in place, its reload command fails, and the server runs: {output}"),
            Some(not_asked::advice_or(output, RELOAD)),
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

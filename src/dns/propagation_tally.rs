//! The tally of a TXT record's propagation: the last answer of each server, and whether they suffice. These are the rules of
//! [`super::propagation`], without the network.

#[cfg(test)]
mod tests;

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RData;

use super::Server;
use super::error::Lagging;
use super::wire::Question;
use crate::config::SilentServers;

/// One address of one authoritative server, or one DoH server.
#[derive(Clone, Debug)]
pub(super) struct ServerState {
    server: usize,
    pub(super) label: String,
    pub(super) answer: Answer,
    /// Its address is one that the internet does not have.
    internal: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This machine has no route to the address.
    NoRoute,
    /// The server has no address, for this reason.
    NoAddress(String),
    /// No usable answer yet, for this reason.
    NoneUsable(String),
    /// An answer that lacks the values.
    Incomplete,
    /// An answer with some of the values.
    Fewer {
        shown: usize,
        of: usize,
    },
    /// A DoH server shows no record. `may_be_cached`: it was asked before the record was made.
    Absent {
        may_be_cached: bool,
    },
    Complete,
}

/// One state for each address of the authoritative servers, and one without an address for a server that has none.
pub(super) fn initial_states(servers: &[Server]) -> Vec<(Option<SocketAddr>, ServerState)> {
    let mut states = Vec::new();
    for (server, Server { name, addresses, missing }) in servers.iter().enumerate() {
        for address in addresses {
            let label = if *name == address.to_string() { name.clone() } else { format!("{name} ({address})") };
            states.push((
                Some(*address),
                ServerState {
                    server,
                    label,
                    answer: Answer::NoneUsable("not asked yet".to_owned()),
                    internal: is_internal(address.ip()),
                },
            ));
        }
        if addresses.is_empty() {
            let why = missing.clone().unwrap_or_default();
            let state = ServerState { server, label: name.clone(), answer: Answer::NoAddress(why), internal: false };
            states.push((None, state));
        }
    }
    states
}

pub(super) fn doh_state(server: usize, url: &str) -> ServerState {
    let answer = Answer::NoneUsable("not asked yet".to_owned());
    ServerState { server, label: url.to_owned(), answer, internal: false }
}

/// Judges an authoritative server's answer; one without authority is unusable.
pub(super) fn judge(answer: &Message, question: &Question, values: &BTreeSet<String>) -> Answer {
    if !answer.metadata.authoritative && is_answer(answer) {
        return Answer::NoneUsable("answers without authority".to_owned());
    }
    match texts(answer, question) {
        Ok(texts) => lacks(&texts, values),
        Err(code) => Answer::NoneUsable(code),
    }
}

fn lacks(texts: &BTreeSet<String>, values: &BTreeSet<String>) -> Answer {
    match values.intersection(texts).count() {
        shown if shown == values.len() => Answer::Complete,
        0 => Answer::Incomplete,
        shown => Answer::Fewer { shown, of: values.len() },
    }
}

/// Judges a resolver's answer.
pub(super) fn judge_doh(
    answer: &Message,
    question: &Question,
    values: &BTreeSet<String>,
    may_be_cached: bool,
) -> Answer {
    match texts(answer, question) {
        Ok(texts) if texts.is_empty() => Answer::Absent { may_be_cached },
        Ok(texts) => lacks(&texts, values),
        Err(code) => Answer::NoneUsable(code),
    }
}

pub(super) fn is_answer(answer: &Message) -> bool {
    matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

pub(super) fn texts(answer: &Message, question: &Question) -> Result<BTreeSet<String>, String> {
    if !is_answer(answer) {
        return Err(answer.metadata.response_code.to_string());
    }
    let texts = answer.answers.iter().filter(|record| record.name == question.name).filter_map(|record| {
        let RData::TXT(txt) = &record.data else { return None };
        String::from_utf8(txt.txt_data.concat()).ok()
    });
    Ok(texts.collect())
}

/// An address that has answered and then falls silent still counts as answering.
pub(super) fn updated(before: &Answer, now: Answer) -> Answer {
    match (before, now) {
        (Answer::Incomplete | Answer::Fewer { .. }, Answer::NoneUsable(_) | Answer::NoRoute) => before.clone(),
        (_, now) => now,
    }
}

pub(super) fn propagated(states: &[ServerState], patient: bool, policy: SilentServers) -> bool {
    let passed = |state: &ServerState| match &state.answer {
        Answer::Complete => true,
        Answer::Incomplete | Answer::Fewer { .. } | Answer::Absent { .. } => false,
        Answer::NoAddress(_) => policy == SilentServers::PassOver,
        Answer::NoneUsable(_) | Answer::NoRoute if is_silent(state, states) => {
            !patient && policy == SilentServers::PassOver
        }
        Answer::NoneUsable(_) | Answer::NoRoute => true,
    };
    states.iter().all(passed) && states.iter().any(|state| state.answer == Answer::Complete)
}

/// Ready when a server shows every value and none shows other values. An absent record proves nothing while a negative
/// answer may be cached; where our own first query may have caused it, it is waited for until `patient` ends.
pub(super) fn propagated_by_doh(states: &[ServerState], patient: bool) -> bool {
    let passed = |state: &ServerState| match &state.answer {
        Answer::Complete | Answer::Absent { may_be_cached: true } => true,
        Answer::Incomplete | Answer::Fewer { .. } => false,
        _ => !patient,
    };
    states.iter().all(passed) && states.iter().any(|state| state.answer == Answer::Complete)
}

pub(super) fn all_silent(states: &[ServerState]) -> bool {
    states.iter().all(|state| is_silent(state, states))
}

/// No usable answer came from this address. One without a route counts only if no other address of its server has one.
pub(super) fn is_silent(state: &ServerState, states: &[ServerState]) -> bool {
    match state.answer {
        Answer::Complete | Answer::Incomplete | Answer::Fewer { .. } | Answer::Absent { .. } => false,
        Answer::NoneUsable(_) | Answer::NoAddress(_) => true,
        Answer::NoRoute => !states.iter().any(|other| other.server == state.server && other.answer != Answer::NoRoute),
    }
}

/// Nothing is known but that a resolver has no record, perhaps from its cache.
pub(super) fn only_cached_absence(states: &[ServerState]) -> bool {
    let absent = |state: &ServerState| state.answer == Answer::Absent { may_be_cached: true };
    states.iter().any(absent) && states.iter().all(|state| absent(state) || is_silent(state, states))
}

pub(super) fn waited_for(states: &[ServerState]) -> String {
    lacking(states).join(", ")
}

/// The servers that do not show all values, with the reason where it is known.
pub(super) fn lacking(states: &[ServerState]) -> Vec<String> {
    let lacking = states.iter().filter_map(|state| match &state.answer {
        Answer::Complete => None,
        Answer::Incomplete => Some(state.label.clone()),
        Answer::Fewer { shown, of } => Some(format!("{}: shows {shown} of {of} values", state.label)),
        Answer::Absent { may_be_cached: false } => Some(format!("{}: shows nothing", state.label)),
        Answer::Absent { may_be_cached: true } => Some(format!("{}: shows nothing (perhaps from memory)", state.label)),
        Answer::NoneUsable(why) | Answer::NoAddress(why) => Some(format!("{}: {why}", state.label)),
        Answer::NoRoute => is_silent(state, states).then(|| format!("{}: no route", state.label)),
    });
    lacking.collect()
}

pub(super) fn lagging(states: &[ServerState]) -> Lagging {
    let fewer = |state: &&ServerState| matches!(state.answer, Answer::Fewer { .. });
    let lags =
        |state: &&ServerState| fewer(state) || matches!(state.answer, Answer::Incomplete | Answer::Absent { .. });
    let answered = |state: &&ServerState| !is_silent(state, states);
    if states.iter().any(|state| fewer(&state)) && states.iter().filter(answered).all(|state| fewer(&state)) {
        Lagging::Fewer
    } else if states.iter().filter(lags).any(|state| state.internal) {
        Lagging::Internal
    } else if states.iter().any(|state| state.answer == Answer::Complete) {
        Lagging::Some
    } else {
        Lagging::All
    }
}

/// RFC 1918, RFC 6598, RFC 4193, loopback and link-local addresses.
fn is_internal(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            shared || v4.is_private() || v4.is_loopback() || v4.is_link_local()
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// The servers that were not waited for.
pub(super) fn passed_over(states: &[ServerState]) -> Vec<String> {
    states.iter().filter(|state| is_silent(state, states)).map(|state| state.label.clone()).collect()
}

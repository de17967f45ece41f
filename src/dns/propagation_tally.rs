//! The tally of a TXT record's propagation: the last answer of each server, and whether they suffice. These are the rules of
//! [`super::propagation`], without the network.

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
    /// An answer that lacks some of the values.
    Incomplete,
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
        Ok(texts) if values.is_subset(&texts) => Answer::Complete,
        Ok(_) => Answer::Incomplete,
        Err(code) => Answer::NoneUsable(code),
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
        Ok(texts) if values.is_subset(&texts) => Answer::Complete,
        Ok(texts) if texts.is_empty() => Answer::Absent { may_be_cached },
        Ok(_) => Answer::Incomplete,
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
        (Answer::Incomplete, Answer::NoneUsable(_) | Answer::NoRoute) => Answer::Incomplete,
        (_, now) => now,
    }
}

pub(super) fn propagated(states: &[ServerState], patient: bool, policy: SilentServers) -> bool {
    let passed = |state: &ServerState| match &state.answer {
        Answer::Complete => true,
        Answer::Incomplete | Answer::Absent { .. } => false,
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
        Answer::Incomplete => false,
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
        Answer::Complete | Answer::Incomplete | Answer::Absent { .. } => false,
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
        Answer::Absent { may_be_cached: false } => Some(format!("{}: shows nothing", state.label)),
        Answer::Absent { may_be_cached: true } => Some(format!("{}: shows nothing (perhaps from memory)", state.label)),
        Answer::NoneUsable(why) | Answer::NoAddress(why) => Some(format!("{}: {why}", state.label)),
        Answer::NoRoute => is_silent(state, states).then(|| format!("{}: no route", state.label)),
    });
    lacking.collect()
}

pub(super) fn lagging(states: &[ServerState]) -> Lagging {
    let lags = |state: &&ServerState| matches!(state.answer, Answer::Incomplete | Answer::Absent { .. });
    if states.iter().filter(lags).any(|state| state.internal) {
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

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::rdata::TXT;
    use hickory_proto::rr::{Name, Record, RecordType};

    use super::*;

    /// One server for each answer.
    fn states(answers: &[Answer]) -> Vec<ServerState> {
        let state = |(n, answer): (usize, &Answer)| ServerState {
            server: n,
            label: format!("ns{n}"),
            answer: answer.clone(),
            internal: false,
        };
        answers.iter().enumerate().map(state).collect()
    }

    fn nothing() -> Answer {
        Answer::NoneUsable("no answer".to_owned())
    }

    const PASS: SilentServers = SilentServers::PassOver;

    #[test]
    fn d01_a_server_that_lags_is_waited_for_however_long() {
        assert!(!propagated(&states(&[Answer::Complete, Answer::Incomplete]), true, PASS));
        assert!(!propagated(&states(&[Answer::Complete, Answer::Incomplete]), false, PASS));
        assert!(propagated(&states(&[Answer::Complete, Answer::Complete]), true, PASS));
    }

    #[test]
    fn d02_a_server_that_never_answers_is_passed_over_once_the_others_agree() {
        assert!(!propagated(&states(&[Answer::Complete, nothing()]), true, PASS));
        assert!(propagated(&states(&[Answer::Complete, nothing()]), false, PASS));
        assert!(!propagated(&states(&[nothing(), nothing()]), false, PASS));
    }

    #[test]
    fn d02_a_server_that_never_answers_is_waited_for_where_the_configuration_asks_for_it() {
        for silent in [nothing(), Answer::NoRoute, Answer::NoAddress("it has no address".to_owned())] {
            assert!(!propagated(&states(&[Answer::Complete, silent]), false, SilentServers::Wait));
        }
        assert!(propagated(&states(&[Answer::Complete, Answer::Complete]), true, SilentServers::Wait));
    }

    #[test]
    fn d02_a_server_that_fell_silent_after_an_answer_is_still_waited_for() {
        assert_eq!(updated(&Answer::Incomplete, nothing()), Answer::Incomplete);
    }

    #[test]
    fn a_server_without_an_address_holds_nothing_up_and_is_named() {
        let states = states(&[Answer::Complete, Answer::NoAddress("it has no address".to_owned())]);
        assert!(propagated(&states, true, PASS));
        assert_eq!(passed_over(&states), ["ns1"]);
        assert_eq!(waited_for(&states), "ns1: it has no address");
    }

    #[test]
    fn d13_an_address_without_a_route_holds_nothing_up_when_its_server_has_another() {
        let mut states = states(&[Answer::Complete, Answer::NoRoute]);
        assert!(!propagated(&states, true, PASS));
        assert!(propagated(&states, false, PASS));
        states[1].server = 0;
        assert!(propagated(&states, true, PASS));
        assert_eq!(waited_for(&states), "");
    }

    #[test]
    fn d03_a_cached_absence_does_not_outvote_a_resolver_that_shows_the_record() {
        let absent = |may_be_cached| Answer::Absent { may_be_cached };
        assert!(propagated_by_doh(&states(&[Answer::Complete, absent(true)]), true));
        assert!(!propagated_by_doh(&states(&[Answer::Complete, absent(false)]), true));
        assert!(propagated_by_doh(&states(&[Answer::Complete, absent(false)]), false));
        assert!(!propagated_by_doh(&states(&[absent(true), absent(false)]), false));
    }

    #[test]
    fn a_cached_absence_is_distinguished_from_one_that_is_sure_and_from_silence() {
        let absent = |may_be_cached| Answer::Absent { may_be_cached };
        assert!(only_cached_absence(&states(&[absent(true), nothing()])));
        for others in [&[absent(true), absent(false)][..], &[absent(true), Answer::Incomplete], &[nothing()], &[]] {
            assert!(!only_cached_absence(&states(others)), "{others:?}");
        }
    }

    #[test]
    fn d12_a_resolver_that_shows_other_values_is_waited_for_and_a_silent_one_is_not() {
        assert!(!propagated_by_doh(&states(&[Answer::Complete, Answer::Incomplete]), false));
        assert!(!propagated_by_doh(&states(&[Answer::Complete, nothing()]), true));
        assert!(propagated_by_doh(&states(&[Answer::Complete, nothing()]), false));
        assert!(!propagated_by_doh(&states(&[nothing(), nothing()]), false));
    }

    #[test]
    fn a_server_of_this_network_that_lags_is_distinguished_from_a_public_one() {
        let mut states = states(&[Answer::Complete, Answer::Incomplete, nothing()]);
        assert_eq!(lagging(&states), Lagging::Some);
        states[2].internal = true;
        assert_eq!(lagging(&states), Lagging::Some, "it is silent, and not waited for");
        states[1].internal = true;
        assert_eq!(lagging(&states), Lagging::Internal);
        assert_eq!(lagging(&self::states(&[Answer::Incomplete, nothing()])), Lagging::All);
        for internal in
            ["10.0.0.53", "172.31.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "fd00::53", "fe80::1"]
        {
            assert!(is_internal(internal.parse().unwrap()), "{internal}");
        }
        for public in ["192.0.2.53", "100.128.0.1", "172.32.0.1", "2001:db8::53"] {
            assert!(!is_internal(public.parse().unwrap()), "{public}");
        }
    }

    const NAME: &str = "_acme-challenge.example.com.";

    fn question() -> Question {
        Question { name: Name::from_ascii(NAME).unwrap(), kind: RecordType::TXT, recursion: false }
    }

    fn answer(code: ResponseCode, texts: &[(&str, &str)]) -> Message {
        let mut answer = Message::new(0, MessageType::Response, OpCode::Query);
        answer.metadata.response_code = code;
        answer.metadata.authoritative = true;
        for (name, text) in texts {
            let name = Name::from_ascii(name).unwrap();
            answer.add_answer(Record::from_rdata(name, 1, RData::TXT(TXT::new(vec![(*text).to_owned()]))));
        }
        answer
    }

    fn judged(answer: &Message) -> Answer {
        judge(answer, &question(), &BTreeSet::from(["ours".to_owned(), "too".to_owned()]))
    }

    #[test]
    fn d02_d15_an_answer_without_authority_or_a_refusal_is_unusable() {
        let mut lame = answer(ResponseCode::NoError, &[(NAME, "ours"), (NAME, "too")]);
        lame.metadata.authoritative = false;
        assert_eq!(judged(&lame), Answer::NoneUsable("answers without authority".to_owned()));
        for (code, words) in [(ResponseCode::Refused, "Query Refused"), (ResponseCode::ServFail, "Server Failure")] {
            let mut refusal = answer(code, &[]);
            refusal.metadata.authoritative = false;
            assert_eq!(judged(&refusal), Answer::NoneUsable(words.to_owned()));
        }
    }

    #[test]
    fn d09_a_wildcard_above_is_no_record_of_ours() {
        assert_eq!(judged(&answer(ResponseCode::NoError, &[(NAME, "of the wildcard")])), Answer::Incomplete);
        assert_eq!(
            judged(&answer(ResponseCode::NoError, &[(NAME, "ours"), (NAME, "too"), (NAME, "more")])),
            Answer::Complete
        );
        assert_eq!(judged(&answer(ResponseCode::NXDomain, &[])), Answer::Incomplete);
    }

    #[test]
    fn d14_an_answer_in_another_case_is_an_answer_and_one_at_another_name_is_none() {
        let mixed = "_AcMe-ChAlLeNgE.eXample.COM.";
        assert_eq!(judged(&answer(ResponseCode::NoError, &[(mixed, "ours"), (mixed, "too")])), Answer::Complete);
        let other = "_acme-challenge.example.com.example.com.";
        assert_eq!(judged(&answer(ResponseCode::NoError, &[(other, "ours"), (other, "too")])), Answer::Incomplete);
    }

    #[test]
    fn d12_a_resolver_that_shows_no_record_is_distinguished_from_one_that_shows_others() {
        let values = BTreeSet::from(["ours".to_owned()]);
        let judged = |answer: &Message| judge_doh(answer, &question(), &values, true);
        assert_eq!(judged(&answer(ResponseCode::NXDomain, &[])), Answer::Absent { may_be_cached: true });
        assert_eq!(judged(&answer(ResponseCode::NoError, &[(NAME, "old")])), Answer::Incomplete);
        assert_eq!(judged(&answer(ResponseCode::NoError, &[(NAME, "old"), (NAME, "ours")])), Answer::Complete);
        assert_eq!(judged(&answer(ResponseCode::ServFail, &[])), Answer::NoneUsable("Server Failure".to_owned()));
    }
}

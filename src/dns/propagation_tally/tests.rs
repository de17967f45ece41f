//! When a record counts as seen, and what is said of those that do not show it.

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

#[test]
fn a_name_that_takes_fewer_values_than_it_needs_is_distinguished_from_servers_that_lag() {
    let fewer = || Answer::Fewer { shown: 2, of: 3 };
    assert_eq!(lagging(&states(&[fewer(), fewer(), nothing()])), Lagging::Fewer);
    assert_eq!(lagging(&states(&[fewer(), Answer::Incomplete])), Lagging::All);
    assert_eq!(lagging(&states(&[fewer(), Answer::Complete])), Lagging::Some, "the other has all");
    assert_eq!(waited_for(&states(&[fewer()])), "ns0: shows 2 of 3 values");
    assert!(!propagated(&states(&[fewer(), Answer::Complete]), false, PASS));
    assert_eq!(updated(&fewer(), nothing()), fewer());
    assert_eq!(judged(&answer(ResponseCode::NoError, &[(NAME, "ours")])), Answer::Fewer { shown: 1, of: 2 });
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

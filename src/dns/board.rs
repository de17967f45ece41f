//! What each server said last, and whether that is enough: the rules of [`super::propagation`], without the network.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RData;

use super::Server;
use super::wire::Question;
use crate::config::SilentServers;

/// One address of one authoritative server, or one DoH server.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    server: usize,
    pub(super) label: String,
    pub(super) said: Said,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// This machine cannot even send there.
    NoRoute,
    /// The server has no address; why.
    NoAddress(String),
    /// Nothing that counts, ever; why.
    Nothing(String),
    /// An answer without all values.
    Less,
    /// A DoH server shows nothing at all. `remembers`: it was asked before the record was made.
    Absent {
        remembers: bool,
    },
    All,
}

/// The authoritative servers, each address with a seat. One that has none has a seat without one.
pub(super) fn seats(servers: &[Server]) -> Vec<(Option<SocketAddr>, Seat)> {
    let mut seats = Vec::new();
    for (server, Server { name, addresses, missing }) in servers.iter().enumerate() {
        for address in addresses {
            let label = if *name == address.to_string() { name.clone() } else { format!("{name} ({address})") };
            seats.push((Some(*address), Seat { server, label, said: Said::Nothing("not asked yet".to_owned()) }));
        }
        if addresses.is_empty() {
            let why = missing.clone().unwrap_or_default();
            seats.push((None, Seat { server, label: name.clone(), said: Said::NoAddress(why) }));
        }
    }
    seats
}

pub(super) fn doh_seat(server: usize, url: &str) -> Seat {
    Seat { server, label: url.to_owned(), said: Said::Nothing("not asked yet".to_owned()) }
}

/// What an authoritative server's answer says: without authority it says nothing.
pub(super) fn judge(answer: &Message, question: &Question, values: &BTreeSet<String>) -> Said {
    if !answer.metadata.authoritative && is_answer(answer) {
        return Said::Nothing("answers without authority".to_owned());
    }
    match texts(answer, question) {
        Ok(texts) if values.is_subset(&texts) => Said::All,
        Ok(_) => Said::Less,
        Err(code) => Said::Nothing(code),
    }
}

/// What a resolver's answer says.
pub(super) fn judge_doh(answer: &Message, question: &Question, values: &BTreeSet<String>, remembers: bool) -> Said {
    match texts(answer, question) {
        Ok(texts) if values.is_subset(&texts) => Said::All,
        Ok(texts) if texts.is_empty() => Said::Absent { remembers },
        Ok(_) => Said::Less,
        Err(code) => Said::Nothing(code),
    }
}

fn is_answer(answer: &Message) -> bool {
    matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

fn texts(answer: &Message, question: &Question) -> Result<BTreeSet<String>, String> {
    if !is_answer(answer) {
        return Err(answer.metadata.response_code.to_string());
    }
    let texts = answer.answers.iter().filter(|record| record.name == question.name).filter_map(|record| {
        let RData::TXT(txt) = &record.data else { return None };
        String::from_utf8(txt.txt_data.concat()).ok()
    });
    Ok(texts.collect())
}

/// An address that answered once and falls silent is still one that answers.
pub(super) fn heard(before: &Said, now: Said) -> Said {
    match (before, now) {
        (Said::Less, Said::Nothing(_) | Said::NoRoute) => Said::Less,
        (_, now) => now,
    }
}

pub(super) fn settled(board: &[Seat], patient: bool, policy: SilentServers) -> bool {
    let passed = |seat: &Seat| match &seat.said {
        Said::All => true,
        Said::Less | Said::Absent { .. } => false,
        Said::NoAddress(_) => policy == SilentServers::PassOver,
        Said::Nothing(_) | Said::NoRoute if is_silent(seat, board) => !patient && policy == SilentServers::PassOver,
        Said::Nothing(_) | Said::NoRoute => true,
    };
    board.iter().all(passed) && board.iter().any(|seat| seat.said == Said::All)
}

/// One shows all, and none shows others. That it is absent says nothing where the server remembers from before, and where
/// it may remember our own first look not for ever.
pub(super) fn settled_by_doh(board: &[Seat], patient: bool) -> bool {
    let passed = |seat: &Seat| match &seat.said {
        Said::All | Said::Absent { remembers: true } => true,
        Said::Less => false,
        _ => !patient,
    };
    board.iter().all(passed) && board.iter().any(|seat| seat.said == Said::All)
}

pub(super) fn all_silent(board: &[Seat]) -> bool {
    board.iter().all(|seat| is_silent(seat, board))
}

/// Nothing that counts came from there, and no other address speaks for the same server.
pub(super) fn is_silent(seat: &Seat, board: &[Seat]) -> bool {
    match seat.said {
        Said::All | Said::Less | Said::Absent { .. } => false,
        Said::Nothing(_) | Said::NoAddress(_) => true,
        Said::NoRoute => !board.iter().any(|other| other.server == seat.server && other.said != Said::NoRoute),
    }
}

pub(super) fn waited_for(board: &[Seat]) -> String {
    lacking(board).join(", ")
}

/// Who does not show all values, and what is known of the reason.
pub(super) fn lacking(board: &[Seat]) -> Vec<String> {
    let lacking = board.iter().filter_map(|seat| match &seat.said {
        Said::All => None,
        Said::Less => Some(seat.label.clone()),
        Said::Absent { remembers: false } => Some(format!("{}: shows nothing", seat.label)),
        Said::Absent { remembers: true } => Some(format!("{}: shows nothing (perhaps from memory)", seat.label)),
        Said::Nothing(why) | Said::NoAddress(why) => Some(format!("{}: {why}", seat.label)),
        Said::NoRoute => is_silent(seat, board).then(|| format!("{}: no route", seat.label)),
    });
    lacking.collect()
}

/// Who was not waited for any more.
pub(super) fn passed_over(board: &[Seat]) -> Vec<String> {
    board.iter().filter(|seat| is_silent(seat, board)).map(|seat| seat.label.clone()).collect()
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::rdata::TXT;
    use hickory_proto::rr::{Name, Record, RecordType};

    use super::*;

    /// Each of a server of its own.
    fn board(said: &[Said]) -> Vec<Seat> {
        let seat = |(n, said): (usize, &Said)| Seat { server: n, label: format!("ns{n}"), said: said.clone() };
        said.iter().enumerate().map(seat).collect()
    }

    fn nothing() -> Said {
        Said::Nothing("no answer".to_owned())
    }

    const PASS: SilentServers = SilentServers::PassOver;

    #[test]
    fn d01_a_server_that_lags_is_waited_for_however_long() {
        assert!(!settled(&board(&[Said::All, Said::Less]), true, PASS));
        assert!(!settled(&board(&[Said::All, Said::Less]), false, PASS));
        assert!(settled(&board(&[Said::All, Said::All]), true, PASS));
    }

    #[test]
    fn d02_a_server_that_never_answers_is_passed_over_once_the_others_agree() {
        assert!(!settled(&board(&[Said::All, nothing()]), true, PASS));
        assert!(settled(&board(&[Said::All, nothing()]), false, PASS));
        assert!(!settled(&board(&[nothing(), nothing()]), false, PASS));
    }

    #[test]
    fn d02_a_server_that_never_answers_is_waited_for_where_the_operator_says_so() {
        for silent in [nothing(), Said::NoRoute, Said::NoAddress("it has no address".to_owned())] {
            assert!(!settled(&board(&[Said::All, silent]), false, SilentServers::Wait));
        }
        assert!(settled(&board(&[Said::All, Said::All]), true, SilentServers::Wait));
    }

    #[test]
    fn d02_a_server_that_fell_silent_after_an_answer_is_still_waited_for() {
        assert_eq!(heard(&Said::Less, nothing()), Said::Less);
    }

    #[test]
    fn a_server_without_an_address_holds_nothing_up_and_is_named() {
        let board = board(&[Said::All, Said::NoAddress("it has no address".to_owned())]);
        assert!(settled(&board, true, PASS));
        assert_eq!(passed_over(&board), ["ns1"]);
        assert_eq!(waited_for(&board), "ns1: it has no address");
    }

    #[test]
    fn d13_an_address_without_a_route_holds_nothing_up_when_its_server_has_another() {
        let mut seats = board(&[Said::All, Said::NoRoute]);
        assert!(!settled(&seats, true, PASS));
        assert!(settled(&seats, false, PASS));
        seats[1].server = 0;
        assert!(settled(&seats, true, PASS));
        assert_eq!(waited_for(&seats), "");
    }

    #[test]
    fn d03_a_resolver_that_remembers_that_it_was_not_there_does_not_outvote_one_that_shows_it() {
        let absent = |remembers| Said::Absent { remembers };
        assert!(settled_by_doh(&board(&[Said::All, absent(true)]), true));
        assert!(!settled_by_doh(&board(&[Said::All, absent(false)]), true));
        assert!(settled_by_doh(&board(&[Said::All, absent(false)]), false));
        assert!(!settled_by_doh(&board(&[absent(true), absent(false)]), false));
    }

    #[test]
    fn d12_a_resolver_that_shows_other_values_is_waited_for_and_a_silent_one_is_not() {
        assert!(!settled_by_doh(&board(&[Said::All, Said::Less]), false));
        assert!(!settled_by_doh(&board(&[Said::All, nothing()]), true));
        assert!(settled_by_doh(&board(&[Said::All, nothing()]), false));
        assert!(!settled_by_doh(&board(&[nothing(), nothing()]), false));
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

    fn said(answer: &Message) -> Said {
        judge(answer, &question(), &BTreeSet::from(["ours".to_owned(), "too".to_owned()]))
    }

    #[test]
    fn d02_d15_what_has_no_authority_or_refuses_says_nothing() {
        let mut lame = answer(ResponseCode::NoError, &[(NAME, "ours"), (NAME, "too")]);
        lame.metadata.authoritative = false;
        assert_eq!(said(&lame), Said::Nothing("answers without authority".to_owned()));
        for (code, words) in [(ResponseCode::Refused, "Query Refused"), (ResponseCode::ServFail, "Server Failure")] {
            let mut refusal = answer(code, &[]);
            refusal.metadata.authoritative = false;
            assert_eq!(said(&refusal), Said::Nothing(words.to_owned()));
        }
    }

    #[test]
    fn d09_a_wildcard_above_is_no_record_of_ours() {
        assert_eq!(said(&answer(ResponseCode::NoError, &[(NAME, "of the wildcard")])), Said::Less);
        assert_eq!(said(&answer(ResponseCode::NoError, &[(NAME, "ours"), (NAME, "too"), (NAME, "more")])), Said::All);
        assert_eq!(said(&answer(ResponseCode::NXDomain, &[])), Said::Less);
    }

    #[test]
    fn d14_an_answer_in_another_case_is_an_answer_and_one_at_another_name_is_none() {
        let mixed = "_AcMe-ChAlLeNgE.eXample.COM.";
        assert_eq!(said(&answer(ResponseCode::NoError, &[(mixed, "ours"), (mixed, "too")])), Said::All);
        let other = "_acme-challenge.example.com.example.com.";
        assert_eq!(said(&answer(ResponseCode::NoError, &[(other, "ours"), (other, "too")])), Said::Less);
    }

    #[test]
    fn d12_a_resolver_that_shows_nothing_is_told_from_one_that_shows_others() {
        let values = BTreeSet::from(["ours".to_owned()]);
        let say = |answer: &Message| judge_doh(answer, &question(), &values, true);
        assert_eq!(say(&answer(ResponseCode::NXDomain, &[])), Said::Absent { remembers: true });
        assert_eq!(say(&answer(ResponseCode::NoError, &[(NAME, "old")])), Said::Less);
        assert_eq!(say(&answer(ResponseCode::NoError, &[(NAME, "old"), (NAME, "ours")])), Said::All);
        assert_eq!(say(&answer(ResponseCode::ServFail, &[])), Said::Nothing("Server Failure".to_owned()));
    }
}

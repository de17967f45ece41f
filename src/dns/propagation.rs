//! Is the record there, on *every* authoritative server? Each address of each server is asked directly, without recursion,
//! until all show all values with authority.
//!
//! A server that never gives an authoritative answer (dead, unreachable from here, refusing) does not hold things up for
//! ever: after [`PATIENCE`] it is passed over, if every server that does answer shows the values, and it is named. A
//! server that answers and lacks them is always waited for. An address to which this machine has no route (IPv6, mostly)
//! says nothing about its server when another one does. When all are silent there is nothing to go by: an error. (A
//! controller whose port 53 is blocked would ask by DoH at that place.)

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::resolvers::parse;
use super::wire::{Question, ask};
use super::{DnsError, Server};

/// How long the values may take to be seen everywhere. Cloudflare takes a second or two; slow secondaries refresh within
/// minutes.
pub const SEEN_BOUND: Duration = Duration::from_secs(180);
/// How long a server that never answered is waited for while others show the values. Five datagrams and more.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A record name and all values that must be seen there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    pub values: BTreeSet<String>,
}

/// One address of one server.
struct Seat {
    server: usize,
    label: String,
    said: Said,
}

/// What one address said last.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// This machine cannot even send there.
    NoRoute,
    /// Nothing that counts, ever; why.
    Nothing(String),
    /// An authoritative answer without all values.
    Less,
    All,
}

/// Waits until every server shows every value. `lagging` hears, whenever that changes, who is still waited for. Returns
/// the servers that were passed over.
///
/// # Errors
/// [`DnsError::NotSeen`] or [`DnsError::AllSilent`] after `limit`.
pub async fn await_seen(
    servers: &[Server],
    wanted: &Wanted,
    limit: Duration,
    mut lagging: impl FnMut(&str),
) -> Result<Vec<String>, DnsError> {
    let question = Question { name: parse(&wanted.name)?, kind: RecordType::TXT, recursion: false };
    let question = Arc::new((question, wanted.values.clone()));
    let (tell, mut hear) = mpsc::channel(64);
    let mut askers = JoinSet::new();
    let mut board: Vec<Seat> = Vec::new();
    for (server, Server { name, addresses }) in servers.iter().enumerate() {
        for address in addresses {
            let label = if *name == address.to_string() { name.clone() } else { format!("{name} ({address})") };
            askers.spawn(poll(*address, Arc::clone(&question), board.len(), tell.clone()));
            board.push(Seat { server, label, said: Said::Nothing("not asked yet".to_owned()) });
        }
    }
    drop(tell);
    let mut shown = String::new();
    let watch = async {
        let mut patience = core::pin::pin!(sleep(PATIENCE));
        let mut patient = true;
        loop {
            tokio::select! {
                said = hear.recv() => match said {
                    Some((index, said)) => board[index].said = heard(&board[index].said, said),
                    None => return,
                },
                () = &mut patience, if patient => patient = false,
            }
            if settled(&board, patient) {
                return;
            }
            let waiting = waited_for(&board);
            if waiting != shown {
                lagging(&waiting);
                shown = waiting;
            }
        }
    };
    let ended = timeout(limit, watch).await;
    askers.shutdown().await;
    let silent = board.iter().filter(|seat| is_silent(seat, &board));
    match ended {
        Ok(()) => Ok(silent.map(|seat| seat.label.clone()).collect()),
        Err(_) if silent.count() == board.len() => {
            Err(DnsError::AllSilent { name: wanted.name.clone(), servers: waited_for(&board) })
        }
        Err(_) => Err(DnsError::NotSeen { name: wanted.name.clone(), limit, lagging: waited_for(&board) }),
    }
}

/// Asks one address until it shows everything.
async fn poll(
    address: SocketAddr,
    question: Arc<(Question, BTreeSet<String>)>,
    index: usize,
    tell: mpsc::Sender<(usize, Said)>,
) {
    let (question, values) = &*question;
    let mut pause = FIRST_PAUSE;
    loop {
        let said = match ask(address, question).await {
            Ok(answer) => judge(&answer, question, values),
            Err(silence) if silence.is_no_route() => Said::NoRoute,
            Err(silence) => Said::Nothing(silence.to_string()),
        };
        let all = said == Said::All;
        if tell.send((index, said)).await.is_err() || all {
            return;
        }
        sleep(pause).await;
        pause = pause.mul_f32(1.5).min(LONGEST_PAUSE);
    }
}

fn judge(answer: &Message, question: &Question, values: &BTreeSet<String>) -> Said {
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain if answer.metadata.authoritative => {}
        ResponseCode::NoError | ResponseCode::NXDomain => {
            return Said::Nothing("answers without authority".to_owned());
        }
        code => return Said::Nothing(code.to_string()),
    }
    let texts = answer.answers.iter().filter(|record| record.name == question.name).filter_map(|record| {
        let RData::TXT(txt) = &record.data else { return None };
        String::from_utf8(txt.txt_data.concat()).ok()
    });
    let texts: BTreeSet<String> = texts.collect();
    if values.is_subset(&texts) { Said::All } else { Said::Less }
}

/// An address that answered once and falls silent is still one that answers.
fn heard(before: &Said, now: Said) -> Said {
    match (before, now) {
        (Said::Less, Said::Nothing(_) | Said::NoRoute) => Said::Less,
        (_, now) => now,
    }
}

fn settled(board: &[Seat], patient: bool) -> bool {
    let passed = |seat: &Seat| match &seat.said {
        Said::All => true,
        Said::Less => false,
        Said::Nothing(_) | Said::NoRoute => !patient || !is_silent(seat, board),
    };
    board.iter().all(passed) && board.iter().any(|seat| seat.said == Said::All)
}

/// Nothing that counts came from there, and no other address speaks for the same server.
fn is_silent(seat: &Seat, board: &[Seat]) -> bool {
    match seat.said {
        Said::All | Said::Less => false,
        Said::Nothing(_) => true,
        Said::NoRoute => !board.iter().any(|other| other.server == seat.server && other.said != Said::NoRoute),
    }
}

fn waited_for(board: &[Seat]) -> String {
    let waited = board.iter().filter_map(|seat| match &seat.said {
        Said::All => None,
        Said::Less => Some(seat.label.clone()),
        Said::Nothing(why) => Some(format!("{}: {why}", seat.label)),
        Said::NoRoute => is_silent(seat, board).then(|| format!("{}: no route", seat.label)),
    });
    waited.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of a server of its own.
    fn board(said: &[Said]) -> Vec<Seat> {
        let seat = |(n, said): (usize, &Said)| Seat { server: n, label: format!("ns{n}"), said: said.clone() };
        said.iter().enumerate().map(seat).collect()
    }

    fn nothing() -> Said {
        Said::Nothing("no answer".to_owned())
    }

    #[test]
    fn d01_a_server_that_lags_is_waited_for_however_long() {
        assert!(!settled(&board(&[Said::All, Said::Less]), true));
        assert!(!settled(&board(&[Said::All, Said::Less]), false));
        assert!(settled(&board(&[Said::All, Said::All]), true));
    }

    #[test]
    fn d02_a_server_that_never_answers_is_passed_over_once_the_others_agree() {
        assert!(!settled(&board(&[Said::All, nothing()]), true));
        assert!(settled(&board(&[Said::All, nothing()]), false));
        assert!(!settled(&board(&[nothing(), nothing()]), false));
    }

    #[test]
    fn d02_a_server_that_fell_silent_after_an_answer_is_still_waited_for() {
        assert_eq!(heard(&Said::Less, nothing()), Said::Less);
    }

    #[test]
    fn d13_an_address_without_a_route_holds_nothing_up_when_its_server_has_another() {
        let mut seats = board(&[Said::All, Said::NoRoute]);
        assert!(!settled(&seats, true));
        assert!(settled(&seats, false));
        seats[1].server = 0;
        assert!(settled(&seats, true));
        assert_eq!(waited_for(&seats), "");
    }
}

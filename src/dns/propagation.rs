//! Is the record there, on *every* authoritative server? Each address of each server is asked directly, without recursion,
//! until all show all values with authority.
//!
//! A server that never gives an authoritative answer (dead, unreachable from here, refusing) does not hold things up for
//! ever: after [`PATIENCE`] it is passed over, if every server that does answer shows the values, and it is named. A
//! server that answers and lacks them is always waited for. When all are silent there is nothing to go by: an error. (A
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

/// What one address said last.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
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
    let mut board: Vec<(String, Said)> = Vec::new();
    for server in servers {
        for address in &server.addresses {
            let label = if server.addresses.len() == 1 && server.name == address.to_string() {
                server.name.clone()
            } else {
                format!("{} ({address})", server.name)
            };
            askers.spawn(poll(*address, Arc::clone(&question), board.len(), tell.clone()));
            board.push((label, Said::Nothing("not asked yet".to_owned())));
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
                    Some((index, said)) => board[index].1 = heard(&board[index].1, said),
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
    let silent = || board.iter().filter(|(_, said)| matches!(said, Said::Nothing(_))).map(|(label, _)| label.clone());
    match ended {
        Ok(()) => Ok(silent().collect()),
        Err(_) if silent().count() == board.len() => {
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
        (Said::Less, Said::Nothing(_)) => Said::Less,
        (_, now) => now,
    }
}

fn settled(board: &[(String, Said)], patient: bool) -> bool {
    let passed = |said: &Said| match said {
        Said::All => true,
        Said::Less => false,
        Said::Nothing(_) => !patient,
    };
    board.iter().all(|(_, said)| passed(said)) && board.iter().any(|(_, said)| *said == Said::All)
}

fn waited_for(board: &[(String, Said)]) -> String {
    let waited = board.iter().filter_map(|(label, said)| match said {
        Said::All => None,
        Said::Less => Some(label.clone()),
        Said::Nothing(why) => Some(format!("{label}: {why}")),
    });
    waited.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(said: &[Said]) -> Vec<(String, Said)> {
        said.iter().enumerate().map(|(n, said)| (format!("ns{n}"), said.clone())).collect()
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
}

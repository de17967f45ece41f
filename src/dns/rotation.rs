//! How a name's addresses rotate: the same question again and again, and which address comes first.

use core::net::{IpAddr, SocketAddr};

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};

use super::propagation_tally::is_answer;
use super::resolvers::parse;
use super::wire::{Question, ask};
use super::{DnsError, Resolvers};
use crate::model::{RecordKind, Rotation};

/// Failures after which a server is asked no more: each costs seconds.
const MOST_FAILURES: u32 = 3;

/// Asks the name's own servers in turn, and each public resolver, `questions` times for each kind of record.
///
/// # Errors
/// The name's servers cannot be found.
pub async fn rotation(
    resolvers: &Resolvers,
    public: &[SocketAddr],
    name: &str,
    kinds: &[RecordKind],
    questions: u32,
) -> Result<Vec<Rotation>, DnsError> {
    let end = resolvers.follow(name).await?;
    let own: Vec<SocketAddr> =
        resolvers.authorities(&end).await?.iter().flat_map(|server| server.addresses.iter().copied()).collect();
    let (asked, owner) = (parse(name)?, parse(&end)?);
    let mut all = Vec::new();
    for kind in kinds {
        all.push(of("its own servers".to_owned(), &own, &owner, *kind, questions, false));
        for server in public {
            all.push(of(server.to_string(), core::slice::from_ref(server), &asked, *kind, questions, true));
        }
    }
    Ok(futures_util::future::join_all(all).await)
}

/// One question after another.
async fn of(
    server: String,
    at: &[SocketAddr],
    owner: &Name,
    kind: RecordKind,
    questions: u32,
    recursion: bool,
) -> Rotation {
    let of_wire = match kind {
        RecordKind::A => RecordType::A,
        RecordKind::Aaaa => RecordType::AAAA,
    };
    let question = Question { name: owner.clone(), kind: of_wire, recursion };
    let mut found = Rotation { server, kind, ..Rotation::default() };
    let mut failures = vec![0; at.len()];
    for number in 0..questions as usize {
        let open: Vec<usize> = (0..at.len()).filter(|server| failures[*server] < MOST_FAILURES).collect();
        let Some(server) = open.get(number % open.len().max(1)) else { break };
        found.questions += 1;
        match ask(at[*server], &question).await {
            Ok(answer) if is_answer(&answer) => {
                found.answers += 1;
                if let Some(first) = first(&answer) {
                    *found.first.entry(first).or_default() += 1;
                }
            }
            _ => failures[*server] += 1,
        }
    }
    found
}

/// The address that most clients take.
fn first(answer: &Message) -> Option<IpAddr> {
    answer.answers.iter().find_map(|record| match &record.data {
        RData::A(ip) => Some(ip.0.into()),
        RData::AAAA(ip) => Some(ip.0.into()),
        _ => None,
    })
}

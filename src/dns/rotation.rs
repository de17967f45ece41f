//! How a name's addresses rotate: the same question again and again, and which address comes first.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::time::timeout;

use super::propagation_tally::is_answer;
use super::resolvers::parse;
use super::wire::{Question, ask};
use super::{DnsError, Resolvers};
use crate::model::{RecordKind, Rotation};

/// Failures after which a server is asked no more: each costs seconds.
const MOST_FAILURES: u32 = 3;
/// What the answers of all servers of a zone are counted under.
const OWN: &str = "its own servers";

/// Asks the name's own servers in turn, and each public resolver, `questions` times for each kind of record. After `limit`
/// it is what was counted until then.
///
/// # Errors
/// The name's servers cannot be found.
pub async fn rotation(
    resolvers: &Resolvers,
    public: &[SocketAddr],
    name: &str,
    kinds: &[RecordKind],
    questions: u32,
    limit: Duration,
) -> Result<Vec<Rotation>, DnsError> {
    let servers = async {
        let end = resolvers.follow(name).await?;
        let servers = resolvers.authorities(&end).await?;
        Ok::<_, DnsError>((end, servers.iter().flat_map(|server| server.addresses.iter().copied()).collect::<Vec<_>>()))
    };
    let Ok(servers) = timeout(limit, servers).await else {
        return Ok(vec![Rotation { server: OWN.to_owned(), cut_short: true, ..Rotation::default() }]);
    };
    let (end, own) = servers?;
    let (asked, owner) = (parse(name)?, parse(&end)?);
    let mut all = Vec::new();
    for kind in kinds {
        let of = |server, at, owner, recursion| of(server, at, owner, *kind, (questions, limit), recursion);
        all.push(of(OWN.to_owned(), own.as_slice(), &owner, false));
        for server in public {
            all.push(of(server.to_string(), core::slice::from_ref(server), &asked, true));
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
    (questions, limit): (u32, Duration),
    recursion: bool,
) -> Rotation {
    let of_wire = match kind {
        RecordKind::A => RecordType::A,
        RecordKind::Aaaa => RecordType::AAAA,
    };
    let question = Question { name: owner.clone(), kind: of_wire, recursion };
    let mut found = Rotation { server, kind, ..Rotation::default() };
    let asking = ask_in_turn(at, &question, questions, &mut found);
    let in_time = timeout(limit, asking).await.is_ok();
    found.cut_short = !in_time;
    found
}

async fn ask_in_turn(at: &[SocketAddr], question: &Question, questions: u32, found: &mut Rotation) {
    let mut failures = vec![0; at.len()];
    for number in 0..questions as usize {
        let open: Vec<usize> = (0..at.len()).filter(|server| failures[*server] < MOST_FAILURES).collect();
        let Some(server) = open.get(number % open.len().max(1)) else { break };
        found.questions += 1;
        match ask(at[*server], question).await {
            Ok(answer) if is_answer(&answer) => {
                found.answers += 1;
                if let Some(first) = first(&answer) {
                    *found.first.entry(first).or_default() += 1;
                }
            }
            _ => failures[*server] += 1,
        }
    }
}

/// The address that most clients take.
fn first(answer: &Message) -> Option<IpAddr> {
    answer.answers.iter().find_map(|record| match &record.data {
        RData::A(ip) => Some(ip.0.into()),
        RData::AAAA(ip) => Some(ip.0.into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    /// Says that there is nothing, three times; then it is silent.
    async fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut message = [0; 512];
            for _ in 0..3 {
                let (length, from) = socket.recv_from(&mut message).await.unwrap();
                // RFC 1035 section 4.1.1: QR.
                message[2] |= 0x80;
                socket.send_to(&message[..length], from).await.unwrap();
            }
            core::future::pending::<()>().await;
            drop(socket);
        });
        address
    }

    #[tokio::test]
    async fn what_was_counted_when_the_time_is_over_is_kept() {
        let (server, name) = (server().await, parse("a.example.com").unwrap());
        let limit = Duration::from_millis(500);
        let found = of("s".to_owned(), &[server], &name, RecordKind::A, (1_000, limit), true).await;
        assert_eq!((found.answers, found.questions, found.cut_short), (3, 4, true));
        let found = of("s".to_owned(), &[], &name, RecordKind::A, (1_000, limit), true).await;
        assert_eq!((found.questions, found.cut_short), (0, false));
    }
}

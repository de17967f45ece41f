//! The size of the TXT answer that the CA gets for a name: values left behind by others stay beside ours.

use hickory_proto::rr::RecordType;
use tokio::task::JoinSet;

use super::Server;
use super::resolvers::parse;
use super::wire::{Question, ask};

/// The size that every path passes in one datagram (DNS flag day 2020). For more the CA has to ask again by TCP.
pub const ONE_DATAGRAM: usize = 1232;

/// Number of records and bytes on the wire of the first server's TXT answer.
pub async fn answer_size(servers: &[Server], name: &str) -> Option<(usize, usize)> {
    let question = Question { name: parse(name).ok()?, kind: RecordType::TXT, recursion: false };
    let mut asked = JoinSet::new();
    for address in servers.iter().flat_map(|server| server.addresses.iter().copied()) {
        let question = question.clone();
        asked.spawn(async move { ask(address, &question).await.ok() });
    }
    while let Some(answered) = asked.join_next().await {
        if let Ok(Some(answer)) = answered {
            let bytes = answer.to_vec().ok()?.len();
            return Some((answer.answers.len(), bytes));
        }
    }
    None
}

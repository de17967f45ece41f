//! How long the answer is that the CA gets at a name: values of others stand beside ours, and nobody removes them.

use hickory_proto::rr::RecordType;
use tokio::task::JoinSet;

use super::Server;
use super::resolvers::parse;
use super::wire::{Question, ask};

/// What fits every path in one datagram (DNS flag day 2020). Beyond it the CA has to come back by TCP.
pub const ONE_DATAGRAM: usize = 1232;

/// The TXT answer of the server that answers first: how many records, and how many bytes they are on the wire.
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

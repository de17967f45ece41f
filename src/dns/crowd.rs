//! How long the answer is that the CA gets at a name: values of others stand beside ours, and nobody removes them.

use hickory_proto::rr::RecordType;

use super::Server;
use super::resolvers::parse;
use super::wire::{Question, ask};

/// What fits every path in one datagram (DNS flag day 2020). Beyond it the CA has to come back by TCP.
pub const ONE_DATAGRAM: usize = 1232;

/// The TXT answer of the first server that gives one: how many records, and how many bytes they are on the wire.
pub async fn answer_size(servers: &[Server], name: &str) -> Option<(usize, usize)> {
    let question = Question { name: parse(name).ok()?, kind: RecordType::TXT, recursion: false };
    for address in servers.iter().flat_map(|server| &server.addresses) {
        if let Ok(answer) = ask(*address, &question).await {
            let bytes = answer.to_vec().ok()?.len();
            return Some((answer.answers.len(), bytes));
        }
    }
    None
}

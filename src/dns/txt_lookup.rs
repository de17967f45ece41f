//! Looks up the TXT records at a name, on its authoritative servers. If all are silent (mostly since port 53 is blocked) the
//! DoH servers, and then this network's resolvers, are queried: for a persistent record a resolver's answer is as good.

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use tokio::task::JoinSet;

use super::resolvers::parse;
use super::wire::{Question, ask};
use super::{DnsError, Resolvers, propagation_tally};

/// Queries every authoritative server once, behind CNAMEs. Returns the TXT records of each that answers with authority. The
/// DoH servers count as one server, since each may have cached that the record was absent.
///
/// # Errors
/// The name's servers cannot be found, or neither they nor any DoH server answers.
pub async fn texts(resolvers: &Resolvers, name: &str) -> Result<Vec<(String, Vec<String>)>, DnsError> {
    let owner = resolvers.follow(name).await?;
    let question = Question { name: parse(&owner)?, kind: RecordType::TXT, recursion: false };
    let mut asked = JoinSet::new();
    for server in resolvers.authorities(&owner).await? {
        for address in server.addresses {
            let (question, server) = (question.clone(), server.name.clone());
            asked.spawn(async move { (server, one(address, &question).await) });
        }
    }
    let (mut shown, mut silent) = (Vec::new(), Vec::new());
    for (server, texts) in asked.join_all().await {
        match texts {
            Some(texts) => shown.push((server, texts)),
            None => silent.push(server),
        }
    }
    if shown.is_empty() {
        let by_doh = from_doh(resolvers, question.clone(), &mut silent).await;
        match if by_doh.is_some() { by_doh } else { from_resolvers(resolvers, question).await } {
            Some(late) => shown.push(late),
            None => return Err(DnsError::AllSilent { name: owner, servers: silent.join(", ") }),
        }
    }
    shown.sort();
    Ok(shown)
}

/// The servers that answer, and all records that they show; `silent` gets the others.
async fn from_doh(
    resolvers: &Resolvers,
    question: Question,
    silent: &mut Vec<String>,
) -> Option<(String, Vec<String>)> {
    let (doh, question) = (resolvers.doh(), Question { recursion: true, ..question });
    let (mut asked, mut shown) = (Vec::new(), Vec::new());
    for server in 0..doh.count() {
        match doh.ask(server, &question).await.ok().and_then(|answer| found(&answer, &question)) {
            Some(texts) => {
                asked.push(doh.name(server));
                shown.extend(texts);
            }
            None => silent.push(doh.name(server).to_owned()),
        }
    }
    (!asked.is_empty()).then(|| (asked.join(", "), shown))
}

/// As [`from_doh`], from this network's own resolvers.
async fn from_resolvers(resolvers: &Resolvers, question: Question) -> Option<(String, Vec<String>)> {
    let question = Question { recursion: true, ..question };
    let (mut asked, mut shown) = (Vec::new(), Vec::new());
    for at in resolvers.addresses() {
        if let Some(texts) = ask(*at, &question).await.ok().and_then(|answer| found(&answer, &question)) {
            asked.push(at.to_string());
            shown.extend(texts);
        }
    }
    (!asked.is_empty()).then(|| (asked.join(", "), shown))
}

async fn one(address: core::net::SocketAddr, question: &Question) -> Option<Vec<String>> {
    let answer = ask(address, question).await.ok().filter(|answer| answer.metadata.authoritative)?;
    found(&answer, question)
}

fn found(answer: &Message, question: &Question) -> Option<Vec<String>> {
    Some(propagation_tally::texts(answer, question).ok()?.into_iter().collect())
}

/// Removes the quotes and splits of zone files from TXT content: `"abc" "def"` is abcdef.
pub(super) fn unquoted(text: &str) -> String {
    if !text.contains('"') {
        return text.to_owned();
    }
    text.split('"').skip(1).step_by(2).collect()
}

//! What authoritative servers show at a name now: for a TXT record that stays, which nobody has to wait for.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};
use tokio::task::JoinSet;

use super::resolvers::parse;
use super::wire::{Question, ask};
use super::{DnsError, Resolvers};

/// Asks every authoritative server once, behind CNAMEs; the TXT records of each one that answers with authority.
///
/// # Errors
/// The name's servers cannot be found, or none of them answers.
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
        return Err(DnsError::AllSilent { name: owner, servers: silent.join(", ") });
    }
    shown.sort();
    Ok(shown)
}

async fn one(address: core::net::SocketAddr, question: &Question) -> Option<Vec<String>> {
    let answer = ask(address, question).await.ok()?;
    let counts = matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
    if !counts || !answer.metadata.authoritative {
        return None;
    }
    let texts = answer.answers.iter().filter(|record| record.name == question.name).filter_map(|record| {
        let RData::TXT(txt) = &record.data else { return None };
        String::from_utf8(txt.txt_data.concat()).ok()
    });
    Some(texts.collect())
}

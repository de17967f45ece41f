//! dns-persist-01: the operator makes the record, once. certd looks for it before the CA does, so that a missing one is
//! explained and costs no failed validation.

use crate::context::effect_failure::of_dns;
use crate::context::provider::resolvers;
use crate::context::{Context, clock};
use crate::dns::texts;
use crate::model::{Code, Finding};
use crate::plan::order::PersistRecord;

/// # Errors
/// A name server does not show a record; the error has every missing record, and what to publish.
pub(crate) async fn check_persist_records(
    context: &Context,
    account: &str,
    records: &[PersistRecord],
) -> Result<(), Finding> {
    let (resolvers, _) = resolvers(context)?;
    let mut missing: Vec<(&PersistRecord, String)> = Vec::new();
    for wanted in records {
        let record = wanted.record();
        let shown = texts(&resolvers, &record).await.map_err(|error| of_dns(&record, &error))?;
        let now = clock::now();
        let lacks = shown.iter().find(|(_, texts)| !texts.iter().any(|text| wanted.is_proven_by(text, account, now)));
        missing.extend(lacks.map(|(server, _)| (wanted, server.clone())));
    }
    let Some((first, server)) = missing.first() else { return Ok(()) };
    // A wildcard's record also covers the name itself.
    let wide =
        |it: &PersistRecord| missing.iter().any(|(other, _)| other.name.is_wildcard() && other.record() == it.record());
    let relevant = missing.iter().filter(|(it, _)| it.name.is_wildcard() || !wide(it));
    let lines: Vec<String> =
        relevant.map(|(it, _)| format!("{}. TXT \"{}\"", it.record(), it.value(account))).collect();
    Err(Finding::for_a_person(
        Code::AcmeNoStandingRecord,
        &first.name,
        format!("{}: {server} shows no TXT record that lets this account issue for it", first.record()),
        format!("make once, and leave there: {}", lines.join(" and ")),
    ))
}

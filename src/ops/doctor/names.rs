//! The DNS provider: whether the token is valid, and whether a record can be created, seen and removed for every name.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use tokio::task::JoinSet;

use crate::cert::DnsName;
use crate::context::{Context, provider};
use crate::dns::has_only_a_wildcard;
use crate::execute::issue;
use crate::model::{Code, Finding, Observed};
use crate::report::doctor::{Area, CheckupItem};

use super::missing::Missing;

/// Names looked up at once.
const NAMES: usize = 16;

pub(crate) async fn look(
    context: &Arc<Context>,
    observed: &Observed,
    may_write: bool,
    missing: &Missing,
) -> Vec<CheckupItem> {
    // What was learned about DNS is stored too, and nodes are found by it.
    let of_warning = |failure: &Finding| CheckupItem::bad(failure.code.area(), failure);
    if missing.dns() {
        return context.dns.take_warnings().iter().map(of_warning).collect();
    }
    // Before any TXT record is made: after that such a name has no addresses.
    let wildcards = of_wildcards(context, observed).await;
    let mut tried = JoinSet::new();
    for name in observed.store.keys().filter(|_| may_write) {
        let Some(certificate) = context.config.certificate(name).cloned() else { continue };
        let context = Arc::clone(context);
        tried.spawn(async move { (certificate.name.clone(), issue::rehearse(&context, &certificate).await) });
    }
    let (tried, ()) = tokio::join!(tried.join_all(), provider::ask_token(context, true));
    let warnings = context.dns.take_warnings();
    let well = if warnings.iter().any(|warning| warning.code == Code::DnsNotSeen) {
        "a TXT record was created at the challenge's name, and removed"
    } else if issue::makes_records(&context.config) {
        "a TXT record was created at the challenge's name, seen on every name server, and removed"
    } else {
        "the permanent TXT records were looked for, as far as they are known from an account"
    };
    let token_refused = tried.iter().any(|(_, ended)| ended.as_ref().is_err_and(is_of_token));
    let mut findings: Vec<CheckupItem> = tried
        .into_iter()
        .map(|(name, ended)| match ended {
            Ok(()) => CheckupItem::ok(Area::Dns, name, well),
            Err(failure) => CheckupItem::bad(Area::Dns, &failure),
        })
        .collect();
    if !may_write {
        let what = "no TXT record was tested: another certd holds the lock, and with it the journal";
        findings.push(CheckupItem::ok(Area::Dns, "the DNS provider", what));
    }
    findings.extend(warnings.iter().chain(&wildcards).map(of_warning));
    let dns_cache = context.store.dns_cache().unwrap_or_default();
    for section in provider::sections_with_tokens(context).filter(|_| !token_refused) {
        let object = provider::key(section, "token_file");
        // Of this file, or of a record that its token could not make.
        let of_it = |warning: &Finding| warning.object == object || !warning.object.ends_with(".token_file");
        if warnings.iter().any(|warning| is_of_token(warning) && of_it(warning)) {
            continue;
        }
        let known = dns_cache.token(section);
        let until = known.as_ref().and_then(|token| token.expires_on);
        let what = match (known, until) {
            (Some(_), Some(until)) => format!("the token is valid until {}", crate::report::minute(until)),
            (Some(token), None) if token.status == "unknown" => {
                "its status and end are unknown: an account's token can be asked about once its zone was read"
                    .to_owned()
            }
            (Some(token), None) => format!("the provider reports the token as {:?}, without an expiry", token.status),
            (None, _) => "nothing is known about the token".to_owned(),
        };
        findings.push(CheckupItem::ok(Area::Dns, object, what));
    }
    findings
}

/// Names that vanish for visitors while they are validated. What cannot be looked up is not known to be one.
async fn of_wildcards(context: &Context, observed: &Observed) -> Vec<Finding> {
    let Ok((resolvers, _)) = provider::resolvers(context) else { return Vec::new() };
    let certificates = observed.store.keys().filter_map(|name| context.config.certificate(name));
    let names: BTreeSet<&DnsName> =
        certificates.flat_map(|certificate| certificate.names.iter()).filter(|name| !name.is_wildcard()).collect();
    let asked = stream::iter(names).map(async |name| (name, has_only_a_wildcard(&resolvers, name).await));
    let asked: Vec<_> = asked.buffered(NAMES).collect().await;
    let found = asked.into_iter().filter(|(_, found)| matches!(found, Ok(true))).map(|(name, _)| {
        let what = format!(
            "it has its addresses from a wildcard record alone, which does not answer for it as long as the TXT record at _acme-challenge.{name} exists (RFC 4592 section 2.2.2): visitors do not find it during each renewal"
        );
        let next = format!("give {name} address records of its own, equal to the wildcard's");
        Finding::for_a_person(Code::DnsWildcard, name, what, next)
    });
    found.collect()
}

fn is_of_token(failure: &Finding) -> bool {
    matches!(
        failure.code,
        Code::DnsToken | Code::DnsTokenAddress | Code::DnsTokenExpires | Code::DnsTokenPermission | Code::DnsTokenFile
    )
}

//! Where the address records of names are.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::timeout;

use crate::cert::DnsName;
use crate::config::{Config, FailoverMode};
use crate::context::effect_failure::of_dns;
use crate::context::{Context, provider};
use crate::dns::{Chain, DnsError, Provider, Resolvers, Zone};
use crate::model::{Code, Finding};

/// For one name: its CNAMEs, and the zone at the provider.
const LOCATE: Duration = Duration::from_secs(60);
/// Names that are located at once.
const NAMES: usize = 8;

/// All names whose CNAMEs end at one owner of address records.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) owner: String,
    pub(crate) zone: Zone,
    /// Empty: an earlier configuration had them.
    pub(crate) names: BTreeSet<DnsName>,
    /// The most cautious of its names.
    pub(crate) mode: FailoverMode,
}

/// The names of all certificates that can have address records, each with its mode.
pub(crate) fn names(config: &Config) -> BTreeMap<DnsName, FailoverMode> {
    let names = config.certificates.iter().flat_map(|certificate| certificate.names.iter());
    let plain = names.filter(|name| !name.is_wildcard());
    plain.map(|name| (name.clone(), config.failover_of(name))).collect()
}

/// By owner. `journalled`: owners that have a withdrawn record, which belong to it whatever the configuration says. What cannot
/// be located is a finding.
pub(crate) async fn groups(
    context: &Context,
    names: BTreeMap<DnsName, FailoverMode>,
    journalled: BTreeSet<String>,
) -> (BTreeMap<String, Group>, Vec<Finding>) {
    let opened = provider::resolvers(context).and_then(|(it, _)| Ok((it, provider::provider(context, false)?)));
    let (resolvers, provider) = match opened {
        Ok(opened) => opened,
        Err(failure) => return (BTreeMap::new(), vec![failure]),
    };
    let located = |name: String| {
        let (resolvers, provider) = (resolvers.clone(), Arc::clone(&provider));
        async move {
            let place = timeout(LOCATE, locate(&resolvers, provider.as_ref(), &name)).await;
            let place = place.unwrap_or_else(|_| Err(late(&name, LOCATE)));
            (name, place)
        }
    };
    let all: BTreeSet<String> = names.keys().map(ToString::to_string).chain(journalled.iter().cloned()).collect();
    let places: Vec<_> = stream::iter(all.into_iter().map(located)).buffer_unordered(NAMES).collect().await;
    let (mut groups, mut findings) = (BTreeMap::<String, Group>::new(), Vec::new());
    for (name, place) in places {
        let (owner, zone) = match place {
            Ok(place) => place,
            Err(error) => {
                let is_off = names.iter().any(|(own, mode)| own.as_str() == name && *mode == FailoverMode::Off);
                if !is_off || journalled.contains(&name) {
                    findings.push(out_of_reach(&name, &error));
                }
                continue;
            }
        };
        let own = names.iter().find(|(own, _)| own.as_str() == name);
        if own.is_none() && owner != name {
            // A CNAME has taken the place of its records.
            let next =
                format!("restore the record at {owner}, or remove its marker and the CNAME; see docs/operations.md");
            let what = format!("a record of {name} is withdrawn, and {name} is a CNAME of {owner} now");
            findings.push(Finding::for_a_person(Code::FailoverHeld, &name, what, next));
            continue;
        }
        let empty = || Group { owner: owner.clone(), zone, names: BTreeSet::new(), mode: FailoverMode::Act };
        let group = groups.entry(owner.clone()).or_insert_with(empty);
        if let Some((name, mode)) = own {
            group.names.insert(name.clone());
            group.mode = group.mode.min(*mode);
        }
    }
    for group in groups.values_mut().filter(|group| group.names.is_empty()) {
        group.mode = FailoverMode::Off;
    }
    findings.sort_by(|one, other| one.object.cmp(&other.object));
    (groups, findings)
}

/// The end of the name's CNAMEs, and its zone.
async fn locate(resolvers: &Resolvers, provider: &dyn Provider, name: &str) -> Result<(String, Zone), DnsError> {
    let Chain { mut names, broken } = resolvers.chain(name).await?;
    if let Some(error) = broken {
        return Err(error);
    }
    let owner = names.pop().unwrap_or_else(|| name.to_owned()).to_ascii_lowercase();
    let apex = resolvers.apex(&owner).await.ok();
    let zone = provider.zone(&owner, apex.as_deref()).await?;
    Ok((owner, zone))
}

fn out_of_reach(name: &str, error: &DnsError) -> Finding {
    let cause = of_dns(name, error);
    let what = format!("failover cannot reach the records of {name}: {}", cause.what);
    let next = match error.is_out_of_reach() {
        true => "write failover = \"off\" at the certificate if the records are not this provider's",
        false => cause.next.as_str(),
    };
    Finding::new(Code::FailoverUnread, name, what, next, cause.advice)
}

pub(crate) fn late(name: &str, limit: Duration) -> DnsError {
    let what = format!("no answer within {} s", limit.as_secs());
    DnsError::MalformedResponse { api: format!("the DNS provider of {name}"), what }
}

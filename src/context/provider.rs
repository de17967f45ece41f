//! The DNS provider of a pass: one client for all certificates, so that they share a connection, the zones that were
//! found and the limit; and what it learned, kept for the next run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::cert::DnsName;
use crate::config;
use crate::context::effect_failure::{of_dns, of_store};
use crate::context::{Context, clock};
use crate::dns::{Cloudflare, DnsError, Doh, Exec, ONE_DATAGRAM, Provider, Resolvers, Rfc2136, Settings};
use crate::model::{Advice, AtProvider, Code, Finding, KnownToken, KnownZone, LastSeen, Learned};
use crate::mutex::lock;
use crate::store::StoreError;

/// What a pass has of its provider.
#[derive(Default)]
pub struct Providing {
    usual: Mutex<Option<Opened>>,
    /// For a rehearsal, which relies on nothing that earlier runs saw.
    afresh: Mutex<Option<Opened>>,
    /// One writer of `dns.json` at a time.
    writing: Mutex<()>,
    warnings: Mutex<Vec<Finding>>,
}

#[derive(Clone)]
struct Opened {
    provider: Arc<dyn Provider>,
    since: Timestamp,
}

impl Providing {
    fn slot(&self, afresh: bool) -> &Mutex<Option<Opened>> {
        if afresh { &self.afresh } else { &self.usual }
    }

    pub(crate) fn warn(&self, failure: Finding) {
        let mut warnings = lock(&self.warnings);
        if !warnings.contains(&failure) {
            warnings.push(failure);
        }
    }

    /// What was found that does not keep a certificate from being issued; each is told once.
    pub fn take_warnings(&self) -> Vec<Finding> {
        core::mem::take(&mut *lock(&self.warnings))
    }
}

/// Who is asked about names, and the DoH servers among them.
pub(crate) fn resolvers(context: &Context) -> Result<(Resolvers, Doh), Finding> {
    let dns = &context.config.dns;
    // Who names the servers himself has names that the public does not see, or sees otherwise.
    let doh = if dns.nameservers.is_empty() { Doh::new(&dns.doh, context.http_options()) } else { Doh::default() };
    let resolvers = Resolvers::new(&dns.resolvers, &dns.nameservers, doh.clone());
    Ok((resolvers.map_err(|error| of_dns("dns", &error))?, doh))
}

pub(crate) fn provider(context: &Context, afresh: bool) -> Result<Arc<dyn Provider>, Finding> {
    let mut slot = lock(context.dns.slot(afresh));
    if let Some(opened) = slot.as_ref() {
        return Ok(Arc::clone(&opened.provider));
    }
    let seed = context.store.state().map_err(|error| of_store(&error))?.seed;
    // Tells an operator with two controllers which of them made a record.
    let mark = format!("certd {:08x}", seed >> 32);
    let secret = &context.secrets.dns_secret;
    let provider: Result<Arc<dyn Provider>, DnsError> = match &context.config.dns.provider {
        config::Provider::Cloudflare { zone_id, api_base, .. } => {
            let settings = Settings {
                base: api_base,
                token: secret,
                zone_id: zone_id.as_deref(),
                options: &context.http_options(),
                mark: &mark,
                clock: clock::now,
                zones: context.store.learned().map_err(|error| of_store(&error))?.zones,
                bypass_cache: afresh,
            };
            Cloudflare::new(settings).map(|it| Arc::new(it) as _)
        }
        config::Provider::Rfc2136(primary) => Rfc2136::new(primary, secret, clock::now).map(|it| Arc::new(it) as _),
        config::Provider::Exec { command, timeout } => Ok(Arc::new(Exec::new(command, *timeout))),
    };
    let provider = provider.map_err(|error| of_dns("dns", &error))?;
    *slot = Some(Opened { provider: Arc::clone(&provider), since: clock::now() });
    Ok(provider)
}

/// Keeps what was learned of zones, and warns of those that were seen by this pass and are not in order. That nothing can
/// be kept costs requests and no certificate.
pub(crate) fn keep_zones(context: &Context, afresh: bool) {
    let opened = lock(context.dns.slot(afresh)).clone();
    let Some(Opened { provider, since }) = opened else { return };
    let zones = provider.zones();
    let seen_now = zones.values().filter(|zone| zone.seen_at >= since);
    seen_now.filter_map(of_zone).for_each(|failure| context.dns.warn(failure));
    keep(context, |learned| learned.zones = zones);
}

/// The address records of a name, as the provider has them.
pub(crate) async fn at_provider(context: &Context, name: &str) -> Result<Vec<AtProvider>, Finding> {
    let shown = provider(context, false)?.addresses(name).await;
    shown.map_err(|error| of_dns(name, &error))
}

/// Keeps which nodes DNS named.
pub(crate) fn keep_discovered(context: &Context, seen: BTreeMap<DnsName, LastSeen>) {
    keep(context, |learned| learned.discovered = seen);
}

/// Asks, at most once a day or `afresh`, how long the token is good for; and tells it when that is not long any more.
pub async fn ask_token(context: &Context, afresh: bool) {
    let asked = async {
        let known = context.store.learned().ok()?.token;
        // Old, and still what holds when nobody answers.
        let old = |known| KnownToken { asked_at: Timestamp::UNIX_EPOCH, ..known };
        let known = if afresh { known.map(old) } else { known };
        provider(context, afresh).ok()?.token(known).await
    };
    let Some(token) = asked.await else { return };
    keep(context, |learned| learned.token = Some(token.clone()));
    of_token(&token, clock::now()).into_iter().for_each(|failure| context.dns.warn(failure));
}

/// What an earlier run heard of the token, for commands that only look and have no token to ask with.
pub fn known_token_trouble(context: &Context, now: Timestamp) -> Option<Finding> {
    let config::Provider::Cloudflare { .. } = context.config.dns.provider else { return None };
    of_token(&context.store.learned().ok()?.token?, now)
}

fn of_token(token: &KnownToken, now: Timestamp) -> Option<Finding> {
    let trouble = token.trouble(now)?;
    let next = "make a new token with the permissions Zone / Zone / Read and Zone / DNS / Edit, and replace the file";
    Some(Finding::new(trouble.code(), "dns.token_file", trouble.to_string(), next, Advice::Person))
}

fn of_zone(zone: &KnownZone) -> Option<Finding> {
    let trouble = zone.trouble()?;
    let (what, next) = (trouble.to_string(), trouble.next().to_owned());
    let (code, object) = (Code::DnsZoneStatus, zone.name.clone());
    Some(Finding::new(code, object, what, next, Advice::Person))
}

/// So many records of others stand at the name that the CA's question is not answered in one datagram.
pub(crate) fn of_crowd(name: &str, records: usize, bytes: usize) -> Option<Finding> {
    (bytes > ONE_DATAGRAM).then(|| {
        Finding::new(
            Code::DnsLongAnswer,
            name,
            format!("{records} TXT records stand there, {bytes} bytes: more than one datagram of DNS takes"),
            "remove those that nobody needs; certd removes none but its own",
            Advice::Person,
        )
    })
}

fn keep(context: &Context, change: impl FnOnce(&mut Learned)) {
    let _one_at_a_time = lock(&context.dns.writing);
    let changed = || {
        let before = context.store.learned()?;
        let mut after = before.clone();
        change(&mut after);
        if after == before { Ok(()) } else { context.store.write_learned(&after) }
    };
    let kept: Result<(), StoreError> = changed();
    if let Err(error) = kept {
        context.dns.warn(of_store(&error));
    }
}

//! The DNS provider of a pass: one client for all certificates, so that they share a connection, the known zones and
//! the rate limit; and the DNS cache, which is kept for the next run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::cert::DnsName;
use crate::config;
use crate::context::effect_failure::of_dns;
use crate::context::{Context, clock};
use crate::dns::{Cloudflare, DnsError, Doh, Exec, ONE_DATAGRAM, Provider, Resolvers, Rfc2136, Settings};
use crate::model::{AtProvider, Code, DnsCache, Finding, KnownToken, KnownZone, LastSeen};
use crate::mutex::lock;
use crate::store::StoreError;

/// The opened provider of a pass, and its warnings.
#[derive(Default)]
pub struct ProviderCache {
    usual: Mutex<Option<Opened>>,
    /// For a rehearsal, which must not rely on what earlier runs found.
    bypass_cache: Mutex<Option<Opened>>,
    /// Serializes writers of `dns.json`.
    writing: Mutex<()>,
    warnings: Mutex<Vec<Finding>>,
}

#[derive(Clone)]
struct Opened {
    provider: Arc<dyn Provider>,
    since: Timestamp,
}

impl ProviderCache {
    fn slot(&self, bypass_cache: bool) -> &Mutex<Option<Opened>> {
        if bypass_cache { &self.bypass_cache } else { &self.usual }
    }

    pub(crate) fn warn(&self, failure: Finding) {
        let mut warnings = lock(&self.warnings);
        if !warnings.contains(&failure) {
            warnings.push(failure);
        }
    }

    /// Findings that do not prevent issuance. Returns each once.
    pub fn take_warnings(&self) -> Vec<Finding> {
        core::mem::take(&mut *lock(&self.warnings))
    }
}

/// The resolvers, and the DoH servers among them.
pub(crate) fn resolvers(context: &Context) -> Result<(Resolvers, Doh), Finding> {
    let dns = &context.config.dns;
    // With configured name servers, names may differ from the public view, so DoH is not used.
    let doh = if dns.nameservers.is_empty() { Doh::new(&dns.doh, context.http_options()) } else { Doh::default() };
    let resolvers = Resolvers::new(&dns.resolvers, &dns.nameservers, doh.clone());
    Ok((resolvers.map_err(|error| of_dns("dns", &error))?, doh))
}

pub(crate) fn provider(context: &Context, bypass_cache: bool) -> Result<Arc<dyn Provider>, Finding> {
    let mut slot = lock(context.dns.slot(bypass_cache));
    if let Some(opened) = slot.as_ref() {
        return Ok(Arc::clone(&opened.provider));
    }
    let seed = context.store.state()?.seed;
    // Shows an operator with two controllers which one made a record.
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
                zones: context.store.dns_cache()?.zones,
                bypass_cache,
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

/// Writes the known zones to the DNS cache, and warns of those that this pass saw in a bad state. If the cache cannot
/// be written, later runs need more requests, nothing else.
pub(crate) fn keep_zones(context: &Context, bypass_cache: bool) {
    let opened = lock(context.dns.slot(bypass_cache)).clone();
    let Some(Opened { provider, since }) = opened else { return };
    let zones = provider.zones();
    let seen_now = zones.values().filter(|zone| zone.seen_at >= since);
    seen_now.filter_map(of_zone).for_each(|failure| context.dns.warn(failure));
    keep(context, |dns_cache| dns_cache.zones = zones);
}

/// The address records of a name, as the provider has them.
pub(crate) async fn at_provider(context: &Context, name: &str) -> Result<Vec<AtProvider>, Finding> {
    let shown = provider(context, false)?.addresses(name).await;
    shown.map_err(|error| of_dns(name, &error))
}

/// Writes the discovered nodes to the DNS cache.
pub(crate) fn keep_discovered(context: &Context, seen: BTreeMap<DnsName, LastSeen>) {
    keep(context, |dns_cache| dns_cache.discovered = seen);
}

/// Asks how long the token is valid, at most once a day unless `bypass_cache`, and warns when it expires soon.
pub async fn ask_token(context: &Context, bypass_cache: bool) {
    let asked = async {
        let known = context.store.dns_cache().ok()?.token;
        // Mark it as old, but keep it in case the provider does not answer.
        let old = |known| KnownToken { asked_at: Timestamp::UNIX_EPOCH, ..known };
        let known = if bypass_cache { known.map(old) } else { known };
        provider(context, bypass_cache).ok()?.token(known).await
    };
    let Some(token) = asked.await else { return };
    keep(context, |dns_cache| dns_cache.token = Some(token.clone()));
    of_token(&token, clock::now()).into_iter().for_each(|failure| context.dns.warn(failure));
}

/// The cached state of the token, for read-only commands, which do not read the token.
pub fn known_token_trouble(context: &Context, now: Timestamp) -> Option<Finding> {
    let config::Provider::Cloudflare { .. } = context.config.dns.provider else { return None };
    of_token(&context.store.dns_cache().ok()?.token?, now)
}

fn of_token(token: &KnownToken, now: Timestamp) -> Option<Finding> {
    let trouble = token.trouble(now)?;
    Some(Finding::for_a_person(trouble.code(), "dns.token_file", trouble.to_string(), trouble.next()))
}

fn of_zone(zone: &KnownZone) -> Option<Finding> {
    let trouble = zone.trouble()?;
    let (what, next) = (trouble.to_string(), trouble.next().to_owned());
    let (code, object) = (Code::DnsZoneStatus, zone.name.clone());
    Some(Finding::for_a_person(code, object, what, next))
}

/// Warns when foreign TXT records make the answer to the CA's query larger than one datagram.
pub(crate) fn of_long_answer(name: &str, records: usize, bytes: usize) -> Option<Finding> {
    (bytes > ONE_DATAGRAM).then(|| {
        Finding::for_a_person(
            Code::DnsLongAnswer,
            name,
            format!("{records} TXT records are there, {bytes} bytes: more than fits into one DNS datagram"),
            "remove those that are not needed; certd removes only its own",
        )
    })
}

fn keep(context: &Context, change: impl FnOnce(&mut DnsCache)) {
    let _one_at_a_time = lock(&context.dns.writing);
    let changed = || {
        let before = context.store.dns_cache()?;
        let mut after = before.clone();
        change(&mut after);
        if after == before { Ok(()) } else { context.store.write_dns_cache(&after) }
    };
    let kept: Result<(), StoreError> = changed();
    if let Err(error) = kept {
        context.dns.warn(error.into());
    }
}

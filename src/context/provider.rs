//! The DNS provider of a pass: one client for all certificates, so that they share a connection, the known zones and
//! the rate limit; and the DNS cache, which is kept for the next run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::cert::DnsName;
use crate::config;
use crate::context::effect_failure::of_dns;
use crate::context::{Context, clock};
use crate::dns::{
    ByZone, Cloudflare, DnsError, Doh, Exec, ONE_DATAGRAM, Provider, Resolvers, Rfc2136, Settings, Unread,
};
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
    /// The providers of which it is composed, each with its section's name; the first is that of `[dns]` itself.
    parts: Vec<(Option<String>, Arc<dyn Provider>)>,
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
    opened(context, bypass_cache).map(|opened| opened.provider)
}

fn opened(context: &Context, bypass_cache: bool) -> Result<Opened, Finding> {
    let mut slot = lock(context.dns.slot(bypass_cache));
    if let Some(opened) = slot.as_ref() {
        return Ok(opened.clone());
    }
    let dns = &context.config.dns;
    let known = context.store.dns_cache()?;
    let mut parts = Vec::new();
    for (section, provider) in dns.providers() {
        let provider = open(context, section, provider, known.zones(section), bypass_cache)?;
        parts.push((section.map(str::to_owned), provider));
    }
    let own = Arc::clone(&parts[0].1);
    let of_sections = dns.sections.iter().cloned().zip(parts[1..].iter().map(|(_, provider)| Arc::clone(provider)));
    let provider = if dns.sections.is_empty() { own } else { Arc::new(ByZone::new(own, of_sections.collect())) };
    Ok(slot.insert(Opened { provider, parts, since: clock::now() }).clone())
}

fn open(
    context: &Context,
    section: Option<&str>,
    provider: &config::Provider,
    zones: BTreeMap<String, KnownZone>,
    bypass_cache: bool,
) -> Result<Arc<dyn Provider>, Finding> {
    let seed = context.store.state()?.seed;
    // Shows an operator with two controllers which one made a record.
    let mark = format!("certd {:08x}", seed >> 32);
    let none = Zeroizing::default();
    let secret = match section.and_then(|section| context.secrets.dns_secrets.get(section)) {
        None if section.is_none() => &context.secrets.dns_secret,
        None => &none,
        Some(Ok(secret)) => secret,
        Some(Err(failure)) => {
            context.dns.warn(failure.clone());
            return Ok(Arc::new(Unread(failure.clone())));
        }
    };
    let provider: Result<Arc<dyn Provider>, DnsError> = match provider {
        config::Provider::Cloudflare { zone_id, api_base, .. } => {
            let settings = Settings {
                base: api_base,
                token: secret,
                zone_id: zone_id.as_deref(),
                options: &context.http_options(),
                mark: &mark,
                clock: clock::now,
                zones,
                bypass_cache,
            };
            Cloudflare::new(settings).map(|it| Arc::new(it) as _)
        }
        config::Provider::Rfc2136(primary) => Rfc2136::new(primary, secret, clock::now).map(|it| Arc::new(it) as _),
        config::Provider::Exec { command, timeout, addresses } => {
            let exec = Exec::new(command, *timeout);
            Ok(Arc::new(if *addresses { exec.with_addresses() } else { exec }))
        }
    };
    provider.map_err(|error| of_dns(key(section, ""), &error.of_section(section)))
}

/// `dns`, or `dns.NAME`, and a key in it.
pub(crate) fn key(section: Option<&str>, key: &str) -> String {
    let parts = ["dns", section.unwrap_or_default(), key];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// Writes the known zones to the DNS cache, and warns of those that this pass saw in a bad state. If the cache cannot
/// be written, later runs need more requests, nothing else.
pub(crate) fn keep_zones(context: &Context, bypass_cache: bool) {
    let opened = lock(context.dns.slot(bypass_cache)).clone();
    let Some(Opened { parts, since, .. }) = opened else { return };
    for (section, provider) in &parts {
        let zones = provider.zones();
        let seen_now = zones.values().filter(|zone| zone.seen_at >= since);
        seen_now.filter_map(of_zone).for_each(|failure| context.dns.warn(failure));
        keep(context, |dns_cache| dns_cache.keep_zones(section.as_deref(), zones));
    }
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

/// Asks how long each token is valid, at most once a day unless `bypass_cache`, and warns when it expires soon.
pub async fn ask_token(context: &Context, bypass_cache: bool) {
    let (Ok(dns_cache), Ok(Opened { parts, .. })) = (context.store.dns_cache(), opened(context, bypass_cache)) else {
        return;
    };
    let asked = parts.iter().map(async |(section, provider)| {
        let section = section.as_deref();
        let known = dns_cache.token(section);
        // Mark it as old, but keep it in case the provider does not answer.
        let old = |known| KnownToken { asked_at: Timestamp::UNIX_EPOCH, ..known };
        let known = if bypass_cache { known.map(old) } else { known };
        let Some(token) = provider.token(known).await else { return };
        keep(context, |dns_cache| dns_cache.keep_token(section, token.clone()));
        of_token(section, &token, clock::now()).into_iter().for_each(|failure| context.dns.warn(failure));
    });
    join_all(asked).await;
}

/// The cached states of the tokens, for read-only commands, which read no token.
pub fn known_token_troubles(context: &Context, now: Timestamp) -> Vec<Finding> {
    let Ok(dns_cache) = context.store.dns_cache() else { return Vec::new() };
    let tokens = sections_with_tokens(context).filter_map(|section| Some((section, dns_cache.token(section)?)));
    tokens.filter_map(|(section, token)| of_token(section, &token, now)).collect()
}

/// The sections whose provider has a token that can be asked about.
pub(crate) fn sections_with_tokens(context: &Context) -> impl Iterator<Item = Option<&str>> {
    let providers = context.config.dns.providers();
    providers.filter(|(_, it)| matches!(it, config::Provider::Cloudflare { .. })).map(|(section, _)| section)
}

fn of_token(section: Option<&str>, token: &KnownToken, now: Timestamp) -> Option<Finding> {
    let trouble = token.trouble(now)?;
    Some(Finding::for_a_person(trouble.code(), key(section, "token_file"), trouble.to_string(), trouble.next()))
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
        after.sections.retain(|name, _| context.config.dns.sections.iter().any(|section| section.name == *name));
        if after == before { Ok(()) } else { context.store.write_dns_cache(&after) }
    };
    let kept: Result<(), StoreError> = changed();
    if let Err(error) = kept {
        context.dns.warn(error.into());
    }
}

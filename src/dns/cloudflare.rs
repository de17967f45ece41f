//! Cloudflare's API: exactly the calls that TXT and address records take. The token is sent in one header, marked sensitive, and is
//! part of no URL and no error.
//!
//! For each zone, an issuance takes three requests, however many names it has: find the zone, make one batch of records,
//! remove one batch. With a known zone id it takes two.

mod addresses;
mod api;
mod complaint;
mod limit;
mod records;
mod refusal;
mod token;
mod zones;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Url;
use zeroize::Zeroizing;

use super::{DnsError, Handle, Provider, TxtRecord, Zone};
use crate::http::HttpOptions;
use crate::model::{AddressRecord, AtProvider, KnownToken, KnownZone, Swap};
use api::{Api, segment};
use zones::Zones;

pub struct Settings<'a> {
    pub base: &'a Url,
    /// Read anew for every pass.
    pub token: &'a Zeroizing<String>,
    pub zone_id: Option<&'a str>,
    pub options: &'a HttpOptions,
    /// Written into each record's comment, to recognize our records.
    pub mark: &'a str,
    pub clock: fn() -> Timestamp,
    /// The cache of earlier runs.
    pub zones: BTreeMap<String, KnownZone>,
    /// Query zones even if cached: a rehearsal tests what a renewal may take from the cache.
    pub bypass_cache: bool,
}

pub struct Cloudflare {
    api: Arc<Api>,
    zone_id: Option<String>,
    mark: String,
    bypass_cache: bool,
    zones: Zones,
}

impl Cloudflare {
    pub fn new(settings: Settings<'_>) -> Result<Self, DnsError> {
        let Settings { base, token, zone_id, options, mark, clock, zones, bypass_cache } = settings;
        let api = Arc::new(Api::new(base, token, options, clock)?);
        let zones = Zones::new(Arc::clone(&api), zones, bypass_cache);
        Ok(Self { api, zone_id: zone_id.map(str::to_owned), mark: mark.to_owned(), bypass_cache, zones })
    }
}

/// Why a text cannot be a token of this API.
pub fn malformed_token(text: &str) -> Option<&'static str> {
    token::malformed(text)
}

#[async_trait]
impl Provider for Cloudflare {
    async fn zone(&self, name: &str, apex: Option<&str>) -> Result<Zone, DnsError> {
        // No request: a token may be allowed to edit the records, but not to read the zone.
        if let Some(id) = &self.zone_id {
            if self.bypass_cache {
                self.zones.look_at(id).await;
            }
            return Ok(Zone { id: id.clone(), name: None });
        }
        self.zones.find(name, apex).await
    }

    fn knows_its_zones(&self, _name: &str) -> bool {
        self.zone_id.is_none()
    }

    async fn publish(&self, zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>> {
        let made = self.make(zone, records).await;
        let refused = made.iter().any(|made| made.as_ref().is_err_and(DnsError::refuses_zone));
        match records.first() {
            Some(first) if refused && self.zone_id.is_none() => {
                match self.zones.replacement(&zone.id, &first.name).await {
                    Some(zone) => self.make(&zone, records).await,
                    None => made,
                }
            }
            _ => made,
        }
    }

    async fn remove(&self, handles: &[Handle]) -> Vec<Result<(), DnsError>> {
        let mut removed = self.take_away(handles).await;
        for (handle, removed) in handles.iter().zip(&mut removed) {
            // Another provider made the record, before the configuration changed: find it by name and value.
            if segment(&handle.zone).is_err() {
                *removed = match self.zone(&handle.name, None).await {
                    Ok(zone) => self.remove_one(&Handle { zone: zone.id, record: None, ..handle.clone() }).await,
                    Err(error) => Err(error),
                };
                continue;
            }
            if self.zone_id.is_some() || !removed.as_ref().is_err_and(DnsError::refuses_zone) {
                continue;
            }
            // The zone was replaced, and the record has another id in the new one: find it by name and value.
            if let Some(zone) = self.zones.replacement(&handle.zone, &handle.name).await {
                *removed = self.remove_one(&Handle { zone: zone.id, record: None, ..handle.clone() }).await;
            }
        }
        removed
    }

    fn zones(&self) -> BTreeMap<String, KnownZone> {
        self.zones.known()
    }

    async fn addresses(&self, name: &str) -> Result<Vec<AtProvider>, DnsError> {
        let zone = self.zone(name, None).await?;
        self.at_provider(&zone, name).await
    }

    async fn address_records(&self, zone: &Zone, name: &str) -> Result<Vec<AddressRecord>, DnsError> {
        self.read(zone, name).await.map(|(_, records)| records)
    }

    async fn withdraw(&self, zone: &Zone, record: &AddressRecord, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        self.take_out(zone, record, all).await
    }

    async fn restore(&self, zone: &Zone, record: &AddressRecord, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        self.put_back(zone, record, all).await
    }

    async fn texts(&self, zone: &Zone, name: &str) -> Result<Vec<String>, DnsError> {
        self.texts_at(zone, name).await
    }

    fn forget(&self, zone: &Zone) {
        self.zones.forget(&zone.id);
    }

    async fn token(&self, known: Option<KnownToken>) -> Option<KnownToken> {
        token::ask(&self.api, &self.zones, self.zone_id.as_deref(), known).await
    }
}

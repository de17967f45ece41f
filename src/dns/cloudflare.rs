//! Cloudflare: exactly the calls that TXT records take. The token travels in one header, marked sensitive, and is in no
//! URL and no error.
//!
//! An issuance takes three requests, however many names it has in a zone: the zone, one batch of records made, one batch
//! removed; two when the zone's id is known.

mod api;
mod limit;
mod records;
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
use crate::model::{AtProvider, KnownToken, KnownZone};
use api::{Api, segment};
use zones::Zones;

pub struct Settings<'a> {
    pub base: &'a Url,
    /// Read again for every pass.
    pub token: &'a Zeroizing<String>,
    pub zone_id: Option<&'a str>,
    pub options: &'a HttpOptions,
    /// Written into each record's comment: who made it.
    pub mark: &'a str,
    pub clock: fn() -> Timestamp,
    /// As earlier runs saw them.
    pub zones: BTreeMap<String, KnownZone>,
    /// Ask for zones whatever earlier runs saw: a rehearsal tries what a renewal may rely on.
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

#[async_trait]
impl Provider for Cloudflare {
    async fn zone(&self, name: &str, apex: Option<&str>) -> Result<Zone, DnsError> {
        // A token may be allowed to edit the records and not to read the zone.
        if let Some(id) = &self.zone_id {
            if self.bypass_cache {
                self.zones.look_at(id).await;
            }
            return Ok(Zone { id: id.clone(), name: None });
        }
        self.zones.find(name, apex).await
    }

    async fn publish(&self, zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>> {
        let made = self.make(zone, records).await;
        let refused = made.iter().any(|made| made.as_ref().is_err_and(DnsError::refuses_zone));
        match records.first() {
            Some(first) if refused && self.zone_id.is_none() => match self.zones.anew(&zone.id, &first.name).await {
                Some(zone) => self.make(&zone, records).await,
                None => made,
            },
            _ => made,
        }
    }

    async fn remove(&self, handles: &[Handle]) -> Vec<Result<(), DnsError>> {
        let mut removed = self.take_away(handles).await;
        for (handle, removed) in handles.iter().zip(&mut removed) {
            // Another provider has made it, which the configuration named before: here it is known by its value alone.
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
            // Its id in the zone that replaced this one would be another too.
            if let Some(zone) = self.zones.anew(&handle.zone, &handle.name).await {
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
        self.address_records(&zone, name).await
    }

    fn forget(&self, zone: &Zone) {
        self.zones.forget(&zone.id);
    }

    async fn token(&self, known: Option<KnownToken>) -> Option<KnownToken> {
        token::ask(&self.api, &self.zones, self.zone_id.as_deref(), known).await
    }
}

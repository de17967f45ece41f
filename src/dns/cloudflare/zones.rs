//! Finding the zone that holds a name: the zone according to DNS is queried first, and its id is cached across runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use reqwest::Method;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::api::{Api, segment};
use crate::dns::{DnsError, Zone};
use crate::model::KnownZone;
use crate::mutex::lock;
use crate::text::escape;

const ZONES_A_PAGE: u32 = 50;

/// Zones by name, each queried once, since the names of a certificate mostly share one.
type Asked = BTreeMap<String, Arc<OnceCell<Vec<KnownZone>>>>;

pub(super) struct Zones {
    api: Arc<Api>,
    bypass_cache: bool,
    known: Mutex<BTreeMap<String, KnownZone>>,
    /// Queries of this process, by name.
    asked: Mutex<Asked>,
}

/// https://developers.cloudflare.com/api/resources/zones/methods/list/
#[derive(Deserialize)]
struct Found {
    id: String,
    name: String,
    #[serde(default = "active")]
    status: String,
    #[serde(default)]
    paused: bool,
    account: Option<Account>,
}

#[derive(Deserialize)]
struct Account {
    id: Option<String>,
}

impl Zones {
    pub(super) fn new(api: Arc<Api>, known: BTreeMap<String, KnownZone>, bypass_cache: bool) -> Self {
        Self { api, bypass_cache, known: Mutex::new(known), asked: Mutex::default() }
    }

    pub(super) fn known(&self) -> BTreeMap<String, KnownZone> {
        lock(&self.known).clone()
    }

    /// The zone according to DNS (`apex`), or the longest suffix of `name` that the token sees. None shorter than `apex`:
    /// records above a delegation are not visible.
    pub(super) async fn find(&self, name: &str, apex: Option<&str>) -> Result<Zone, DnsError> {
        let apex = apex.filter(|apex| suffixes(name).any(|suffix| suffix.eq_ignore_ascii_case(apex)));
        if let Some(apex) = apex {
            if let Some(zone) = self.cached(apex) {
                return Ok(zone);
            }
            if let Some(zone) = one(name, &self.named(apex).await?)? {
                return Ok(zone);
            }
        }
        let others = suffixes(name).filter(|suffix| apex.is_none_or(|apex| suffix.len() > apex.len()));
        for found in join_all(others.map(|suffix| self.named(suffix))).await {
            if let Some(zone) = one(name, &found?)? {
                return Ok(zone);
            }
        }
        Err(DnsError::NoZone { name: name.to_owned(), apex: apex.map(str::to_owned) })
    }

    /// The zone that replaced a cached one, after the API refused that; queried once.
    pub(super) async fn replacement(&self, refused: &str, name: &str) -> Option<Zone> {
        let within = |zone: &&KnownZone| suffixes(name).any(|suffix| suffix.eq_ignore_ascii_case(&zone.name));
        let known = self.known();
        let Some(zone) = known.values().filter(within).max_by_key(|zone| zone.name.len()) else {
            // Refused in a run that has not looked for the name's zone: it was in another account.
            return self.find(name, None).await.ok().filter(|found| found.id != refused);
        };
        if zone.id != refused {
            return Some(Zone { id: zone.id.clone(), name: Some(zone.name.clone()) });
        }
        if lock(&self.asked).contains_key(&zone.name) {
            return None;
        }
        self.forget(refused);
        let found = one(name, &self.named(&zone.name).await.ok()?).ok()??;
        (found.id != refused).then_some(found)
    }

    pub(super) fn forget(&self, id: &str) {
        let mut known = lock(&self.known);
        known.retain(|_, zone| zone.id != id);
        drop(known);
        let of_id = |zones: &Vec<KnownZone>| zones.iter().any(|zone| zone.id == id);
        lock(&self.asked).retain(|_, cell| !cell.get().is_some_and(of_id));
    }

    /// Caches the name and state of a zone that is configured by its id, if the token may read them.
    pub(super) async fn look_at(&self, id: &str) {
        let Ok(id) = segment(id) else { return };
        // https://developers.cloudflare.com/api/resources/zones/methods/get/
        let found = self.api.call::<Found>(Method::GET, &format!("zones/{id}"), &[], None).await;
        if let Ok(found) = found {
            self.keep(&self.seen(found));
        }
    }

    /// The account of any cached zone.
    pub(super) fn account(&self) -> Option<String> {
        lock(&self.known).values().find_map(|zone| zone.account.clone())
    }

    /// The zone with this id, with its name if that is cached.
    pub(super) fn shown(&self, id: &str) -> Zone {
        let name = lock(&self.known).values().find(|zone| zone.id == id).map(|zone| zone.name.clone());
        Zone { id: id.to_owned(), name }
    }

    /// The cached zone of this name. A zone in trouble is queried anew each time.
    fn cached(&self, name: &str) -> Option<Zone> {
        let known = lock(&self.known).get(&self.key(name)).cloned();
        let known = known.filter(|zone| !self.bypass_cache && zone.trouble().is_none())?;
        Some(Zone { id: known.id, name: Some(known.name) })
    }

    async fn named(&self, name: &str) -> Result<Vec<KnownZone>, DnsError> {
        let name = ascii(name);
        let cell = Arc::clone(lock(&self.asked).entry(name.clone()).or_default());
        let ask = async || {
            let per_page = ZONES_A_PAGE.to_string();
            let query = [("name", name.as_str()), ("per_page", per_page.as_str())];
            let found: Vec<Found> = self.api.pages("zones", &query, false).await?;
            let found = found.into_iter().filter(|zone| ascii(&zone.name) == name);
            let found: Vec<KnownZone> = found.map(|zone| self.seen(zone)).collect();
            if let [zone] = found.as_slice() {
                self.keep(zone);
            }
            Ok(found)
        };
        cell.get_or_try_init(ask).await.cloned()
    }

    fn seen(&self, found: Found) -> KnownZone {
        KnownZone {
            id: found.id,
            name: escape(&ascii(&found.name), 260),
            account: found.account.and_then(|account| account.id),
            status: escape(&found.status, 40),
            paused: found.paused,
            seen_at: self.api.now(),
        }
    }

    fn keep(&self, zone: &KnownZone) {
        lock(&self.known).insert(self.key(&zone.name), zone.clone());
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{}", self.api.name(), name.to_ascii_lowercase())
    }
}

/// The form in which names are compared: A-labels in lower case, without a dot at the end. The API finds a zone by its
/// A-labels, and names it in Unicode.
pub(super) fn ascii(name: &str) -> String {
    let name = name.trim_end_matches('.');
    idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_ascii_lowercase())
}

fn one(name: &str, found: &[KnownZone]) -> Result<Option<Zone>, DnsError> {
    match found {
        [] => Ok(None),
        [zone] => Ok(Some(Zone { id: zone.id.clone(), name: Some(zone.name.clone()) })),
        several => {
            let (name, zone, count) = (name.to_owned(), several[0].name.clone(), several.len());
            Err(DnsError::SeveralZones { name, zone, count })
        }
    }
}

/// The possible zones of a name, longest first. A zone has at least two labels, and does not begin with an underscore.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    let starts = core::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
    starts.map(|at| &name[at..]).filter(|suffix| suffix.contains('.') && !suffix.starts_with('_'))
}

fn active() -> String {
    "active".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_by_their_a_labels() {
        for name in ["bücher.example", "BÜCHER.example.", "bu\u{308}cher.example", "xn--BCHER-kva.EXAMPLE"] {
            assert_eq!(ascii(name), "xn--bcher-kva.example", "{name}");
        }
        assert_eq!(ascii("_acme-challenge.A.example"), "_acme-challenge.a.example");
    }

    #[test]
    fn c13_the_longest_suffix_comes_first() {
        let all: Vec<&str> = suffixes("_acme-challenge.a.b.example").collect();
        assert_eq!(all, ["a.b.example", "b.example"]);
    }
}

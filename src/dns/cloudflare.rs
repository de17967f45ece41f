//! Cloudflare: exactly the four calls that a TXT record takes. The token travels in one header, marked sensitive, and
//! is in no URL and no error.

mod api;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::future::join_all;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::{DnsError, Handle, Provider, TxtRecord, Way, Zone};
use api::{Api, Refusal};

/// The API's least for a record that is not proxied, in seconds.
const TTL: u32 = 60;
/// An answer's pages that we read. Zones are asked for by name, records by name and type: one page is usual.
const MOST_PAGES: u32 = 20;
const ZONES_A_PAGE: u32 = 50;
const RECORDS_A_PAGE: u32 = 100;
/// "An identical record already exists", "Record already exists".
const ALREADY_THERE: [u64; 2] = [81057, 81058];
/// "Record does not exist".
const GONE: u64 = 81044;

/// Zones of one name, looked up once: the names of a certificate mostly share theirs.
type Known = Mutex<BTreeMap<String, Arc<OnceCell<Vec<FoundZone>>>>>;

pub struct Cloudflare {
    api: Arc<Api>,
    zone_id: Option<String>,
    /// Written into each record's comment: who made it.
    mark: String,
    zones: Arc<Known>,
}

#[derive(Clone, Debug, Deserialize)]
struct FoundZone {
    id: String,
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct FoundRecord {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    content: String,
}

impl Cloudflare {
    /// `mark` tells people in the dashboard who made a record. `token` is read again for every pass.
    pub fn new(
        base: &Url,
        token: &Zeroizing<String>,
        zone_id: Option<&str>,
        way: &Way,
        mark: &str,
    ) -> Result<Self, DnsError> {
        let api = Arc::new(Api::new(base, token, way)?);
        Ok(Self { api, zone_id: zone_id.map(str::to_owned), mark: mark.to_owned(), zones: Arc::default() })
    }

    /// Our value at this name, however often the API quotes or splits it.
    async fn find(&self, zone: &str, name: &str, value: &str) -> Result<Vec<FoundRecord>, DnsError> {
        // https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/list/
        let per_page = RECORDS_A_PAGE.to_string();
        let query = [("type", "TXT"), ("name", name), ("per_page", per_page.as_str())];
        let records: Vec<FoundRecord> = self.pages(&format!("zones/{zone}/dns_records"), &query).await?;
        let ours = |record: &FoundRecord| {
            record.kind == "TXT" && record.name.eq_ignore_ascii_case(name) && content(&record.content) == value
        };
        Ok(records.into_iter().filter(ours).collect())
    }

    async fn pages<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, DnsError> {
        pages(&self.api, path, query).await
    }
}

#[async_trait]
impl Provider for Cloudflare {
    async fn zone(&self, name: &str, _apex: Option<&str>) -> Result<Zone, DnsError> {
        // A token may be allowed to edit the records and not to read the zone.
        if let Some(id) = &self.zone_id {
            return Ok(Zone { id: id.clone(), name: None });
        }
        let suffixes: Vec<String> = suffixes(name).map(str::to_owned).collect();
        let mut asked = JoinSet::new();
        for (rank, suffix) in suffixes.into_iter().enumerate() {
            let (api, zones) = (Arc::clone(&self.api), Arc::clone(&self.zones));
            asked.spawn(async move { (rank, zones_named(&api, &zones, suffix).await) });
        }
        let mut found = asked.join_all().await;
        found.sort_by_key(|(rank, _)| *rank);
        for (_, zones) in found {
            match zones?.as_slice() {
                [] => {}
                [zone] => return Ok(Zone { id: zone.id.clone(), name: Some(zone.name.clone()) }),
                several => {
                    let (name, zone, count) = (name.to_owned(), several[0].name.clone(), several.len());
                    return Err(DnsError::SeveralZones { name, zone, count });
                }
            }
        }
        Err(DnsError::NoZone { name: name.to_owned() })
    }

    async fn publish(&self, zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>> {
        join_all(records.iter().map(|record| self.publish_one(zone, &record.name, &record.value))).await
    }

    async fn remove(&self, handles: &[Handle]) -> Vec<Result<(), DnsError>> {
        join_all(handles.iter().map(|handle| self.remove_one(handle))).await
    }
}

impl Cloudflare {
    async fn publish_one(&self, zone: &Zone, name: &str, value: &str) -> Result<Handle, DnsError> {
        // https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/create/
        let path = format!("zones/{}/dns_records", api::segment(&zone.id)?);
        let record = json!({
            "type": "TXT", "name": name, "content": format!("\"{value}\""), "ttl": TTL, "comment": self.mark,
        });
        let made: Result<FoundRecord, Refusal> = self.api.call(Method::POST, &path, &[], Some(&record)).await;
        let handle = |record: &FoundRecord| Handle {
            zone: zone.id.clone(),
            name: name.to_owned(),
            value: value.to_owned(),
            record: Some(record.id.clone()),
        };
        match made {
            Ok(record) => Ok(handle(&record)),
            // It is there already, or its creation may have been carried out though we heard nothing: look.
            Err(refusal) if refusal.has_code(&ALREADY_THERE) || refusal.may_have_happened() => {
                let there = self.find(api::segment(&zone.id)?, name, value).await;
                match there.ok().and_then(|found| found.first().map(handle)) {
                    Some(handle) => Ok(handle),
                    None => Err(refusal.into()),
                }
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    async fn remove_one(&self, handle: &Handle) -> Result<(), DnsError> {
        let zone = api::segment(&handle.zone)?;
        let ids = match &handle.record {
            Some(id) => vec![id.clone()],
            None => self.find(zone, &handle.name, &handle.value).await?.into_iter().map(|record| record.id).collect(),
        };
        for id in ids {
            // https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/delete/
            let path = format!("zones/{zone}/dns_records/{}", api::segment(&id)?);
            let removed: Result<serde_json::Value, Refusal> = self.api.call(Method::DELETE, &path, &[], None).await;
            match removed {
                Err(refusal) if refusal.has_code(&[GONE]) => {}
                Err(refusal) => return Err(refusal.into()),
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

async fn zones_named(api: &Api, known: &Known, name: String) -> Result<Vec<FoundZone>, DnsError> {
    let cell = Arc::clone(known.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default());
    let ask = async || {
        // https://developers.cloudflare.com/api/resources/zones/methods/list/
        let per_page = ZONES_A_PAGE.to_string();
        let zones: Vec<FoundZone> =
            pages(api, "zones", &[("name", name.as_str()), ("per_page", per_page.as_str())]).await?;
        Ok(zones.into_iter().filter(|zone| zone.name.eq_ignore_ascii_case(&name)).collect())
    };
    cell.get_or_try_init(ask).await.cloned()
}

async fn pages<T: serde::de::DeserializeOwned>(
    api: &Api,
    path: &str,
    query: &[(&str, &str)],
) -> Result<Vec<T>, DnsError> {
    let mut all = Vec::new();
    for page in 1..=MOST_PAGES {
        let number = page.to_string();
        let query: Vec<(&str, &str)> = query.iter().copied().chain([("page", number.as_str())]).collect();
        let (part, pages) = api.page(path, &query).await?;
        all.extend(part);
        if page >= pages {
            break;
        }
    }
    Ok(all)
}

/// What may be the zone of a name, longest first. A zone has two labels at least, and none begins with an underscore.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    let starts = core::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
    starts.map(|at| &name[at..]).filter(|suffix| suffix.contains('.') && !suffix.starts_with('_'))
}

/// TXT content without the quotes and splits of zone files: `"abc" "def"` is abcdef.
fn content(text: &str) -> String {
    if !text.contains('"') {
        return text.to_owned();
    }
    text.split('"').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c13_the_longest_suffix_comes_first() {
        let all: Vec<&str> = suffixes("_acme-challenge.a.b.example").collect();
        assert_eq!(all, ["a.b.example", "b.example"]);
    }

    #[test]
    fn c16_a_value_is_known_quoted_and_split() {
        for text in ["abcdef", "\"abcdef\"", "\"abc\" \"def\""] {
            assert_eq!(content(text), "abcdef");
        }
    }
}

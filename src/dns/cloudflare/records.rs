//! Making and removing TXT records of one zone: a single record by its own call, several by one batch.
//!
//! A batch is one transaction: "If any of the individual action fails, no changes are applied and the API returns the
//! first error it encountered." (https://developers.cloudflare.com/dns/manage-dns-records/how-to/batch-record-changes/)
//! So after a refusal each record is tried separately, and gets its own error.

use futures_util::future::join_all;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Cloudflare;
use super::api::{ATTEMPTS, PAUSE, segment};
use super::refusal::Refusal;
use super::zones::ascii;
use crate::dns::txt_lookup::unquoted;
use crate::dns::{DnsError, Handle, TxtRecord, Zone};

/// The API's minimum for a record that is not proxied, in seconds.
const TTL: u32 = 60;
const RECORDS_A_PAGE: u32 = 100;
/// The batch limit of the free plan; other plans allow more.
const BATCH: usize = 200;
/// "An identical record already exists", "Record already exists".
pub(super) const ALREADY_THERE: [u64; 2] = [81057, 81058];
/// "Record does not exist", "Invalid DNS record identifier".
pub(super) const GONE: [u64; 2] = [81044, 1032];

#[derive(Clone, Debug, Deserialize)]
struct Found {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    /// Records of some other types have none.
    #[serde(default)]
    content: String,
}

#[derive(Deserialize)]
struct Batch {
    posts: Option<Vec<Found>>,
}

impl Cloudflare {
    pub(super) async fn make(&self, zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>> {
        let mut made = Vec::new();
        for part in records.chunks(BATCH) {
            match part {
                [record] => made.push(self.make_one(zone, record).await),
                several => made.extend(self.make_several(zone, several).await),
            }
        }
        made.into_iter().map(|made| made.map_err(|error| error.in_zone(zone))).collect()
    }

    pub(super) async fn take_away(&self, handles: &[Handle]) -> Vec<Result<(), DnsError>> {
        let handles = &self.identified(handles).await;
        let mut removed = Vec::new();
        for part in handles.chunks(BATCH) {
            let ids: Vec<&str> = part.iter().filter_map(|handle| handle.record.as_deref()).collect();
            let together = ids.len() == part.len() && part.iter().all(|handle| handle.zone == part[0].zone);
            let refused = match part {
                [_] | [] => None,
                _ if !together => None,
                _ => Some(self.remove_several(&part[0].zone, &ids).await),
            };
            match refused {
                Some(Ok(())) => removed.extend(part.iter().map(|_| Ok(()))),
                Some(Err(error)) if error.is_about_the_token() => removed.extend(copies(error, part.len())),
                // A record of the batch is gone already, or the result is unknown: removing a missing record succeeds.
                _ => removed.extend(join_all(part.iter().map(|handle| self.remove_one(handle))).await),
            }
        }
        let named = |(removed, handle): (Result<(), DnsError>, &Handle)| {
            removed.map_err(|error| error.in_zone(&self.zones.shown(&handle.zone)))
        };
        removed.into_iter().zip(handles).map(named).collect()
    }

    /// Finds the ids of several records by one query for our mark, where they are unknown (certd was killed before the
    /// answer).
    async fn identified(&self, handles: &[Handle]) -> Vec<Handle> {
        let mut handles = handles.to_vec();
        let unknown = handles.iter().filter(|handle| handle.record.is_none()).count();
        let Some(zone) = handles.first().map(|handle| handle.zone.clone()).filter(|_| unknown > 1) else {
            return handles;
        };
        let Ok(id) = segment(&zone) else { return handles };
        let ours: Vec<Found> =
            self.records(id, &[("type", "TXT"), ("comment.exact", &self.mark)], false).await.unwrap_or_default();
        for handle in handles.iter_mut().filter(|handle| handle.zone == zone && handle.record.is_none()) {
            let wanted = TxtRecord { name: handle.name.clone(), value: handle.value.clone() };
            handle.record = ours.iter().find(|found| found.is(&wanted)).map(|found| found.id.clone());
        }
        handles
    }

    /// Removes a record by its id, or finds it by name and value.
    pub(super) async fn remove_one(&self, handle: &Handle) -> Result<(), DnsError> {
        let zone = segment(&handle.zone)?;
        let ids = match &handle.record {
            Some(id) => vec![id.clone()],
            None => self.find(zone, &handle.name, &handle.value).await?.into_iter().map(|record| record.id).collect(),
        };
        for id in ids {
            // https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/delete/
            let path = format!("zones/{zone}/dns_records/{}", segment(&id)?);
            match self.api.done(Method::DELETE, &path, None).await {
                Err(refusal) if refusal.has_code(&GONE) => {}
                done => done?,
            }
        }
        Ok(())
    }

    async fn remove_several(&self, zone: &str, ids: &[&str]) -> Result<(), DnsError> {
        let mut deletes = Vec::new();
        for id in ids {
            deletes.push(json!({ "id": segment(id)? }));
        }
        Ok(self.api.done(Method::POST, &batch_of(zone)?, Some(&json!({ "deletes": deletes }))).await?)
    }

    async fn make_one(&self, zone: &Zone, record: &TxtRecord) -> Result<Handle, DnsError> {
        // https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/create/
        let id = segment(&zone.id)?;
        let (path, body) = (format!("zones/{id}/dns_records"), self.body(record));
        let (mut attempt, mut pause) = (1, PAUSE);
        loop {
            let refusal = match self.api.call::<Found>(Method::POST, &path, &[], Some(&body)).await {
                Ok(made) => return Ok(handle(zone, record, &made)),
                Err(refusal) => refusal,
            };
            if !refusal.has_code(&ALREADY_THERE) && !refusal.may_have_happened() {
                return Err(refusal.into());
            }
            // The record exists, or may have been created although no answer came: check.
            match self.find(id, &record.name, &record.value).await.as_deref() {
                Ok([there, ..]) => return Ok(handle(zone, record, there)),
                Ok([]) if refusal.may_have_happened() && attempt < ATTEMPTS => {}
                _ => return Err(refusal.into()),
            }
            sleep(pause).await;
            pause *= 2;
            attempt += 1;
        }
    }

    async fn make_several(&self, zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>> {
        let id = match segment(&zone.id) {
            Ok(id) => id,
            Err(error) => return copies(error, records.len()),
        };
        let bodies: Vec<Value> = records.iter().map(|record| self.body(record)).collect();
        let there = match self.batch(id, &json!({ "posts": bodies })).await {
            Ok(batch) => batch.posts.unwrap_or_default(),
            // A batch is one transaction: all records exist, or none does. All carry our mark.
            Err(refusal) if refusal.may_have_happened() => {
                match self.records::<Found>(id, &[("type", "TXT"), ("comment.exact", &self.mark)], false).await {
                    Ok(ours) => ours,
                    Err(_) => return copies(refusal.into(), records.len()),
                }
            }
            Err(refusal) => {
                let error = DnsError::from(refusal);
                if error.is_about_the_token() {
                    return copies(error, records.len());
                }
                Vec::new()
            }
        };
        let each = records.iter().map(async |record| match there.iter().find(|found| found.is(record)) {
            Some(found) => Ok(handle(zone, record, found)),
            None => self.make_one(zone, record).await,
        });
        join_all(each).await
    }

    /// https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/batch/
    async fn batch(&self, zone: &str, changes: &Value) -> Result<Batch, Refusal> {
        let path = batch_of(zone).map_err(Refusal::NoAnswer)?;
        self.api.call(Method::POST, &path, &[], Some(changes)).await
    }

    /// The records with our value at this name, whether or not the API quotes or splits it.
    async fn find(&self, zone: &str, name: &str, value: &str) -> Result<Vec<Found>, DnsError> {
        let mut records: Vec<Found> = self.records(zone, &[("type", "TXT"), ("name", name)], false).await?;
        let wanted = TxtRecord { name: name.to_owned(), value: value.to_owned() };
        records.retain(|record| record.is(&wanted));
        Ok(records)
    }

    /// https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/list/
    pub(super) async fn records<T: DeserializeOwned>(
        &self,
        zone: &str,
        query: &[(&str, &str)],
        whole: bool,
    ) -> Result<Vec<T>, DnsError> {
        let per_page = RECORDS_A_PAGE.to_string();
        let query: Vec<(&str, &str)> = query.iter().copied().chain([("per_page", per_page.as_str())]).collect();
        self.api.pages(&format!("zones/{zone}/dns_records"), &query, whole).await
    }

    fn body(&self, record: &TxtRecord) -> Value {
        let content = format!("\"{}\"", record.value);
        json!({ "type": "TXT", "name": record.name, "content": content, "ttl": TTL, "comment": self.mark })
    }
}

impl Found {
    fn is(&self, record: &TxtRecord) -> bool {
        self.kind == "TXT" && ascii(&self.name) == ascii(&record.name) && unquoted(&self.content) == record.value
    }
}

fn batch_of(zone: &str) -> Result<String, DnsError> {
    Ok(format!("zones/{}/dns_records/batch", segment(zone)?))
}

fn handle(zone: &Zone, record: &TxtRecord, found: &Found) -> Handle {
    let (name, value) = (record.name.clone(), record.value.clone());
    Handle { zone: zone.id.clone(), name, value, record: Some(found.id.clone()) }
}

/// A batch fails as a whole: one error for each of its records.
fn copies<T>(error: DnsError, count: usize) -> Vec<Result<T, DnsError>> {
    vec![error; count].into_iter().map(Err).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_recognized_in_a_zone_that_the_api_names_in_unicode() {
        let record = TxtRecord { name: "_acme-challenge.xn--bcher-kva.example".to_owned(), value: "v".to_owned() };
        for name in [
            "_acme-challenge.bücher.example",
            "_acme-challenge.XN--BCHER-KVA.example",
            "_acme-challenge.BÜCHER.example.",
        ] {
            let (id, kind, content) = ("1".to_owned(), "TXT".to_owned(), "v".to_owned());
            assert!(Found { id, kind, name: name.to_owned(), content }.is(&record), "{name}");
        }
    }

    #[test]
    fn c16_a_value_is_recognized_quoted_and_split() {
        for text in ["abcdef", "\"abcdef\"", "\"abc\" \"def\""] {
            assert_eq!(unquoted(text), "abcdef");
        }
    }
}

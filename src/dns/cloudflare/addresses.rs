//! Address records: read, withdrawn and restored by compare and swap.
//!
//! The API changes nothing on a condition, so that the records are read again at once before each change: between that and
//! the change is one request. A change without an answer is looked for, and repeated only if it was not made.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::SignedDuration;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::Cloudflare;
use super::api::{ATTEMPTS, PAUSE, segment};
use super::records::{ALREADY_THERE, GONE};
use super::refusal::Refusal;
use super::zones::ascii;
use crate::dns::address_set::{difference, has, not_to_restore, not_to_withdraw};
use crate::dns::txt_lookup::unquoted;
use crate::dns::{DnsError, Zone};
use crate::model::{AddressRecord, AtProvider, Swap};
use crate::text::escape;

/// Bytes of comment, tags and settings. The API takes 500 characters of a comment, and 20 tags.
const MOST_EXTRAS: usize = 8 * 1024;
/// From the call to a withdrawal: by then what it was decided by is old.
const PROMPT: SignedDuration = SignedDuration::from_secs(30);
/// What a restored record lacks rather than stay away: fields of a plan that the zone may no longer have
/// (https://developers.cloudflare.com/dns/manage-dns-records/reference/record-attributes/#availability).
const DISPENSABLE: [&str; 3] = ["tags", "settings", "comment"];

/// https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/list/ — a record of any type.
#[derive(Deserialize)]
struct Found {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    content: String,
    /// 1: automatic.
    #[serde(default)]
    ttl: u32,
    #[serde(default)]
    proxied: bool,
    comment: Option<String>,
    #[serde(flatten)]
    extras: Extras,
    #[serde(default)]
    modified_on: String,
}

/// What the API takes back when the record is made again, as it gave it.
#[derive(Default, Deserialize, Serialize)]
struct Extras {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    settings: Map<String, Value>,
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    private_routing: bool,
}

impl Cloudflare {
    /// The address records and CNAMEs of a name, to be shown.
    pub(super) async fn at_provider(&self, zone: &Zone, name: &str) -> Result<Vec<AtProvider>, DnsError> {
        let found: Vec<Found> = self.records(segment(&zone.id)?, &[("name", name)], false).await?;
        let leads =
            |found: &Found| matches!(found.kind.as_str(), "A" | "AAAA" | "CNAME") && ascii(&found.name) == ascii(name);
        let shown = |found: Found| AtProvider { content: escape(&found.content, 260), proxied: found.proxied };
        Ok(found.into_iter().filter(leads).map(shown).collect())
    }

    pub(super) async fn texts_at(&self, zone: &Zone, name: &str) -> Result<Vec<String>, DnsError> {
        let (_, found) = self.found(zone, &[("type", "TXT"), ("name", name)], name).await?;
        Ok(found.into_iter().filter(|found| found.kind == "TXT").map(|found| unquoted(&found.content)).collect())
    }

    /// And the zone, which may have replaced the given one.
    pub(super) async fn read(&self, zone: &Zone, name: &str) -> Result<(Zone, Vec<AddressRecord>), DnsError> {
        let (zone, found) = self.found(zone, &[("name", name)], name).await?;
        let addresses = found.into_iter().filter(|found| matches!(found.kind.as_str(), "A" | "AAAA"));
        let records: Result<Vec<AddressRecord>, String> = addresses.map(record).collect();
        let malformed = |what| DnsError::MalformedResponse { api: self.api.name(), what }.in_zone(&zone);
        let records = records.map_err(malformed)?;
        Ok((zone, records))
    }

    /// The records of one name.
    async fn found(&self, zone: &Zone, query: &[(&str, &str)], name: &str) -> Result<(Zone, Vec<Found>), DnsError> {
        let read = async |zone: &Zone| -> Result<Vec<Found>, DnsError> {
            let found: Result<Vec<Found>, DnsError> = self.records(segment(&zone.id)?, query, true).await;
            let mut found = found.map_err(|error| error.in_zone(zone))?;
            found.retain(|found| ascii(&found.name) == ascii(name));
            Ok(found)
        };
        let error = match read(zone).await {
            Ok(found) => return Ok((zone.clone(), found)),
            Err(error) => error,
        };
        if !error.refuses_zone() || self.zone_id.is_some() {
            return Err(error);
        }
        match self.zones.replacement(&zone.id, name).await {
            Some(zone) => read(&zone).await.map(|found| (zone, found)),
            None => Err(error),
        }
    }

    pub(super) async fn take_out(
        &self,
        zone: &Zone,
        record: &AddressRecord,
        all: &[AddressRecord],
    ) -> Result<Swap, DnsError> {
        let began = self.api.now();
        let (mut attempt, mut pause, mut may_have_happened) = (1, PAUSE, false);
        let mut last: Option<Refusal> = None;
        loop {
            // Waits until the API takes calls, which the change itself does not.
            let (zone, now) = match (self.read(zone, &record.name).await, last.take()) {
                (Ok(read), refusal) => {
                    last = refusal;
                    read
                }
                (Err(_), Some(refusal)) => return Err(in_zone(refusal, zone)),
                (Err(error), None) => return Err(error),
            };
            if may_have_happened && !now.iter().any(|it| it.id == record.id) {
                return Ok(Swap::Done);
            }
            refuse_proxied(&now)?;
            let late = self.api.now().duration_since(began).abs() > PROMPT;
            match (not_to_withdraw(record, all, &now), last.take()) {
                // What is read may not show yet what an attempt has done.
                (Some(_), Some(refusal)) if may_have_happened => return Err(in_zone(refusal, &zone)),
                (Some(changed), _) => return Ok(changed),
                (None, Some(refusal)) if late => return Err(in_zone(refusal, &zone)),
                (None, None) if late => return Err(self.api.too_late().in_zone(&zone)),
                (None, _) => {}
            }
            // https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/delete/
            let path = format!("zones/{}/dns_records/{}", segment(&zone.id)?, segment(&record.id)?);
            let refusal = match self.api.once_only(Method::DELETE, &path, None).await {
                Ok(()) => return Ok(Swap::Done),
                Err(refusal) => refusal,
            };
            if refusal.has_code(&GONE) && may_have_happened {
                return Ok(Swap::Done);
            }
            // Gone, though it was there just now, is an error, too: a proxy may have sent the request twice.
            let again = refusal.may_have_happened() || refusal.is_limited();
            if !again || attempt == ATTEMPTS {
                return Err(in_zone(refusal, &zone));
            }
            may_have_happened |= !refusal.is_limited();
            last = Some(refusal);
            sleep(pause).await;
            pause *= 2;
            attempt += 1;
        }
    }

    pub(super) async fn put_back(
        &self,
        zone: &Zone,
        record: &AddressRecord,
        all: &[AddressRecord],
    ) -> Result<Swap, DnsError> {
        let (zone, now) = self.read(zone, &record.name).await?;
        refuse_proxied(core::slice::from_ref(record))?;
        refuse_proxied(&now)?;
        if let Some(changed) = not_to_restore(record, all, &now) {
            return Ok(changed);
        }
        // https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/create/
        let path = format!("zones/{}/dns_records", segment(&zone.id)?);
        let mut body = body(record);
        let (mut attempt, mut pause, mut may_have_happened) = (1, PAUSE, false);
        let mut without = Vec::new();
        let mut first_refusal = None;
        loop {
            let refusal = match self.api.once_only(Method::POST, &path, Some(&body)).await {
                Ok(()) if without.is_empty() => return Ok(Swap::Done),
                Ok(()) => return Ok(Swap::DoneWithout(without.join(", "))),
                Err(refusal) => refusal,
            };
            if refusal.has_code(&ALREADY_THERE) && attempt == 1 {
                return Ok(Swap::Changed(format!("{} is there already", record.address)));
            }
            if refusal.has_code(&ALREADY_THERE) || refusal.may_have_happened() || refusal.is_limited() {
                may_have_happened |= !refusal.is_limited();
                sleep(pause).await;
                // Waits until the API takes calls, which the change itself does not.
                let Ok((_, now)) = self.read(&zone, &record.name).await else { return Err(in_zone(refusal, &zone)) };
                match difference(all, &now) {
                    _ if may_have_happened && has(&now, record) => return Ok(Swap::Done),
                    Some(_) if may_have_happened => return Err(in_zone(refusal, &zone)),
                    Some(changed) => return Ok(Swap::Changed(changed)),
                    None if attempt == ATTEMPTS => return Err(in_zone(refusal, &zone)),
                    None => {}
                }
                pause *= 2;
                attempt += 1;
                continue;
            }
            let dispensable = DISPENSABLE.into_iter().find(|field| body.contains_key(*field));
            match dispensable.filter(|_| refusal.is_about_the_body()) {
                Some(field) => {
                    body.remove(field);
                    without.push(field);
                    first_refusal.get_or_insert(refusal);
                }
                // The words against the whole record: what it lacked did not help.
                None => return Err(in_zone(first_refusal.unwrap_or(refusal), &zone)),
            }
        }
    }
}

/// "If you have multiple A or AAAA records on the same name and at least one of them is proxied, Cloudflare will treat all A
/// or AAAA records on this name as being proxied." (https://developers.cloudflare.com/dns/proxy-status/)
fn refuse_proxied(records: &[AddressRecord]) -> Result<(), DnsError> {
    match records.iter().find(|record| record.proxied) {
        Some(record) => Err(DnsError::Proxied { name: record.name.clone(), address: record.address }),
        None => Ok(()),
    }
}

fn in_zone(refusal: Refusal, zone: &Zone) -> DnsError {
    DnsError::from(refusal).in_zone(zone)
}

/// The error is what is wrong with it.
fn record(found: Found) -> Result<AddressRecord, String> {
    let malformed = |what: &str| Err(format!("{what} of a record of {}", escape(&found.name, 260)));
    let address = match found.kind.as_str() {
        "A" => found.content.parse::<Ipv4Addr>().map(IpAddr::from),
        _ => found.content.parse::<Ipv6Addr>().map(IpAddr::from),
    };
    let Ok(address) = address else { return malformed("no address in the content") };
    if segment(&found.id).is_err() {
        return malformed("no identifier");
    }
    if found.ttl == 0 {
        return malformed("no TTL");
    }
    let mut extras = found.extras;
    extras.tags.sort_unstable();
    let settings = match serde_json::to_string(&extras) {
        Ok(text) if text == "{}" => String::new(),
        Ok(text) => text,
        Err(_) => return malformed("strange settings"),
    };
    let comment = found.comment.filter(|comment| !comment.is_empty());
    if settings.len() + comment.as_ref().map_or(0, String::len) > MOST_EXTRAS || found.modified_on.len() > 64 {
        return malformed("too long a comment, or too many tags,");
    }
    let (id, name) = (found.id, ascii(&found.name));
    Ok(AddressRecord {
        id,
        name,
        address,
        ttl: found.ttl,
        proxied: found.proxied,
        comment,
        settings,
        changed: found.modified_on,
    })
}

/// The request that makes the record again. Settings of another provider, from before the configuration changed, are left
/// out; so is all that may be in them but the fields above.
fn body(record: &AddressRecord) -> Map<String, Value> {
    let extras: Extras = serde_json::from_str(&record.settings).unwrap_or_default();
    let mut body = match serde_json::to_value(extras) {
        Ok(Value::Object(extras)) => extras,
        _ => Map::new(),
    };
    let kind = if record.address.is_ipv4() { "A" } else { "AAAA" };
    body.extend(record.comment.iter().map(|comment| ("comment".to_owned(), json!(comment))));
    let fields = [
        ("type", json!(kind)),
        ("name", json!(record.name)),
        ("content", json!(record.address)),
        ("ttl", json!(record.ttl)),
        ("proxied", json!(false)),
    ];
    body.extend(fields.map(|(field, value)| (field.to_owned(), value)));
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AddressRecord, String> {
        let bytes = crate::http::without_nulls(text.as_bytes().to_vec());
        record(serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn a_record_comes_back_with_all_that_it_had() {
        let text = r#"{"id": "023e105f4ecef8ad9ca31a8372d0c353", "type": "A", "name": "WWW.bücher.example",
            "content": "192.0.2.1", "proxiable": true, "proxied": false, "ttl": 120, "settings": {"ipv4_only": true},
            "meta": {}, "comment": "left rack", "tags": ["owner:ops", "dc:1"], "private_routing": false,
            "created_on": "2026-01-01T00:00:00Z", "modified_on": "2026-02-01T00:00:00.5Z"}"#;
        let record = read(text).unwrap();
        assert_eq!(record.name, "www.xn--bcher-kva.example");
        assert_eq!(record.settings, r#"{"tags":["dc:1","owner:ops"],"settings":{"ipv4_only":true}}"#);
        assert_eq!(record.changed, "2026-02-01T00:00:00.5Z");
        let wanted = json!({"type": "A", "name": "www.xn--bcher-kva.example", "content": "192.0.2.1", "ttl": 120,
            "proxied": false, "comment": "left rack", "tags": ["dc:1", "owner:ops"], "settings": {"ipv4_only": true}});
        assert_eq!(Value::Object(body(&record)), wanted);
    }

    #[test]
    fn a_plain_record_is_made_again_without_fields_that_a_plan_may_not_have() {
        let text = r#"{"id": "1", "type": "AAAA", "name": "a.example", "content": "2001:db8::1", "proxied": false, "ttl": 1,
            "settings": {}, "comment": null, "tags": []}"#;
        let mut record = read(text).unwrap();
        assert_eq!((record.settings.as_str(), &record.comment), ("", &None));
        record.settings = r#"{"content": "203.0.113.1", "proxied": true}"#.to_owned();
        let wanted = json!({"type": "AAAA", "name": "a.example", "content": "2001:db8::1", "ttl": 1, "proxied": false});
        assert_eq!(Value::Object(body(&record)), wanted, "and nothing that settings are not");
    }

    #[test]
    fn a_record_that_is_malformed_is_an_error_and_none_that_is_left_out() {
        let record = |id: &str, kind: &str, content: &str, ttl: u32| {
            read(&json!({"id": id, "type": kind, "name": "a.example", "content": content, "ttl": ttl}).to_string())
        };
        assert!(record("1", "A", "192.0.2.1", 60).is_ok());
        for (id, kind, content, ttl) in [
            ("1", "A", "2001:db8::1", 60),
            ("1", "A", "host", 60),
            ("../1", "A", "192.0.2.1", 60),
            ("1", "A", "192.0.2.1", 0),
        ] {
            assert!(record(id, kind, content, ttl).is_err(), "{id} {kind} {content} {ttl}");
        }
    }
}

//! The zone's own primary name server, by dynamic update (RFC 2136), signed with a shared key (TSIG, RFC 8945).
//!
//! Updates add and delete single values, never a whole RRset, so that other records at the name stay. Both are idempotent
//! (sections 2.5.1 and 2.5.4: duplicates and missing records are "silently ignored"). A success counts only if the server
//! signed it.

mod addresses;
mod error;
mod exchange;
mod key_file;
mod tsig;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use jiff::Timestamp;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

pub use error::UpdateError;

use super::resolvers::parse;
use super::{DnsError, Handle, Provider, TxtRecord, Zone};
use crate::config;
use crate::model::{AddressRecord, Swap};
use crate::mutex::lock;
use exchange::Primary;

/// Records in one UPDATE: well under the 64 KiB of a message over TCP (RFC 1035 section 4.2.2).
const MOST_RECORDS: usize = 100;
/// RFC 1035 section 3.3: "<character-string> is a single length octet followed by that number of characters".
const LONGEST_STRING: usize = 255;

pub struct Rfc2136 {
    primary: Primary,
    zone: Option<String>,
    ttl: u32,
    /// Zones for which the permission to update was tested; each once.
    asked: Mutex<BTreeMap<String, Arc<OnceCell<()>>>>,
}

impl Rfc2136 {
    /// `key_text`: the content of `key_file`. `clock`: for the time in each signature.
    pub fn new(
        config: &config::Rfc2136,
        key_text: &Zeroizing<String>,
        clock: fn() -> Timestamp,
    ) -> Result<Self, DnsError> {
        let key = key_file::read(key_text, config)?;
        let primary = Primary::new(config.host.clone(), config.port, key, clock);
        Ok(Self { primary, zone: config.zone.clone(), ttl: config.ttl, asked: Mutex::default() })
    }

    /// The zone that holds `name` on this server, from the SOA record of its positive or negative answer.
    async fn find_zone(&self, name: &str) -> Result<String, DnsError> {
        let whole = parse(name)?;
        let mut at = whole.clone();
        while !at.is_root() {
            let mut question = Message::new(0, MessageType::Query, OpCode::Query);
            question.metadata.recursion_desired = false;
            question.add_query(Query::query(at.clone(), RecordType::SOA));
            let answer = match self.primary.ask(question).await {
                Ok(answer) => answer,
                Err(UpdateError::Unsigned { .. }) => break,
                Err(error) => return Err(error.into()),
            };
            match answer.metadata.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => {}
                // To a query: the server does not serve the name.
                ResponseCode::Refused | ResponseCode::NotAuth => break,
                code => return Err(self.primary.refusal(code, name).into()),
            }
            let mut records = answer.answers.iter().chain(&answer.authorities);
            let apex = records.find(|record| matches!(record.data, RData::SOA(_)) && record.name.zone_of(&whole));
            if let Some(apex) = apex.filter(|_| answer.metadata.authoritative) {
                return Ok(apex.name.to_lowercase().to_ascii().trim_end_matches('.').to_owned());
            }
            at = at.base_name();
        }
        Err(self.primary.no_zone(name).into())
    }

    /// Sends an UPDATE without changes, which tests that the server answers, knows the key, and lets it update this zone.
    async fn may_write(&self, zone: &str) -> Result<(), DnsError> {
        let once = Arc::clone(lock(&self.asked).entry(zone.to_owned()).or_default());
        once.get_or_try_init(|| async {
            match self.primary.update(zone, Vec::new()).await {
                // Some servers reject an UPDATE without changes as malformed, but only after they checked its key.
                Err(UpdateError::Failed { code: "FORMERR", .. }) => Ok(()),
                answer => answer.map_err(DnsError::from),
            }
        })
        .await
        .copied()
    }

    /// One result for each record, in order. An UPDATE is carried out as a whole or not at all (section 3.7).
    async fn change<T>(
        &self,
        zone: &str,
        records: &[T],
        record: impl Fn(&T) -> Result<Record, DnsError>,
    ) -> Vec<Result<(), DnsError>> {
        let mut results = Vec::new();
        for part in records.chunks(MOST_RECORDS) {
            let changes: Result<Vec<Record>, DnsError> = part.iter().map(&record).collect();
            match changes {
                Ok(changes) => {
                    let changed = self.primary.update(zone, changes).await;
                    results.extend(part.iter().map(|_| changed.clone().map_err(DnsError::from)));
                }
                // One name is invalid in DNS: update the others one by one.
                Err(_) => {
                    for one in part {
                        results.push(match record(one) {
                            Ok(change) => self.primary.update(zone, vec![change]).await.map_err(DnsError::from),
                            Err(error) => Err(error),
                        });
                    }
                }
            }
        }
        results
    }
}

#[async_trait]
impl Provider for Rfc2136 {
    async fn zone(&self, name: &str, apex: Option<&str>) -> Result<Zone, DnsError> {
        let zone = match (&self.zone, apex) {
            (Some(zone), _) if !holds(zone, name) => return Err(self.primary.out_of_zone(name, zone).into()),
            (Some(zone), _) => zone.clone(),
            (None, Some(apex)) => apex.to_owned(),
            (None, None) => self.find_zone(name).await?,
        };
        self.may_write(&zone).await?;
        Ok(Zone { id: zone.clone(), name: Some(zone) })
    }

    async fn publish(&self, zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>> {
        // Section 2.5.1, "Add To An RRset": class and TTL are the zone's and the record's own.
        let results = self.change(&zone.id, records, |it| txt(&it.name, &it.value, DNSClass::IN, self.ttl)).await;
        let handle = |record: &TxtRecord| Handle {
            zone: zone.id.clone(),
            name: record.name.clone(),
            value: record.value.clone(),
            // Name and value identify the record; set, since the server confirmed it.
            record: Some(String::new()),
        };
        records.iter().zip(results).map(|(record, result)| result.map(|()| handle(record))).collect()
    }

    async fn remove(&self, handles: &[Handle]) -> Vec<Result<(), DnsError>> {
        // A handle of another provider (from before the configuration changed) has no zone of ours: find it.
        let mut zones: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut results: Vec<Result<(), DnsError>> = handles.iter().map(|_| Ok(())).collect();
        for (at, handle) in handles.iter().enumerate() {
            let zone = match &self.zone {
                _ if holds(&handle.zone, &handle.name) => Ok(handle.zone.clone()),
                Some(zone) if holds(zone, &handle.name) => Ok(zone.clone()),
                _ => self.find_zone(&handle.name).await,
            };
            match zone {
                Ok(zone) => zones.entry(zone).or_default().push(at),
                Err(error) => results[at] = Err(error),
            }
        }
        for (zone, places) in zones {
            let records: Vec<&Handle> = places.iter().map(|at| &handles[*at]).collect();
            // Section 2.5.4, "Delete An RR From An RRset": class NONE, TTL 0, and the record's data.
            let gone = self.change(&zone, &records, |it| txt(&it.name, &it.value, DNSClass::NONE, 0)).await;
            places.into_iter().zip(gone).for_each(|(at, gone)| results[at] = gone);
        }
        results
    }

    async fn address_records(&self, _zone: &Zone, name: &str) -> Result<Vec<AddressRecord>, DnsError> {
        self.read(name).await
    }

    async fn unchanged(&self, zone: &Zone, name: &str, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        self.compare(zone, name, all).await
    }

    async fn withdraw(&self, zone: &Zone, record: &AddressRecord, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        self.take_out(zone, record, all).await
    }

    async fn restore(&self, zone: &Zone, record: &AddressRecord, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        self.put_back(zone, record, all).await
    }

    async fn texts(&self, _zone: &Zone, name: &str) -> Result<Vec<String>, DnsError> {
        self.read_texts(name).await
    }
}

fn txt(name: &str, value: &str, class: DNSClass, ttl: u32) -> Result<Record, DnsError> {
    let strings = value.as_bytes().chunks(LONGEST_STRING).collect();
    let mut record = Record::from_rdata(parse(name)?, ttl, RData::TXT(TXT::from_bytes(strings)));
    record.dns_class = class;
    Ok(record)
}

fn holds(zone: &str, name: &str) -> bool {
    let parsed = |text: &str| -> Option<Name> { parse(text).ok() };
    parsed(zone).zip(parsed(name)).is_some_and(|(zone, name)| !zone.is_root() && zone.zone_of(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d14_a_zone_holds_names_in_every_notation() {
        assert!(holds("example.test", "_acme-challenge.WWW.Example.test."));
        assert!(holds("example.test", "example.test"));
        for zone in ["ample.test", "0123456789abcdef0123456789abcdef", "", "www.example.test"] {
            assert!(!holds(zone, "example.test"), "{zone}");
        }
    }

    #[test]
    fn a_value_of_more_than_255_bytes_is_several_strings() {
        let record = txt("a.example.test", &"v".repeat(600), DNSClass::IN, 60).unwrap();
        let RData::TXT(data) = record.data else { panic!("not TXT") };
        assert_eq!(data.txt_data.iter().map(|part| part.len()).collect::<Vec<_>>(), [255, 255, 90]);
    }
}

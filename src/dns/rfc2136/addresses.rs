//! Address records at the primary. A change is one UPDATE with the name's whole A and AAAA RRsets as prerequisites (RFC 2136
//! section 2.4), so that the server itself compares and swaps.
//!
//! Prerequisites leave TTLs out, and an RRset has one TTL (RFC 2181 section 5.2): BIND, Knot and PowerDNS give the whole
//! RRset that of a record that is added. So the records are read again before each change, a TTL that is not as it was read
//! counts as a change by another, and a record comes back with the TTL that its RRset has by then. It gets its own only if
//! it is the first.

use core::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::exchange::Updated;
use super::{Rfc2136, UpdateError, txt};
use crate::dns::address_set::{difference, has, not_to_restore, not_to_withdraw};
use crate::dns::resolvers::parse;
use crate::dns::{DnsError, Zone};
use crate::model::{AddressRecord, Swap, marker_name};

const FAMILIES: [RecordType; 2] = [RecordType::A, RecordType::AAAA];

impl Rfc2136 {
    /// By signed queries, so that the primary's view for this key answers, and nobody else.
    pub(super) async fn read(&self, name: &str) -> Result<Vec<AddressRecord>, DnsError> {
        let owner = parse(name)?;
        let shown = owner.to_lowercase().to_ascii().trim_end_matches('.').to_owned();
        let [four, six] = FAMILIES.map(|kind| self.rrset(&owner, kind));
        let (four, six) = tokio::try_join!(four, six)?;
        let record = |record: Record| {
            let address = match record.data {
                RData::A(a) => IpAddr::from(a.0),
                RData::AAAA(aaaa) => IpAddr::from(aaaa.0),
                _ => return None,
            };
            Some(AddressRecord {
                id: String::new(),
                name: shown.clone(),
                address,
                ttl: record.ttl,
                proxied: false,
                comment: None,
                settings: String::new(),
                changed: String::new(),
            })
        };
        Ok(four.into_iter().chain(six).filter_map(record).collect())
    }

    pub(super) async fn read_texts(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let text = |record: Record| match record.data {
            RData::TXT(txt) => Some(txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect::<String>()),
            _ => None,
        };
        Ok(self.rrset(&parse(name)?, RecordType::TXT).await?.into_iter().filter_map(text).collect())
    }

    /// The records of one type; none where the name does not exist, or is a CNAME.
    async fn rrset(&self, name: &Name, kind: RecordType) -> Result<Vec<Record>, UpdateError> {
        let mut question = Message::new(0, MessageType::Query, OpCode::Query);
        question.metadata.recursion_desired = false;
        question.add_query(Query::query(name.clone(), kind));
        let answer = self.primary.ask(question).await?;
        let unread = |why| Err(self.primary.unread(name, kind, why));
        match answer.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain if !answer.metadata.authoritative => {
                unread("it has no authority for the name")
            }
            ResponseCode::NoError | ResponseCode::NXDomain => {
                let mut records = answer.answers;
                records.retain(|it| it.name == *name && it.record_type() == kind && it.dns_class == DNSClass::IN);
                Ok(records)
            }
            ResponseCode::Refused => unread("REFUSED"),
            ResponseCode::NotAuth => unread("NOTAUTH"),
            ResponseCode::ServFail => unread("SERVFAIL"),
            _ => unread("an error"),
        }
    }

    /// The prerequisites of a change, and no change: a value that no TXT record has is deleted.
    pub(super) async fn compare(&self, zone: &Zone, name: &str, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        let nothing = txt(&marker_name(name), "no record has this value", DNSClass::NONE, 0)?;
        match self.primary.update_if(&zone.id, prerequisites(name, all)?, vec![nothing]).await? {
            Updated::Done => Ok(Swap::Done),
            Updated::Unmet => match difference(all, &self.read(name).await?) {
                Some(changed) => Ok(Swap::Changed(changed)),
                // An answer to a query may be of a wildcard (RFC 4592), or of a secondary behind the same address.
                None => Err(self.primary.not_as_shown(name).into()),
            },
        }
    }

    pub(super) async fn take_out(
        &self,
        zone: &Zone,
        record: &AddressRecord,
        all: &[AddressRecord],
    ) -> Result<Swap, DnsError> {
        if let Some(changed) = not_to_withdraw(record, all, &self.read(&record.name).await?) {
            return Ok(changed);
        }
        // Section 2.5.4, "Delete An RR From An RRset": class NONE, TTL 0, and the record's data.
        let change = resource(&record.name, record.address, DNSClass::NONE, 0)?;
        self.swap(zone, record, all, change, |now| !has(now, record)).await
    }

    pub(super) async fn put_back(
        &self,
        zone: &Zone,
        record: &AddressRecord,
        all: &[AddressRecord],
    ) -> Result<Swap, DnsError> {
        let now = self.read(&record.name).await?;
        if let Some(changed) = not_to_restore(record, all, &now) {
            return Ok(changed);
        }
        let of_rrset = now.iter().find(|it| it.address.is_ipv4() == record.address.is_ipv4());
        // Section 2.5.1, "Add To An RRset".
        let ttl = of_rrset.map_or(record.ttl, |it| it.ttl);
        let change = resource(&record.name, record.address, DNSClass::IN, ttl)?;
        self.swap(zone, record, all, change, |now| has(now, record)).await
    }

    async fn swap(
        &self,
        zone: &Zone,
        record: &AddressRecord,
        all: &[AddressRecord],
        change: Record,
        done: impl Fn(&[AddressRecord]) -> bool,
    ) -> Result<Swap, DnsError> {
        let error = match self.primary.update_if(&zone.id, prerequisites(&record.name, all)?, vec![change]).await {
            Ok(Updated::Done) => return Ok(Swap::Done),
            Ok(Updated::Unmet) => {
                let now = self.read(&record.name).await?;
                let unseen = || "changed, and changed back".to_owned();
                return Ok(Swap::Changed(difference(all, &now).unwrap_or_else(unseen)));
            }
            Err(UpdateError::Refused { server, zone, primary: None }) => {
                let name = record.name.clone();
                return Err(UpdateError::RefusedAddress { server, zone, name }.into());
            }
            Err(error) => error,
        };
        if error.may_have_happened()
            && let Ok(now) = self.read(&record.name).await
        {
            // Else it may still be under way, and what has changed may be its doing.
            if done(&now) {
                return Ok(Swap::Done);
            }
        }
        Err(error.into())
    }
}

/// That the name's A and AAAA records are exactly these: section 2.4.2, "RRset Exists (Value Dependent)": the zone's class,
/// TTL 0, and "an entire RRset"; section 2.4.3, "RRset Does Not Exist": class NONE, TTL 0, no data.
fn prerequisites(name: &str, all: &[AddressRecord]) -> Result<Vec<Record>, DnsError> {
    let mut prerequisites = Vec::new();
    for kind in FAMILIES {
        let family: Vec<IpAddr> =
            all.iter().map(|it| it.address).filter(|it| it.is_ipv4() == (kind == RecordType::A)).collect();
        if family.is_empty() {
            let mut none = Record::update0(parse(name)?, 0, kind);
            none.dns_class = DNSClass::NONE;
            prerequisites.push(none);
        }
        for address in family {
            prerequisites.push(resource(name, address, DNSClass::IN, 0)?);
        }
    }
    Ok(prerequisites)
}

fn resource(name: &str, address: IpAddr, class: DNSClass, ttl: u32) -> Result<Record, DnsError> {
    let data = match address {
        IpAddr::V4(address) => RData::A(address.into()),
        IpAddr::V6(address) => RData::AAAA(address.into()),
    };
    let mut record = Record::from_rdata(parse(name)?, ttl, data);
    record.dns_class = class;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prerequisites_are_both_whole_rrsets_as_they_were_read() {
        let record = |address: &str| AddressRecord {
            id: String::new(),
            name: "www.example.test".to_owned(),
            address: address.parse().unwrap(),
            ttl: 300,
            proxied: false,
            comment: None,
            settings: String::new(),
            changed: String::new(),
        };
        let shown = |all: &[&str]| {
            let all: Vec<AddressRecord> = all.iter().map(|it| record(it)).collect();
            let prerequisites = prerequisites("www.example.test", &all).unwrap();
            let one = |it: &Record| format!("{} {} {} {}", it.ttl, it.dns_class, it.record_type(), it.data);
            prerequisites.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(
            shown(&["192.0.2.1", "2001:db8::1", "192.0.2.2"]),
            ["0 IN A 192.0.2.1", "0 IN A 192.0.2.2", "0 IN AAAA 2001:db8::1"]
        );
        assert_eq!(shown(&["192.0.2.1"]), ["0 IN A 192.0.2.1", "0 NONE AAAA UPDATE"]);
        assert_eq!(shown(&[]), ["0 NONE A UPDATE", "0 NONE AAAA UPDATE"]);
    }
}

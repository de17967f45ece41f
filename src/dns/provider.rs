//! The trait of DNS providers. Each implementation has exactly the calls that TXT records take.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::DnsError;
use super::address_set::difference;
use crate::model::{AddressRecord, AtProvider, KnownToken, KnownZone, Swap};

/// A zone at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The provider's identifier; opaque.
    pub id: String,
    /// `None`: the configuration gives only the id.
    pub name: Option<String>,
}

/// A record that certd made. With its id it is removed by one call; without (certd was killed before the answer) it is
/// found by name and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    pub zone: String,
    pub name: String,
    pub value: String,
    /// `None`: its creation was not confirmed. Empty where records have no id and are removed by value.
    pub record: Option<String>,
}

/// A TXT record to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxtRecord {
    /// The end of the CNAMEs.
    pub name: String,
    pub value: String,
}

#[async_trait]
pub trait Provider: Send + Sync {
    /// The zone that holds `name`: the longest suffix that the provider serves for us. `apex`: the zone's name according to
    /// DNS, where known.
    async fn zone(&self, name: &str, apex: Option<&str>) -> Result<Zone, DnsError>;

    /// Makes TXT records of one zone; returns one result for each, in order. An equal record that exists already counts as
    /// ours: nobody else knows the value.
    async fn publish(&self, zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>>;

    /// Removes records of one zone; returns one result for each, in order. A record that is gone already is a success.
    async fn remove(&self, handles: &[Handle]) -> Vec<Result<(), DnsError>>;

    /// Whether [`Self::zone`] fails for this name if the provider does not serve it.
    fn knows_its_zones(&self, _name: &str) -> bool {
        true
    }

    /// The zones seen in this run, for the cache of the next one.
    fn zones(&self) -> BTreeMap<String, KnownZone> {
        BTreeMap::new()
    }

    /// Drops a cached zone: records made in it were not visible in DNS.
    fn forget(&self, _zone: &Zone) {}

    /// The address records (and CNAMEs) of a name at the provider; DNS may show others where it proxies.
    async fn addresses(&self, _name: &str) -> Result<Vec<AtProvider>, DnsError> {
        Ok(Vec::new())
    }

    /// The A and AAAA records of a name, as [`Self::withdraw`] and [`Self::restore`] change them; each of repeated ones.
    /// Read anew, never from a cache.
    async fn address_records(&self, _zone: &Zone, name: &str) -> Result<Vec<AddressRecord>, DnsError> {
        Err(DnsError::NoAddressRecords { name: name.to_owned() })
    }

    /// Changes nothing. Whether the name's own address records are still `all`: not done where they are others, or where these
    /// are another name's, by a wildcard. A record beside the name (a marker) may be made only after this.
    async fn unchanged(&self, zone: &Zone, name: &str, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        let now = self.address_records(zone, name).await?;
        Ok(difference(all, &now).map_or(Swap::Done, Swap::Changed))
    }

    /// Removes one record if the name's address records are still `all`, of which it is one.
    async fn withdraw(&self, _zone: &Zone, record: &AddressRecord, _all: &[AddressRecord]) -> Result<Swap, DnsError> {
        Err(DnsError::NoAddressRecords { name: record.name.clone() })
    }

    /// Makes a record again as it was, if the name's address records are still `all`, which do not have its address.
    async fn restore(&self, _zone: &Zone, record: &AddressRecord, _all: &[AddressRecord]) -> Result<Swap, DnsError> {
        Err(DnsError::NoAddressRecords { name: record.name.clone() })
    }

    /// The values of the TXT records of a name, as [`Self::publish`] makes and [`Self::remove`] removes them.
    async fn texts(&self, _zone: &Zone, name: &str) -> Result<Vec<String>, DnsError> {
        Err(DnsError::NoAddressRecords { name: name.to_owned() })
    }

    /// The token's status, queried when `known` is old or belongs to another token. `None`: unknown.
    async fn token(&self, _known: Option<KnownToken>) -> Option<KnownToken> {
        None
    }
}

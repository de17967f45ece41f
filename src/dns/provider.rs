//! Where TXT records are made. One trait for several providers; each has exactly the calls that this takes.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::DnsError;
use crate::model::{AtProvider, KnownToken, KnownZone};

/// A zone at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// In the provider's own words; opaque.
    pub id: String,
    /// `None`: the configuration named the zone by its id.
    pub name: Option<String>,
}

/// A record of ours, as much of it as is known. By its id it is removed with one call; without (we were killed before
/// the answer) it is found by name and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    pub zone: String,
    pub name: String,
    pub value: String,
    /// `None`: nobody has answered that it was made. Empty where a record has no id and is removed by its value.
    pub record: Option<String>,
}

/// A TXT record to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxtRecord {
    /// After CNAMEs.
    pub name: String,
    pub value: String,
}

#[async_trait]
pub trait Provider: Send + Sync {
    /// The zone that holds `name`: the longest suffix that the provider serves for us. `apex`: the zone's name as DNS
    /// itself shows it, when it does.
    async fn zone(&self, name: &str, apex: Option<&str>) -> Result<Zone, DnsError>;

    /// Makes TXT records of one zone; an answer for each, in their order. An equal one that is there already is taken as
    /// ours: only we know the value.
    async fn publish(&self, zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>>;

    /// Removes records of one zone; an answer for each, in their order. That one is gone already is success.
    async fn remove(&self, handles: &[Handle]) -> Vec<Result<(), DnsError>>;

    /// Its zones as they were seen, to be known in the next run.
    fn zones(&self) -> BTreeMap<String, KnownZone> {
        BTreeMap::new()
    }

    /// What was made in this zone was not seen in DNS: it is not to be relied on.
    fn forget(&self, _zone: &Zone) {}

    /// The address records (and CNAMEs) of a name, as the provider has them; for one that may show others.
    async fn addresses(&self, _name: &str) -> Result<Vec<AtProvider>, DnsError> {
        Ok(Vec::new())
    }

    /// What is known of the token, asked for when `known` is old or of another token. `None`: nothing.
    async fn token(&self, _known: Option<KnownToken>) -> Option<KnownToken> {
        None
    }
}

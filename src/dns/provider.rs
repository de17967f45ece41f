//! Where TXT records are made. One trait for several providers; each has exactly the calls that this takes.

use async_trait::async_trait;

use super::DnsError;

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
    pub record: Option<String>,
}

#[async_trait]
pub trait Provider: Send + Sync {
    /// The zone that holds `name`: the longest suffix that the provider serves for us.
    async fn zone(&self, name: &str) -> Result<Zone, DnsError>;

    /// Makes the TXT record. An equal one that is there already is taken as ours: only we know the value.
    async fn publish(&self, zone: &Zone, name: &str, value: &str) -> Result<Handle, DnsError>;

    /// Removes the record. That it is gone already is success.
    async fn remove(&self, handle: &Handle) -> Result<(), DnsError>;
}

//! A provider whose secret cannot be read: certificates with names in its zones are not issued, and all others are.

use async_trait::async_trait;

use super::{DnsError, Handle, Provider, TxtRecord, Zone};
use crate::model::{AddressRecord, Finding, Swap};

pub struct Unread(pub Finding);

impl Unread {
    fn error(&self) -> DnsError {
        DnsError::Unread(Box::new(self.0.clone()))
    }
}

#[async_trait]
impl Provider for Unread {
    async fn zone(&self, _name: &str, _apex: Option<&str>) -> Result<Zone, DnsError> {
        Err(self.error())
    }

    async fn publish(&self, _zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>> {
        records.iter().map(|_| Err(self.error())).collect()
    }

    async fn remove(&self, handles: &[Handle]) -> Vec<Result<(), DnsError>> {
        handles.iter().map(|_| Err(self.error())).collect()
    }

    async fn address_records(&self, _zone: &Zone, _name: &str) -> Result<Vec<AddressRecord>, DnsError> {
        Err(self.error())
    }

    async fn withdraw(&self, _zone: &Zone, _record: &AddressRecord, _all: &[AddressRecord]) -> Result<Swap, DnsError> {
        Err(self.error())
    }

    async fn restore(&self, _zone: &Zone, _record: &AddressRecord, _all: &[AddressRecord]) -> Result<Swap, DnsError> {
        Err(self.error())
    }

    async fn texts(&self, _zone: &Zone, _name: &str) -> Result<Vec<String>, DnsError> {
        Err(self.error())
    }
}

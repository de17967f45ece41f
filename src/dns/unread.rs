//! A provider whose secret cannot be read: certificates with names in its zones are not issued, and all others are.

use async_trait::async_trait;

use super::{DnsError, Handle, Provider, TxtRecord, Zone};
use crate::model::Finding;

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
}

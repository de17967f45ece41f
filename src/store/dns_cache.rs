//! `dns.json`: the DNS provider's zones and the state of the token. It saves requests and decides nothing, so an
//! unreadable file is replaced.

use super::{Damage, Store, StoreError, atomic};
use crate::model::DnsCache;

impl Store {
    pub fn dns_cache(&self) -> Result<DnsCache, StoreError> {
        let path = self.root.join("dns.json");
        let bytes = match atomic::read(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(DnsCache::default()),
            // It cannot be read either.
            Err(StoreError::TooLong { .. }) => Default::default(),
            Err(error) => return Err(error),
        };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let what = "it cannot be read; the DNS provider is asked anew".to_owned();
            self.noted([Damage { path, what }]);
            DnsCache::default()
        }))
    }

    pub fn write_dns_cache(&self, cache: &DnsCache) -> Result<(), StoreError> {
        let path = self.writable()?.join("dns.json");
        atomic::write(&path, &super::json(&path, cache)?)
    }
}

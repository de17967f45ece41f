//! `dns.json`: what the DNS provider said of its zones and of the token. It saves requests and decides nothing: a file
//! that cannot be read is begun anew.

use super::{Damage, Store, StoreError, atomic};
use crate::observed::Learned;

impl Store {
    pub fn learned(&self) -> Result<Learned, StoreError> {
        let path = self.root.join("dns.json");
        let Some(bytes) = atomic::read(&path)? else { return Ok(Learned::default()) };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let what = "it cannot be read; the DNS provider is asked anew".to_owned();
            self.noted([Damage { path, what }]);
            Learned::default()
        }))
    }

    pub fn write_learned(&self, learned: &Learned) -> Result<(), StoreError> {
        let path = self.writable()?.join("dns.json");
        atomic::write(&path, &super::json(&path, learned)?)
    }
}

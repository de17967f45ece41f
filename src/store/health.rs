//! `health.json`: the health of nodes as `certd run` last saw it. It decides nothing of certificates, so that a file that
//! cannot be read is begun anew.

use super::{Damage, Store, StoreError, atomic};
use crate::model::Health;

impl Store {
    pub fn health(&self) -> Result<Vec<Health>, StoreError> {
        let path = self.root.join("health.json");
        let bytes = match atomic::read(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Vec::new()),
            Err(StoreError::TooLong { .. }) => Default::default(),
            Err(error) => return Err(error),
        };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let what = "it cannot be read; response times and states begin anew".to_owned();
            self.noted([Damage { path, what }]);
            Vec::new()
        }))
    }

    /// The service's alone: it needs no lock.
    pub fn write_health(&self, health: &[Health]) -> Result<(), StoreError> {
        let path = self.writable()?.join("health.json");
        // Not for people: without line breaks it is a third as long.
        let text = serde_json::to_vec(health);
        let text = text.map_err(|why| StoreError::Damaged { path: path.clone(), why: why.to_string() })?;
        atomic::write(&path, &text)
    }
}

//! A revocation that was begun: which certificate, and why, on disk before the certificate is replaced. After a kill, the
//! revocation goes on with that certificate and not with its replacement.

use serde::{Deserialize, Serialize};

use super::{Damage, Store, StoreError, atomic};
use crate::cert::{CertName, Generation, RevocationReason};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    pub generation: Generation,
    pub reason: RevocationReason,
    pub begun_at: jiff::Timestamp,
}

impl Store {
    /// `None` as well when it cannot be read: then nothing more is revoked than a person says.
    pub fn revocation(&self, name: &CertName) -> Result<Option<Revocation>, StoreError> {
        let path = self.revocation_file(name);
        let Some(bytes) = atomic::read(&path)? else { return Ok(None) };
        let read = serde_json::from_slice::<Revocation>(&bytes).ok();
        let Some(mut begun) = read else {
            let what = "the revocation that was begun cannot be read; say again what is to be revoked".to_owned();
            self.noted([Damage { path, what }]);
            return Ok(None);
        };
        // Killed while it was numbered anew: the same certificate has the number before, or the one after.
        let generations = self.generations(name)?;
        let same = generations.iter().find(|held| held.serial() == begun.generation.serial());
        if let Some(same) = same.filter(|_| !generations.contains(&begun.generation)) {
            begun.generation.clone_from(same);
        }
        Ok(Some(begun))
    }

    pub fn note_revocation(&self, name: &CertName, revocation: &Revocation) -> Result<(), StoreError> {
        self.writable()?;
        let path = self.revocation_file(name);
        atomic::write(&path, &super::json(&path, revocation)?)
    }

    pub fn drop_revocation(&self, name: &CertName) -> Result<(), StoreError> {
        self.writable()?;
        atomic::remove_all(&self.revocation_file(name))
    }

    fn revocation_file(&self, name: &CertName) -> std::path::PathBuf {
        self.root.join("certs").join(name.as_str()).join("revoke.json")
    }
}

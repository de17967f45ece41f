//! The intent: what we set out to order, and its key, on disk before the CA hears of it.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Damage, Store, StoreError, atomic};
use crate::cert::{CertName, PrivateKey};
use crate::model::Intent;

/// A certificate that failed our checks: kept for a person, never delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rejected {
    pub at: jiff::Timestamp,
    pub order_url: String,
    pub flaws: Vec<String>,
}

/// Rejected chains that are kept; a CA that goes on failing must not fill the disk.
const MOST_REJECTED: usize = 10;

impl Store {
    /// The intent and its key, on disk before an order is made. With the same names and key type an existing key is
    /// used and `key` dropped: [`Self::intent_key`] tells which one counts.
    pub fn intend(&self, name: &CertName, intent: &Intent, key: &PrivateKey) -> Result<(), StoreError> {
        let folder = self.writable()?.join("certs").join(name.as_str());
        atomic::private_folder(&folder)?;
        let pending = folder.join("pending");
        let held = self.pending(name)?;
        if held.is_some_and(|held| held.names == intent.names && held.key_type == intent.key_type) {
            return self.note_intent(name, intent);
        }
        // Whole folders change place: a key never stands beside the intent of another.
        let old = folder.join(".pending.old");
        atomic::remove_all(&old)?;
        if pending.symlink_metadata().is_ok() {
            atomic::rename(&pending, &old)?;
        }
        let noted = super::json(&pending, intent)?;
        atomic::write_folder(&pending, &[("privkey.pem", key.pem().as_bytes()), ("intent.json", &noted)])?;
        atomic::remove_all(&old)
    }

    /// Rewrites the intent (its order's URL became known).
    pub fn note_intent(&self, name: &CertName, intent: &Intent) -> Result<(), StoreError> {
        self.writable()?;
        let path = self.pending_folder(name).join("intent.json");
        atomic::write(&path, &super::json(&path, intent)?)
    }

    pub fn intent_key(&self, name: &CertName) -> Result<PrivateKey, StoreError> {
        self.private_key(&self.pending_folder(name).join("privkey.pem"))
    }

    /// Ends the intent: its certificate is kept, or it is given up. What `current` leads to is put right as well, in
    /// case a crash came between keeping and this.
    pub fn drop_intent(&self, name: &CertName) -> Result<(), StoreError> {
        self.writable()?;
        if let Some(kept) = self.stored(name)?.current {
            self.make_current(name, &kept.generation)?;
        }
        let pending = self.pending_folder(name);
        let old = pending.with_file_name(".pending.old");
        atomic::remove_all(&old)?;
        if pending.symlink_metadata().is_ok() {
            atomic::rename(&pending, &old)?;
        }
        atomic::remove_all(&old)
    }

    /// Removes what a crash left of intents that had ended: a key that nobody needs any more. The next certificate would
    /// remove it too, but that is months away.
    pub fn sweep_intents(&self) -> Result<(), StoreError> {
        let folder = self.writable()?.join("certs");
        for name in super::entries(&folder)? {
            let old = folder.join(name).join(".pending.old");
            if old.symlink_metadata().is_ok() {
                atomic::remove_all(&old)?;
            }
        }
        Ok(())
    }

    /// Keeps the chain that failed, as `rejected/`, with why.
    pub fn reject(&self, name: &CertName, chain_pem: &str, why: &Rejected) -> Result<(), StoreError> {
        let folder = self.writable()?.join("certs").join(name.as_str()).join("rejected");
        atomic::private_folder(&folder)?;
        let second = why.at.strftime("%Y%m%d%H%M%S").to_string();
        let path = folder.join(second);
        atomic::remove_all(&path)?;
        let why_json = super::json(&path, why)?;
        atomic::write_folder(&path, &[("fullchain.pem", chain_pem.as_bytes()), ("why.json", &why_json)])?;
        let mut kept = super::entries(&folder)?;
        kept.sort();
        let surplus = kept.len().saturating_sub(MOST_REJECTED);
        kept.iter().take(surplus).try_for_each(|old| atomic::remove_all(&folder.join(old)))
    }

    /// `None` as well when it cannot be used any more: then a new order is made, and nothing is lost but that.
    pub(super) fn pending(&self, name: &CertName) -> Result<Option<Intent>, StoreError> {
        let path = self.pending_folder(name).join("intent.json");
        // Without the lock, a renewal may replace the intent while it is read.
        let version = || path.symlink_metadata().ok().map(|file| (file.ino(), file.ctime(), file.ctime_nsec()));
        loop {
            let before = version();
            let Some(bytes) = atomic::read(&path)? else { return Ok(None) };
            let intent = serde_json::from_slice(&bytes).ok().filter(|_| self.intent_key(name).is_ok());
            if intent.is_some() {
                return Ok(intent);
            }
            if before.is_some() && version() == before {
                let what = "the intent or its key cannot be read; certd orders anew".to_owned();
                self.noted([Damage { path, what }]);
                return Ok(None);
            }
        }
    }

    pub(super) fn private_key(&self, path: &std::path::Path) -> Result<PrivateKey, StoreError> {
        let mut bytes = atomic::read(path)?.ok_or_else(|| StoreError::Missing { path: path.to_owned() })?;
        let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            StoreError::Damaged { path: path.to_owned(), why: "it is not text".to_owned() }
        })?;
        let parsed = PrivateKey::parse(Zeroizing::new(text));
        parsed.map_err(|source| StoreError::Malformed { path: path.to_owned(), source })
    }

    fn pending_folder(&self, name: &CertName) -> PathBuf {
        self.root.join("certs").join(name.as_str()).join("pending")
    }
}

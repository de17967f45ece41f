//! The state directory: generations, journals, lock. Every write is atomic and durable before it returns.
//!
//! Failure means: nothing was changed, or the old value is still whole.

pub mod owner;
pub mod secret;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cert::{CertName, DnsName, Generation, NameSet, Pair, PrivateKey};
use crate::observed::{Advice, Intent, LedgerEntry, Meta, Stored, Tried};

pub struct Store {
    root: PathBuf,
}

/// Held for the length of a pass; the kernel frees it.
#[derive(Debug)]
pub struct Lock {}

/// An account at one CA. The key is on disk before the CA hears of it, the URL as soon as the CA has told it.
pub struct AccountRecord {
    pub key_pkcs8: Zeroizing<Vec<u8>>,
    pub url: Option<String>,
    pub contact: Vec<String>,
}

/// A TXT record of ours: noted before it is made, struck after it was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxtNote {
    pub at: Timestamp,
    /// The record's own name, after CNAMEs.
    pub name: DnsName,
    pub value: String,
    /// The provider's zone, once known.
    pub zone: Option<String>,
    /// The provider's record id, once known.
    pub record: Option<String>,
}

/// A certificate that failed our checks: kept for a person, never delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rejected {
    pub at: Timestamp,
    pub order_url: String,
    pub flaws: Vec<String>,
}

impl Store {
    /// Opens, and makes when missing (0700), the state directory.
    pub fn open(_root: &Path) -> Result<Self, StoreError> {
        todo!()
    }
    /// Opens for looking only: makes nothing; an absent directory is an empty store.
    pub fn look(_root: &Path) -> Result<Self, StoreError> {
        todo!()
    }
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// `None`: another process holds it.
    pub fn lock(&self) -> Result<Option<Lock>, StoreError> {
        todo!()
    }
    pub fn stored(&self, _name: &CertName) -> Result<Stored, StoreError> {
        todo!()
    }
    pub fn pair(&self, _name: &CertName, _generation: &Generation) -> Result<Pair, StoreError> {
        todo!()
    }
    /// Keeps a checked pair as a generation and makes it `current`.
    pub fn keep(&self, _n: &CertName, _g: &Generation, _pair: &Pair, _meta: &Meta) -> Result<(), StoreError> {
        todo!()
    }
    /// The intent and its key, on disk before an order is made. With the same names and key type, an existing key is used.
    pub fn intend(&self, _name: &CertName, _intent: &Intent, _key: &PrivateKey) -> Result<(), StoreError> {
        todo!()
    }
    /// Rewrites the intent (its order's URL became known).
    pub fn note_intent(&self, _name: &CertName, _intent: &Intent) -> Result<(), StoreError> {
        todo!()
    }
    pub fn intent_key(&self, _name: &CertName) -> Result<PrivateKey, StoreError> {
        todo!()
    }
    pub fn drop_intent(&self, _name: &CertName) -> Result<(), StoreError> {
        todo!()
    }
    /// Keeps the chain that failed, as `rejected/`, with why.
    pub fn reject(&self, _name: &CertName, _chain_pem: &str, _why: &Rejected) -> Result<(), StoreError> {
        todo!()
    }
    pub fn account(&self, _ca: &str) -> Result<Option<AccountRecord>, StoreError> {
        todo!()
    }
    pub fn write_account(&self, _ca: &str, _account: &AccountRecord) -> Result<(), StoreError> {
        todo!()
    }
    pub fn ledger(&self) -> Result<Vec<LedgerEntry>, StoreError> {
        todo!()
    }
    /// Appended and fsynced before it returns.
    pub fn note_ledger(&self, _entry: &LedgerEntry) -> Result<(), StoreError> {
        todo!()
    }
    /// Records that were noted and not struck.
    pub fn txt_journal(&self) -> Result<Vec<TxtNote>, StoreError> {
        todo!()
    }
    pub fn note_txt(&self, _note: &TxtNote) -> Result<(), StoreError> {
        todo!()
    }
    pub fn strike_txt(&self, _name: &DnsName, _value: &str) -> Result<(), StoreError> {
        todo!()
    }
    pub fn tried(&self) -> Result<Tried, StoreError> {
        todo!()
    }
    pub fn write_tried(&self, _tried: &Tried) -> Result<(), StoreError> {
        todo!()
    }
    /// One event a line: what happened, to what, when.
    pub fn history(&self, _at: Timestamp, _event: &HistoryEvent) -> Result<(), StoreError> {
        todo!()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum HistoryEvent {
    Issued {
        certificate: CertName,
        generation: Generation,
        names: NameSet,
    },
    IssuanceFailed {
        certificate: CertName,
        code: String,
        what: String,
    },
    Delivered {
        certificate: CertName,
        generation: Generation,
        node: crate::cert::NodeName,
    },
    DeliveryFailed {
        certificate: CertName,
        generation: Generation,
        node: crate::cert::NodeName,
        code: String,
        what: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

impl StoreError {
    pub fn advice(&self) -> Advice {
        Advice::Person
    }
}

//! Accounts at CAs, one folder a host: `key.p8` (PKCS#8, DER) and `account.json`; while a key is changed, `key.next.p8`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Damage, Store, StoreError, atomic};

const NEXT_KEY: &str = "key.next.p8";

/// An account at one CA. The key is on disk before it is sent to the CA, the URL as soon as the CA has answered.
pub struct AccountRecord {
    pub key_pkcs8: Zeroizing<Vec<u8>>,
    pub url: Option<String>,
    pub contact: Vec<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct AccountFile {
    url: Option<String>,
    contact: Vec<String>,
}

impl Store {
    /// The account at the CA of this host. Without a readable `account.json` it has no URL: the CA returns it again
    /// for the same key.
    ///
    /// # Errors
    /// The key is empty, or gone while `account.json` is there: a new account is never made silently, since it would void
    /// `replaces` and CAA's `accounturi`.
    pub fn account(&self, ca: &str) -> Result<Option<AccountRecord>, StoreError> {
        let folder = self.account_folder(ca)?;
        let key = folder.join("key.p8");
        let path = folder.join("account.json");
        let account_json = atomic::read(&path)?;
        let Some(key_pkcs8) = atomic::read(&key)? else {
            if account_json.is_none() {
                return Ok(None);
            }
            return Err(StoreError::Damaged { path: folder, why: "the account's key (key.p8) is gone".to_owned() });
        };
        if key_pkcs8.is_empty() {
            return Err(StoreError::Damaged { path: key, why: "the account's key is empty".to_owned() });
        }
        let account_json = account_json.map(|bytes| serde_json::from_slice::<AccountFile>(&bytes));
        let AccountFile { url, contact } =
            account_json.unwrap_or_else(|| Ok(AccountFile::default())).unwrap_or_else(|_| {
                let what = "it cannot be read; the CA is asked for the account of this key".to_owned();
                self.noted([Damage { path, what }]);
                AccountFile::default()
            });
        Ok(Some(AccountRecord { key_pkcs8, url, contact }))
    }

    pub fn write_account(&self, ca: &str, account: &AccountRecord) -> Result<(), StoreError> {
        self.writable()?;
        let folder = self.account_folder(ca)?;
        atomic::private_folder(&folder)?;
        let (key, account_json) = (folder.join("key.p8"), folder.join("account.json"));
        if atomic::read(&key)?.as_ref() != Some(&account.key_pkcs8) {
            // The URL of the old key's account must not be taken for the new one's.
            atomic::remove_all(&account_json)?;
            atomic::write(&key, &account.key_pkcs8)?;
        }
        let value = AccountFile { url: account.url.clone(), contact: account.contact.clone() };
        atomic::write(&account_json, &super::json(&account_json, &value)?)
    }

    /// Where the account's key lies.
    pub fn account_key_file(&self, ca: &str) -> Result<PathBuf, StoreError> {
        Ok(self.account_folder(ca)?.join("key.p8"))
    }

    /// The key to which a change was begun and whose end was not heard: the CA knows this one or the old one.
    pub fn next_account_key(&self, ca: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let path = self.account_folder(ca)?.join(NEXT_KEY);
        let key = atomic::read(&path)?;
        match key {
            Some(key) if key.is_empty() => {
                Err(StoreError::Damaged { path, why: "the account's next key is empty".to_owned() })
            }
            key => Ok(key),
        }
    }

    /// On disk before the CA hears of it.
    pub fn write_next_account_key(&self, ca: &str, key_pkcs8: &[u8]) -> Result<(), StoreError> {
        self.writable()?;
        let folder = self.account_folder(ca)?;
        // An imported account has no key of ours yet.
        atomic::private_folder(&folder)?;
        atomic::write(&folder.join(NEXT_KEY), key_pkcs8)
    }

    /// The CA has taken the next key: by one rename it is the account's.
    pub fn adopt_next_account_key(&self, ca: &str) -> Result<(), StoreError> {
        self.writable()?;
        let folder = self.account_folder(ca)?;
        atomic::rename(&folder.join(NEXT_KEY), &folder.join("key.p8"))
    }

    fn account_folder(&self, ca: &str) -> Result<PathBuf, StoreError> {
        let path = self.root.join("accounts");
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._:-[]".contains(c);
        if ca.is_empty() || ca.len() > 253 || ca.starts_with('.') || !ca.chars().all(plain) {
            return Err(StoreError::BadCa { path, ca: ca.chars().take(80).collect() });
        }
        Ok(path.join(ca))
    }
}

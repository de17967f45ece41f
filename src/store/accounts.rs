//! Accounts at CAs, one folder a host: `key.p8` (PKCS#8, DER) and `account.json`.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Damage, Store, StoreError, atomic};

/// An account at one CA. The key is on disk before the CA hears of it, the URL as soon as the CA has told it.
pub struct AccountRecord {
    pub key_pkcs8: Zeroizing<Vec<u8>>,
    pub url: Option<String>,
    pub contact: Vec<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Told {
    url: Option<String>,
    contact: Vec<String>,
}

impl Store {
    /// The account at the CA of this host. Without a readable `account.json` it has no URL: the CA tells it again for
    /// the same key.
    ///
    /// # Errors
    /// An empty key, or none beside what the CA told of its account: a new account is never made in silence, since it would void `replaces` and CAA's `accounturi`.
    pub fn account(&self, ca: &str) -> Result<Option<AccountRecord>, StoreError> {
        let folder = self.account_folder(ca)?;
        let key = folder.join("key.p8");
        let path = folder.join("account.json");
        let told = atomic::read(&path)?;
        let Some(key_pkcs8) = atomic::read(&key)? else {
            if told.is_none() {
                return Ok(None);
            }
            return Err(StoreError::Damaged { path: folder, why: "the account's key (key.p8) is gone".to_owned() });
        };
        if key_pkcs8.is_empty() {
            return Err(StoreError::Damaged { path: key, why: "the account's key is empty".to_owned() });
        }
        let told = told.map(|bytes| serde_json::from_slice::<Told>(&bytes));
        let Told { url, contact } = told.unwrap_or_else(|| Ok(Told::default())).unwrap_or_else(|_| {
            let what = "it cannot be read; the CA is asked for the account of this key".to_owned();
            self.noted([Damage { path, what }]);
            Told::default()
        });
        Ok(Some(AccountRecord { key_pkcs8, url, contact }))
    }

    pub fn write_account(&self, ca: &str, account: &AccountRecord) -> Result<(), StoreError> {
        self.writable()?;
        let folder = self.account_folder(ca)?;
        atomic::private_folder(&folder)?;
        let (key, told) = (folder.join("key.p8"), folder.join("account.json"));
        if atomic::read(&key)?.as_ref() != Some(&account.key_pkcs8) {
            // The URL of the old key's account must not be taken for the new one's.
            atomic::remove_all(&told)?;
            atomic::write(&key, &account.key_pkcs8)?;
        }
        let value = Told { url: account.url.clone(), contact: account.contact.clone() };
        atomic::write(&told, &super::json(&told, &value)?)
    }

    fn account_folder(&self, ca: &str) -> Result<std::path::PathBuf, StoreError> {
        let path = self.root.join("accounts");
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._:-[]".contains(c);
        if ca.is_empty() || ca.len() > 253 || ca.starts_with('.') || !ca.chars().all(plain) {
            return Err(StoreError::BadCa { path, ca: ca.chars().take(80).collect() });
        }
        Ok(path.join(ca))
    }
}

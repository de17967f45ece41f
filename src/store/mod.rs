//! The state directory: generations, journals, lock. Every write is atomic and durable before it returns.
//!
//! ```text
//! lock                                     flock for the length of a pass
//! accounts/<ca-host>/                      key.p8 account.json key.next.p8
//! certs/<name>/<generation>/               fullchain.pem privkey.pem cert.pem chain.pem meta.json
//! certs/<name>/current -> <generation>     for people and their tools
//! certs/<name>/pending/                    intent.json privkey.pem
//! certs/<name>/revoke.json                 a revocation that was begun
//! certs/<name>/rejected/<second>/          fullchain.pem why.json
//! ledger.jsonl  txt.jsonl  history.jsonl   appended to, and cut when they are long
//! state.json                               versioned
//! dns.json                                 the DNS provider's zones, and the state of the token
//! health.json                              the health of nodes, as `certd run` saw it last
//! withdrawn.jsonl  withdrawn.lock          address records that failover has taken out of DNS; appended to, and cut
//! failover.json                            what `certd run` last had to say of failover
//! ```
//!
//! An error means that nothing was changed: the old value is whole. A broken file that no certificate depends on is worked
//! around and reported by [`Store::damages`].

mod accounts;
mod atomic;
mod disk_space;
mod dns_cache;
mod error;
pub mod fresh;
mod generations;
pub mod guard;
mod health;
mod intent;
mod journal;
mod journal_entries;
mod lock;
mod numbers;
pub mod owner;
mod revocation;
pub mod secret;
pub mod started;
mod state;
mod withdrawals;

use crate::mutex::lock;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Serialize;

pub use accounts::AccountRecord;
pub use error::{Damage, StoreError};
pub use intent::Rejected;
pub use journal_entries::{HistoryEvent, TxtNote};
pub use lock::Lock;
pub use revocation::Revocation;
pub use withdrawals::Withdrawals;

#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    looking: bool,
    damages: Mutex<BTreeSet<Damage>>,
    /// Certificates are issued side by side, and an append cuts off whatever stands behind the last newline it saw.
    appending: Mutex<()>,
}

impl Store {
    /// Opens, and makes when missing (0700), the state directory.
    ///
    /// # Errors
    /// Others may enter it, a newer certd wrote it, or the disk refuses.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        if !root.exists() {
            atomic::private_folder(root)?;
        }
        Self::opened(root, false)
    }

    /// Opens for looking only: makes nothing; an absent directory is an empty store.
    pub fn look(root: &Path) -> Result<Self, StoreError> {
        Self::opened(root, true)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What was found broken and worked around since this store was opened, each once.
    pub fn damages(&self) -> Vec<Damage> {
        lock(&self.damages).iter().cloned().collect()
    }

    fn opened(root: &Path, looking: bool) -> Result<Self, StoreError> {
        match fs::metadata(root) {
            Ok(found) if !found.is_dir() => return Err(StoreError::NotAFolder { path: root.to_owned() }),
            // Before its mode: `state_dir = "/etc"` must not be answered with the advice to close /etc.
            Ok(_) if is_of_others(root) => return Err(StoreError::NotOurs { path: root.to_owned() }),
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                return Err(StoreError::NotPrivate {
                    path: root.to_owned(),
                    mode: found.permissions().mode() & 0o7777,
                });
            }
            Ok(_) => state::check_schema(root)?,
            Err(error) if looking && error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io("read", root)(error)),
        }
        Ok(Self { root: root.to_owned(), looking, damages: Mutex::default(), appending: Mutex::default() })
    }

    /// The root, for a caller that is about to write below it.
    fn writable(&self) -> Result<&Path, StoreError> {
        if self.looking {
            return Err(StoreError::OnlyLooking { path: self.root.clone() });
        }
        Ok(&self.root)
    }

    fn noted(&self, damages: impl IntoIterator<Item = Damage>) {
        lock(&self.damages).extend(damages);
    }
}

/// A folder that somebody else uses: it has something in it, and nothing by which certd would know it.
fn is_of_others(root: &Path) -> bool {
    const MARKS: [&str; 6] =
        ["state.json", "ledger.jsonl", "txt.jsonl", "history.jsonl", "dns.json", "withdrawn.jsonl"];
    /// What a first run that was cut short leaves, and what the root of a file system and of a snapshot has.
    const BESIDE: [&str; 8] =
        ["lock", "accounts", "certs", "health.json", "withdrawn.lock", "failover.json", "lost+found", ".snapshot"];
    // One that cannot be looked into says so when it is read.
    let Ok(names) = entries(root) else { return false };
    let is_ours = |name: &String| BESIDE.contains(&name.as_str()) || (name.starts_with('.') && name.ends_with(".new"));
    !names.iter().any(|name| MARKS.contains(&name.as_str())) && !names.iter().all(is_ours)
}

/// The names in a folder; one that is not there has none.
fn entries(folder: &Path) -> Result<Vec<String>, StoreError> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", folder)(error)),
    };
    let names = listed.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<Result<_, _>>().map_err(StoreError::io("read", folder))
}

fn json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, StoreError> {
    let text = serde_json::to_vec_pretty(value);
    text.map_err(|why| StoreError::Damaged { path: path.to_owned(), why: why.to_string() })
}

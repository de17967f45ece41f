//! Generations: one folder each, whole or absent, and `current`, a link for people and their tools.
//!
//! One rename makes a generation: that of its folder. What counts as current is the greatest generation whose pair is
//! whole, whatever `current` says: a crash, or a backup that made a folder of the link, changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Damage, Store, StoreError, atomic};
use crate::cert::{CertName, Chain, Generation, Pair};
use crate::model::{Code, Former, Kept, Meta, PersistedState, Stored, UNKNOWN_CA};

/// Generations that are kept although their certificates have ended: a person may want to know what was served, and ten
/// are more than a year of ninety-day certificates.
const KEPT: usize = 10;

impl Store {
    /// What is held of one certificate. A generation that is not whole is left out and reported, and so is a folder that
    /// is none.
    pub fn stored(&self, name: &CertName) -> Result<Stored, StoreError> {
        let mut generations = self.generations(name)?;
        self.noted(self.strange(name)?.into_iter().map(|folder| folder.damage()));
        let mut stored = Stored { pending: self.pending(name)?, ..Stored::default() };
        stored.greatest = generations.iter().map(Generation::number).max().unwrap_or(0);
        generations.reverse();
        for generation in generations {
            if stored.current.is_none() {
                match self.kept(name, &generation) {
                    Ok(kept) => stored.current = Some(kept),
                    // Not the disk's fault but the caller's: another user would see an empty store.
                    Err(error) if error.code() == Code::StorePermission => return Err(error),
                    Err(error) => {
                        let what = format!("this generation is left out: {error}");
                        self.noted([Damage { path: self.folder(name).join(generation.to_string()), what }]);
                    }
                }
                if stored.current.is_some() {
                    continue;
                }
            }
            if stored.previous.is_none() && stored.current.is_some() {
                let pair = self.pair(name, &generation).ok();
                let former =
                    pair.map(|pair| Former { generation: generation.clone(), leaf: pair.chain().leaf.clone() });
                stored.previous = former;
            }
            // A broken one may have been delivered before it broke.
            stored.former.extend(self.chain(name, &generation).ok().map(|chain| chain.leaf.fingerprint));
        }
        Ok(stored)
    }

    /// All that have a folder, whole or not, lowest first.
    pub fn generations(&self, name: &CertName) -> Result<Vec<Generation>, StoreError> {
        let entries = super::entries(&self.folder(name))?;
        let mut generations: Vec<Generation> = entries.iter().filter_map(|entry| entry.parse().ok()).collect();
        generations.sort();
        Ok(generations)
    }

    pub fn pair(&self, name: &CertName, generation: &Generation) -> Result<Pair, StoreError> {
        let folder = self.folder(name).join(generation.to_string());
        let key = self.private_key(&folder.join("privkey.pem"))?;
        let pair = Pair::new(self.chain(name, generation)?, key);
        pair.map_err(|why| StoreError::Damaged { path: folder, why: why.to_string() })
    }

    /// One generation, when its pair is whole. A `meta.json` that cannot be read is replaced by what the certificate
    /// says.
    pub fn kept(&self, name: &CertName, generation: &Generation) -> Result<Kept, StoreError> {
        let pair = self.pair(name, generation)?;
        let leaf = pair.chain().leaf.clone();
        let path = self.folder(name).join(generation.to_string()).join("meta.json");
        let meta = atomic::read(&path)?.and_then(|bytes| serde_json::from_slice::<Meta>(&bytes).ok());
        if let Some(meta) = meta {
            return Ok(Kept { generation: generation.clone(), leaf, meta });
        }
        let Some(key_type) = leaf.key_type else {
            return Err(StoreError::Damaged { path, why: "it cannot be read".to_owned() });
        };
        let what = "it cannot be read; the certificate itself tells the key type, and its CA is taken for unknown";
        self.noted([Damage { path, what: what.to_owned() }]);
        let meta = Meta { key_type, profile: None, ca: UNKNOWN_CA.to_owned(), issued_at: leaf.not_before };
        Ok(Kept { generation: generation.clone(), leaf, meta })
    }

    /// Keeps a checked pair as a generation and makes it `current`. When the same certificate is already the greatest
    /// generation (a crash came before its intent was dropped), that one stays: the answer is the one that counts.
    pub fn keep(&self, n: &CertName, g: &Generation, pair: &Pair, meta: &Meta) -> Result<Generation, StoreError> {
        self.writable()?;
        let folder = self.folder(n);
        atomic::private_folder(&folder)?;
        atomic::sweep(&folder)?;
        let held = self.stored(n)?.current;
        if let Some(held) = held.filter(|held| held.leaf.fingerprint == pair.chain().leaf.fingerprint) {
            self.make_current(n, &held.generation)?;
            return Ok(held.generation);
        }
        let path = folder.join(g.to_string());
        if path.symlink_metadata().is_ok() {
            let aside = atomic::set_aside(&path)?;
            let what =
                format!("a generation of that number was there already; it was set aside as {}", aside.display());
            self.noted([Damage { path: path.clone(), what }]);
        }
        let chain = pair.chain();
        let meta = super::json(&path, meta)?;
        let (whole, leaf, issuers) = (chain.pem(), chain.leaf_pem(), chain.issuers_pem());
        let files = [
            ("privkey.pem", pair.key().pem().as_bytes()),
            ("fullchain.pem", whole.as_bytes()),
            ("cert.pem", leaf.as_bytes()),
            ("chain.pem", issuers.as_bytes()),
            ("meta.json", &meta),
        ];
        atomic::write_folder(&path, &files)?;
        self.make_current(n, g)?;
        // Whatever cannot be read back would be ordered again, and its key lost.
        self.read_back(n, g, pair.chain().leaf.fingerprint)?;
        Ok(g.clone())
    }

    /// Removes expired generations but the last, and returns how many. A certificate that is still valid may be served
    /// somewhere and is recognised by its generation; one that was given up shows which keys must not be used again.
    pub fn prune(&self, name: &CertName, tried: &PersistedState, now: Timestamp) -> Result<usize, StoreError> {
        self.writable()?;
        let generations = self.generations(name)?;
        let Some(old) = generations.len().checked_sub(KEPT).filter(|old| *old > 0) else { return Ok(0) };
        let stored = self.stored(name)?;
        let needed: Vec<Generation> = [
            stored.current.map(|kept| kept.generation),
            tried.held.get(name).map(|held| held.generation.clone()),
            self.revocation(name)?.map(|revocation| revocation.generation),
        ]
        .into_iter()
        .flatten()
        .collect();
        let key_of = stored.pending.and_then(|intent| intent.key_of);
        let mut removed = 0;
        for generation in generations.iter().take(old).filter(|generation| !needed.contains(generation)) {
            // What cannot be read is kept for a person.
            let Ok(leaf) = self.chain(name, generation).map(|chain| chain.leaf) else { continue };
            let known = tried.revoked.contains_key(&leaf.fingerprint) || key_of == Some(leaf.fingerprint);
            if now <= leaf.not_after || known {
                continue;
            }
            atomic::remove_folder(&self.folder(name).join(generation.to_string()))?;
            removed += 1;
        }
        Ok(removed)
    }

    pub(super) fn make_current(&self, name: &CertName, generation: &Generation) -> Result<(), StoreError> {
        let link = self.folder(name).join("current");
        let target = PathBuf::from(generation.to_string());
        if fs::read_link(&link).is_ok_and(|held| held == target) {
            return Ok(());
        }
        if link.symlink_metadata().is_ok_and(|what| what.is_dir()) {
            let aside = atomic::set_aside(&link)?;
            let what =
                format!("it was a folder and no link (a backup's doing?) and was set aside as {}", aside.display());
            self.noted([Damage { path: link.clone(), what }]);
        }
        atomic::point(&link, &target)
    }

    fn chain(&self, name: &CertName, generation: &Generation) -> Result<Chain, StoreError> {
        chain_in(&self.folder(name).join(generation.to_string()))
    }

    pub(super) fn folder(&self, name: &CertName) -> PathBuf {
        Path::join(&self.root, "certs").join(name.as_str())
    }
}

pub(super) fn chain_in(folder: &Path) -> Result<Chain, StoreError> {
    let path = folder.join("fullchain.pem");
    let bytes = atomic::read(&path)?.ok_or_else(|| StoreError::Missing { path: path.clone() })?;
    let text = str::from_utf8(&bytes);
    let text = text.map_err(|_| StoreError::Damaged { path: path.clone(), why: "it is not text".to_owned() })?;
    Chain::parse(text).map_err(|source| StoreError::Malformed { path, source })
}

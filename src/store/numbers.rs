//! Numbers of generations: another one for the same files, by one rename; and folders whose number cannot be read.
//!
//! An earlier certd believed any number that a node reported, and numbered above it. It wrote folders that cannot be read
//! back, each with the only key of its certificate. An error means that the folder is where it was.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::generations::chain_in;
use super::{Damage, Revocation, Store, StoreError, atomic};
use crate::cert::{CertName, Fingerprint, Generation, Leaf, generation};
use crate::model::Meta;

/// A folder of a certificate that is no generation.
pub(super) struct Strange {
    path: PathBuf,
    /// What it holds, if that can be read.
    leaf: Option<Leaf>,
}

impl Strange {
    pub(super) fn damage(self) -> Damage {
        let want = "the folder is no generation (YYYYMMDDhhmmss-serial) and is left out";
        let what = match self.leaf {
            Some(leaf) => format!("{want}; it holds a certificate that began {}", leaf.not_before),
            None => format!("{want}; no certificate in it can be read"),
        };
        Damage { path: self.path, what }
    }
}

/// Named as an earlier certd did: a number, and the leaf's serial.
fn was_a_generation(path: &Path, leaf: &Leaf) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).and_then(|name| name.split_once('-'));
    name.is_some_and(|(number, serial)| number.bytes().all(|byte| byte.is_ascii_digit()) && serial == leaf.serial)
}

/// The second by which it would have been numbered: when it was kept, since CAs date certificates back by an hour, and
/// another one may have been issued within it. Without that, when it began.
fn issued_at(path: &Path, leaf: &Leaf, now: Timestamp) -> Timestamp {
    let meta = atomic::read(&path.join("meta.json")).ok().flatten();
    let meta = meta.and_then(|bytes| serde_json::from_slice::<Meta>(&bytes).ok());
    let kept = meta.map(|meta| meta.issued_at).filter(|at| leaf.not_before <= *at && *at <= now);
    kept.unwrap_or(leaf.not_before.min(now))
}

impl Store {
    /// Gives a generation another number. A revocation of it that was begun follows first: without its folder it could
    /// not be ended any more.
    pub fn renumber(&self, name: &CertName, from: &Generation, to: &Generation) -> Result<(), StoreError> {
        self.writable()?;
        let fingerprint = chain_in(&self.folder(name).join(from.to_string()))?.leaf.fingerprint;
        if let Some(begun) = self.revocation(name)?.filter(|begun| begun.generation == *from) {
            self.note_revocation(name, &Revocation { generation: to.clone(), ..begun })?;
        }
        let (from, at) = (self.folder(name).join(from.to_string()), self.folder(name).join(to.to_string()));
        atomic::rename(&from, &at)?;
        if let Err(error) = self.read_back(name, to, fingerprint) {
            atomic::rename(&at, &from)?;
            return Err(error);
        }
        self.make_current(name, to)
    }

    /// Renumbers generations from the future by their second of issuance: they would stay above all later ones. A folder
    /// whose number cannot be read becomes a generation again, if it was one; a folder with a person's own name is reported
    /// and left alone. Returns the renumbered ones in the order of issuance.
    pub fn repair_numbers(&self, name: &CertName, now: Timestamp) -> Result<Vec<Generation>, StoreError> {
        self.writable()?;
        let latest = generation::latest(now);
        let whole = self.generations(name)?.into_iter().filter(|generation| generation.number() > latest);
        let whole = whole.map(|generation| self.folder(name).join(generation.to_string()));
        let whole = whole.filter_map(|path| Some((chain_in(&path).ok()?.leaf, path)));
        let strange = self.strange(name)?.into_iter().filter_map(|Strange { path, leaf }| Some((leaf?, path)));
        let strange = strange.filter(|(leaf, path)| was_a_generation(path, leaf));
        let issued = |(leaf, path): (Leaf, PathBuf)| (issued_at(&path, &leaf, now), leaf, path);
        let mut wrong: Vec<(Timestamp, Leaf, PathBuf)> = whole.chain(strange).map(issued).collect();
        wrong.sort_by_key(|(at, leaf, _)| (*at, leaf.fingerprint));
        let (mut below, mut mended) = (0, Vec::new());
        for (at, leaf, path) in wrong {
            let Ok(mut to) = Generation::issued(at, below, &leaf.serial) else { continue };
            while self.folder(name).join(to.to_string()).symlink_metadata().is_ok() {
                to = to.above(to.number());
            }
            atomic::rename(&path, &self.folder(name).join(to.to_string()))?;
            let what = format!(
                "its number was none, or of a time to come, from a clock or a node that was wrong: it is {to} now"
            );
            self.noted([Damage { path, what }]);
            below = to.number();
            mended.push(to);
        }
        // Killed behind a rename, an earlier run has left the link for people and their tools leading nowhere.
        let link = self.folder(name).join("current");
        let astray = !mended.is_empty() || (link.is_symlink() && !link.exists());
        let greatest = if astray { self.stored(name)?.current } else { None };
        greatest.map_or(Ok(()), |kept| self.make_current(name, &kept.generation))?;
        Ok(mended)
    }

    /// Whether what was kept is found again under its number, as the next run will look for it.
    pub(super) fn read_back(&self, name: &CertName, kept: &Generation, leaf: Fingerprint) -> Result<(), StoreError> {
        let found = self.generations(name)?.contains(kept) && self.pair(name, kept)?.chain().leaf.fingerprint == leaf;
        let path = self.folder(name).join(kept.to_string());
        let why = || "it cannot be read back as it was written".to_owned();
        if found { Ok(()) } else { Err(StoreError::Damaged { path, why: why() }) }
    }

    /// Folders that certd did not name. One that was set aside has been reported already.
    pub(super) fn strange(&self, name: &CertName) -> Result<Vec<Strange>, StoreError> {
        let ours = |entry: &String| {
            let named = ["current", "pending", "rejected"].contains(&entry.as_str());
            named || entry.starts_with('.') || entry.contains(".bad-") || entry.parse::<Generation>().is_ok()
        };
        let entries = super::entries(&self.folder(name))?;
        let paths = entries.into_iter().filter(|entry| !ours(entry)).map(|entry| self.folder(name).join(entry));
        let folders = paths.filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_dir()));
        Ok(folders.map(|path| Strange { leaf: chain_in(&path).ok().map(|chain| chain.leaf), path }).collect())
    }
}

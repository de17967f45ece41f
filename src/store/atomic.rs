//! Durable writes: a reader finds the old content or the new one, whole, at any instant and after any crash.
//!
//! Write = temporary file in the same folder, private from its first byte, write, fsync, rename, fsync of the folder.
//! One process writes at a time (it holds the lock), so a temporary name that is already there was left by a crash.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::StoreError;

/// Bytes of a file that is read whole. The largest that certd writes is a journal.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Replaces a file, or makes it.
///
/// # Errors
/// Also when it could not be read again.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(StoreError::TooLong { path: path.to_owned(), size: bytes.len() as u64, most: MOST_BYTES });
    }
    let fresh = beside(path, "new");
    let done = write_new(&fresh, bytes).and_then(|()| rename(&fresh, path));
    if done.is_err() {
        // Best effort: the next write removes it too.
        let _ = fs::remove_file(&fresh);
    }
    done
}

/// Makes a folder with these files, all or nothing. What stands at `path` must have been moved away before.
pub(super) fn write_folder(path: &Path, files: &[(&str, &[u8])]) -> Result<(), StoreError> {
    let fresh = beside(path, "new");
    remove_all(&fresh)?;
    let done = (|| {
        private_folder(&fresh)?;
        for (name, bytes) in files {
            write_new(&fresh.join(name), bytes)?;
        }
        sync_folder(&fresh)?;
        rename(&fresh, path)
    })();
    if done.is_err() {
        let _ = fs::remove_dir_all(&fresh);
    }
    done
}

/// Lets a symlink lead elsewhere, by one rename.
pub(super) fn point(link: &Path, target: &Path) -> Result<(), StoreError> {
    let fresh = beside(link, "new");
    remove_all(&fresh)?;
    symlink(target, &fresh).map_err(StoreError::io("write", &fresh))?;
    rename(&fresh, link)
}

/// Renames within one folder, durably.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(StoreError::io("write", to))?;
    sync_folder(folder_of(to))
}

/// Renames to the first free `<name>.bad-<n>`: what is broken is kept for a person.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let name = name_of(path);
    let mut candidates = (1u32..).map(|n| path.with_file_name(format!("{name}.bad-{n}")));
    let free = candidates.find(|candidate| fs::symlink_metadata(candidate).is_err()).unwrap_or_else(|| path.into());
    rename(path, &free)?;
    Ok(free)
}

/// Removes a file, a link or a whole folder, durably; that it is not there is as good.
pub(super) fn remove_all(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(what) if what.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => sync_folder(folder_of(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io("remove", path)(error)),
    }
}

/// Removes a folder, all or nothing: what a crash leaves of it has a name that [`sweep`] knows.
pub(super) fn remove_folder(path: &Path) -> Result<(), StoreError> {
    let aside = beside(path, "new");
    remove_all(&aside)?;
    rename(path, &aside)?;
    remove_all(&aside)
}

/// Removes what writes that were cut short have left in a folder.
pub(super) fn sweep(folder: &Path) -> Result<(), StoreError> {
    let names = super::entries(folder)?;
    let left = names.iter().filter(|name| name.starts_with('.') && name.ends_with(".new"));
    left.into_iter().try_for_each(|name| remove_all(&folder.join(name)))
}

/// Makes a folder, and those above it, that nobody else may enter; that it is there is as good.
pub(super) fn private_folder(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    private_folder(above)?;
    match DirBuilder::new().mode(0o700).create(path) {
        // Certificates are issued side by side, and another was first.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made.map_err(StoreError::io("make", path))?,
    }
    sync_folder(above)
}

/// The whole file; `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let failed = |error| StoreError::io("read", path)(error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let size = file.metadata().map_err(failed)?.len();
    if size > MOST_BYTES {
        return Err(StoreError::TooLong { path: path.to_owned(), size, most: MOST_BYTES });
    }
    // Room for all of it at once: growing would leave copies of a key behind that nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(StoreError::io("write", folder))
}

/// A file that was not there, 0600 from its first byte (an umask can only take away from it), on disk on return.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    remove_all(path)?;
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(StoreError::io("write", path))
}

fn beside(path: &Path, what: &str) -> PathBuf {
    path.with_file_name(format!(".{}.{what}", name_of(path)))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn a_folder_that_several_make_at_one_time_is_made() {
        let root = tempfile::tempdir().unwrap();
        for round in 0..200 {
            let folder = root.path().join(round.to_string()).join("certs");
            let start = Barrier::new(4);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        start.wait();
                        private_folder(&folder).unwrap();
                    });
                }
            });
        }
    }
}

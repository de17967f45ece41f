//! A file that must not be there yet: a first configuration, a secret. It appears whole or not at all, and never in the
//! place of another.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use super::started::Started;
use crate::model::Code;

#[derive(Debug, thiserror::Error)]
pub enum FreshError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: is there already, with other content; it was not overwritten", path.display())]
    Exists { path: PathBuf },
}

impl FreshError {
    pub fn code(&self) -> Code {
        match self {
            Self::Io { .. } => Code::SecretUnreadable,
            Self::Exists { .. } => Code::ImportExists,
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. } | Self::Exists { path } => path,
        }
    }

    /// What to do next.
    pub fn next(&self) -> String {
        match self {
            Self::Io { path, source } => {
                let folder = path.parent().unwrap_or(path).display();
                Started::now().next(source, format!("make its folder ({folder}), or see why it cannot be written"))
            }
            Self::Exists { path } => {
                format!("move {} away, or leave it as it is and write the rest by hand", path.display())
            }
        }
    }
}

/// Makes the file, durably, and returns true; false: it is there, with this content.
///
/// # Errors
/// It is there with other content, or cannot be written. Nothing was changed.
pub fn publish(path: &Path, content: &[u8], mode: u32) -> Result<bool, FreshError> {
    let io = |source| FreshError::Io { path: path.to_owned(), source };
    let exists = || FreshError::Exists { path: path.to_owned() };
    match same(path, content).map_err(io)? {
        Some(true) => {
            // A run that was killed between the link and this may have left it.
            return match fs::remove_file(fresh_name(path)) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(io(error)),
                _ => Ok(false),
            };
        }
        Some(false) => return Err(exists()),
        None => {}
    }
    let fresh = fresh_name(path);
    let done = write(&fresh, content, mode).and_then(|()| fs::hard_link(&fresh, path));
    // A run that was killed has left it; it may hold a secret.
    let removed = fs::remove_file(&fresh);
    match done {
        Ok(()) => {}
        // Somebody was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(exists()),
        Err(error) => return Err(io(error)),
    }
    removed.map_err(io)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    Ok(true)
}

fn fresh_name(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.new"))
}

/// Private from its first byte.
fn write(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Whether what is there has this content; `None`: nothing is there.
fn same(path: &Path, content: &[u8]) -> std::io::Result<Option<bool>> {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut there = Zeroizing::new(Vec::with_capacity(content.len() + 1));
    file.take(content.len() as u64 + 1).read_to_end(&mut there)?;
    Ok(Some(there.as_slice() == content))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_made_once_whole_and_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(folder.path().join(".token.new"), "left by a crash").unwrap();
        assert!(publish(&path, b"secret\n", 0o600).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(!publish(&path, b"secret\n", 0o600).unwrap(), "it is there already");
        for other in [&b"secret"[..], b"secret\n\n", b"another\n"] {
            let refused = publish(&path, other, 0o600).unwrap_err();
            assert_eq!(refused.code(), Code::ImportExists);
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"secret\n");
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["token"], "nothing is left beside it");
    }

    #[test]
    fn what_cannot_be_looked_into_is_not_overwritten_either() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        symlink(folder.path().join("nowhere"), &link).unwrap();
        assert!(publish(&link, b"x", 0o600).is_err());
        assert!(!folder.path().join("nowhere").exists());
        assert!(publish(&folder.path().join("missing/file"), b"x", 0o600).unwrap_err().next().contains("missing"));
    }
}

//! What can go wrong with the state directory, and what to do about it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::started::{SUDO, Started};
use crate::cert::Malformed;
use crate::model::{Advice, Code};

/// Every error names its path. A write that failed left the old value whole.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// "write", "read", "lock".
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} holds private keys, and its mode {mode:o} lets others in", path.display())]
    NotPrivate { path: PathBuf, mode: u32 },
    #[error("{} is not a folder", path.display())]
    NotAFolder { path: PathBuf },
    #[error("{} holds other things, and is no state directory of certd's", path.display())]
    NotOurs { path: PathBuf },
    #[error("{}: {size} bytes, and at most {most} are read", path.display())]
    TooLong { path: PathBuf, size: u64, most: u64 },
    #[error("{} was written by a newer certd (schema {found}; this one knows {known})", path.display())]
    NewerSchema { path: PathBuf, found: u64, known: u64 },
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("{}: {source}", path.display())]
    Malformed { path: PathBuf, source: Malformed },
    #[error("{}: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("{}: {ca:?} cannot be the name of a folder of accounts", path.display())]
    BadCa { path: PathBuf, ca: String },
    #[error("{} was opened for looking only", path.display())]
    OnlyLooking { path: PathBuf },
}

impl StoreError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }

    /// Stable and greppable.
    pub fn code(&self) -> Code {
        match self {
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::StoreFull,
                ErrorKind::ReadOnlyFilesystem => Code::StoreReadOnly,
                ErrorKind::PermissionDenied => Code::StorePermission,
                _ => Code::StoreIo,
            },
            Self::NotPrivate { .. } => Code::StoreNotPrivate,
            Self::NotAFolder { .. } => Code::StoreNotAFolder,
            Self::NotOurs { .. } => Code::StoreNotOurs,
            Self::TooLong { .. } => Code::StoreTooLong,
            Self::NewerSchema { .. } => Code::StoreNewerSchema,
            Self::Missing { .. } => Code::StoreMissing,
            Self::Malformed { .. } | Self::Damaged { .. } => Code::StoreDamaged,
            Self::BadCa { .. } => Code::StoreBadCa,
            Self::OnlyLooking { .. } => Code::StoreOnlyLooking,
        }
    }

    /// The file or folder that it is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::NotPrivate { path, .. }
            | Self::NotAFolder { path }
            | Self::NotOurs { path }
            | Self::TooLong { path, .. }
            | Self::NewerSchema { path, .. }
            | Self::Missing { path }
            | Self::Malformed { path, .. }
            | Self::Damaged { path, .. }
            | Self::BadCa { path, .. }
            | Self::OnlyLooking { path } => path,
        }
    }

    /// What to do next.
    pub fn next(&self) -> String {
        let shown = self.path().display();
        match self {
            Self::Io { .. } => match self.code() {
                Code::StoreFull => format!("free some space where {shown} lies; what was kept before is whole"),
                Code::StoreReadOnly => {
                    format!("mount the file system of {shown} writable: `findmnt -T {shown}` shows it")
                }
                Code::StorePermission => permission(self.path(), Started::now()),
                _ => format!("look at the disk of {shown} (`dmesg`); what was kept before is whole"),
            },
            Self::NotPrivate { .. } => {
                format!("chmod 700 {shown}; if others could read it, replace the certificates and revoke the old ones")
            }
            Self::NotAFolder { .. } => format!("move {shown} away, or name another state directory"),
            // Neither its mode nor its owner is for us to change.
            Self::NotOurs { .. } => {
                "name a folder of certd's own as state_dir, such as /var/lib/certd; certd makes it".to_owned()
            }
            Self::TooLong { .. } => format!("look at what fills {shown}; moved away, it is made anew"),
            Self::NewerSchema { .. } => {
                "install that newer certd again, or restore the state directory as it was".to_owned()
            }
            Self::Missing { .. } => "see history.jsonl in the state directory for what was kept".to_owned(),
            Self::Malformed { .. } | Self::Damaged { .. } => {
                format!("restore {shown} from a backup, or move it away: certd makes it anew")
            }
            Self::BadCa { .. } => "use a CA whose directory has a plain host name".to_owned(),
            Self::OnlyLooking { .. } => "report this: a command that only looks tried to write".to_owned(),
        }
    }

    pub fn advice(&self) -> Advice {
        match self {
            Self::OnlyLooking { .. } => Advice::Bug,
            _ => Advice::Person,
        }
    }
}

fn permission(path: &Path, started: Started) -> String {
    let shown = path.display();
    match started {
        Started::Person => format!("{SUDO}: certd then works as the owner of the state directory"),
        Started::Unit | Started::Root => format!(
            "give the state directory to one owner, with all that is in it (`chown -R`), as after a restore: {shown} is another's, and certd runs as the owner of the directory, or as the unit's User="
        ),
    }
}

/// Something that was found broken and worked around: no certificate was lost, but a person should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct Damage {
    pub path: PathBuf,
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p06_an_error_says_what_happened_and_what_to_do() {
        let error = |errno: i32| StoreError::io("write", Path::new("/s/x"))(io::Error::from_raw_os_error(errno));
        for (errno, code, what, next) in [
            (28, Code::StoreFull, "No space left", "free some space"),
            (30, Code::StoreReadOnly, "Read-only file system", "findmnt -T /s/x"),
            (13, Code::StorePermission, "Permission denied", ""),
            (5, Code::StoreIo, "Input/output error", "look at the disk"),
        ] {
            let error = error(errno);
            assert_eq!(error.code(), code);
            assert!(error.to_string().starts_with(&format!("cannot write /s/x: {what}")), "{error}");
            assert!(error.next().contains(next), "{}", error.next());
            assert_eq!(error.advice(), Advice::Person);
        }
        let next = |started| permission(Path::new("/s/x"), started);
        assert!(next(Started::Person).starts_with("run it with sudo"));
        assert!(next(Started::Root).contains("chown -R"));
    }
}

//! One pass at a time. The lock is the kernel's (flock), so that it ends with the process, however that ends; there is
//! no pid file to be stale.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{Store, StoreError};

const WITHDRAWALS: &str = "withdrawn.lock";

/// Held for the length of a pass; the kernel frees it.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

impl Store {
    /// `None`: another process holds it.
    pub fn lock(&self) -> Result<Option<Lock>, StoreError> {
        self.lock_at_once("lock")
    }

    /// Of the withdrawals alone.
    pub fn lock_withdrawals(&self) -> Result<Option<Lock>, StoreError> {
        self.lock_at_once(WITHDRAWALS)
    }

    fn lock_at_once(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        let (file, path) = self.lock_file(name)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Some(Lock { _file: file })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(StoreError::io("lock", &path)(errno.into())),
        }
    }

    /// Blocks the thread until the lock is ours: a caller with a deadline runs it on a thread of its own.
    pub fn lock_wait(&self) -> Result<Lock, StoreError> {
        self.lock_blocking("lock")
    }

    /// Of the withdrawals alone, in the same way.
    pub fn lock_withdrawals_wait(&self) -> Result<Lock, StoreError> {
        self.lock_blocking(WITHDRAWALS)
    }

    fn lock_blocking(&self, name: &str) -> Result<Lock, StoreError> {
        let (mut file, path) = self.lock_file(name)?;
        loop {
            match Flock::lock(file, FlockArg::LockExclusive) {
                Ok(file) => return Ok(Lock { _file: file }),
                Err((again, Errno::EINTR)) => file = again,
                Err((_, errno)) => return Err(StoreError::io("lock", &path)(errno.into())),
            }
        }
    }

    fn lock_file(&self, name: &str) -> Result<(File, PathBuf), StoreError> {
        let path = self.writable()?.join(name);
        let opened = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(StoreError::io("lock", &path))?;
        Ok((file, path))
    }
}

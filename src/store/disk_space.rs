//! Free space and permissions of the state directory.

use std::os::unix::fs::MetadataExt as _;

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::{Store, StoreError};

impl Store {
    /// Bytes free to the owner of the state directory. `None`: it does not exist yet.
    pub fn disk_space(&self) -> Result<Option<u64>, StoreError> {
        if !self.root.exists() {
            return Ok(None);
        }
        let failed = |errno: nix::Error| StoreError::io("read the free space of", &self.root)(errno.into());
        let found = statvfs(&self.root).map_err(failed)?;
        access(&self.root, AccessFlags::W_OK | AccessFlags::X_OK).map_err(failed)?;
        Ok(Some(found.blocks_available() * found.fragment_size()))
    }

    /// The owner's user id and the mode, as `ls` shows them.
    pub fn permissions(&self) -> Result<(u32, u32), StoreError> {
        let found = std::fs::metadata(&self.root).map_err(StoreError::io("read", &self.root))?;
        Ok((found.uid(), found.mode() & 0o7777))
    }
}

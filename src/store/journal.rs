//! Append-only journals: one JSON value a line, on disk before the append returns.
//!
//! A last line without its newline was torn by a crash: its writer never heard that it was kept, so it does not count,
//! and the next append cuts it off. Any other line that cannot be read is left where it is, left out and reported:
//! neither the ledger nor the journal of TXT records may cost a certificate.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Damage, StoreError, atomic};

/// Bytes read at a time while the last newline is looked for; most lines are shorter.
const BLOCK: usize = 4096;

pub(super) fn append<T: Serialize>(path: &Path, entry: &T) -> Result<(), StoreError> {
    let damaged = |why: serde_json::Error| StoreError::Damaged { path: path.to_owned(), why: why.to_string() };
    let mut line = serde_json::to_vec(entry).map_err(damaged)?;
    line.push(b'\n');
    let fresh = !path.exists();
    let opened = OpenOptions::new().create(true).read(true).write(true).truncate(false).mode(0o600).open(path);
    let appended = opened.and_then(|mut file| {
        let whole = end_of_last_line(&mut file)?;
        file.set_len(whole)?;
        file.seek(SeekFrom::End(0))?;
        let written = file.write_all(&line).and_then(|()| file.sync_all());
        if written.is_err() {
            // A full disk may have taken half a line.
            let _ = file.set_len(whole);
        }
        written
    });
    appended.map_err(StoreError::io("write", path))?;
    if fresh {
        atomic::sync_folder(path.parent().unwrap_or(path))?;
    }
    Ok(())
}

/// Where the next line begins: behind the last newline.
fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = [0; BLOCK];
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let block = &mut block[..usize::try_from(end - start).unwrap_or(BLOCK)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if let Some(at) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Every entry that can be read, and what is to be said of the others.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<(Vec<T>, Vec<Damage>), StoreError> {
    let bytes = atomic::read(path)?.unwrap_or_default();
    let (mut entries, mut damages) = (Vec::new(), Vec::new());
    let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    // What stands behind the last newline: nothing, or a torn line.
    lines.pop();
    for (at, line) in lines.into_iter().enumerate() {
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push(entry),
            Err(_) => damages.push(Damage {
                path: path.to_owned(),
                what: format!("line {} cannot be read and does not count; look at it and remove it", at + 1),
            }),
        }
    }
    Ok((entries, damages))
}

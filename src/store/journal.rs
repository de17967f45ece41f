//! Journals: one JSON value a line, on disk before the append returns, and written anew when they are long.
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
    append_line(path, &line(path, entry)?)
}

/// The same for a journal that nothing is decided by: where it would have more than `most` bytes, the older half of its
/// lines is left out.
pub(super) fn append_within<T: Serialize>(path: &Path, entry: &T, most: u64) -> Result<(), StoreError> {
    let line = line(path, entry)?;
    let size = path.metadata().map_or(0, |found| found.len());
    if size + line.len() as u64 <= most {
        return append_line(path, &line);
    }
    let kept = File::open(path).and_then(|file| newest(file, most / 2)).map_err(StoreError::io("read", path))?;
    atomic::write(path, &[kept, line].concat())
}

/// Writes the journal anew with those entries alone that are kept. One with lines that cannot be read is left to a person.
pub(super) fn shorten<T: Serialize + DeserializeOwned>(
    path: &Path,
    keep: impl Fn(usize, &T) -> bool,
) -> Result<(), StoreError> {
    let (entries, damages) = read::<T>(path)?;
    if !damages.is_empty() {
        return Ok(());
    }
    let count = entries.len();
    let kept = entries.iter().enumerate().filter(|(at, entry)| keep(count - at, entry));
    let lines: Result<Vec<_>, _> = kept.map(|(_, entry)| line(path, entry)).collect();
    atomic::write(path, &lines?.concat())
}

/// The whole lines among the last `most` bytes.
fn newest(mut file: File, most: u64) -> io::Result<Vec<u8>> {
    let end = end_of_last_line(&mut file)?;
    let start = end.saturating_sub(most);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(end - start).read_to_end(&mut bytes)?;
    let first =
        if start == 0 { 0 } else { bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1) };
    Ok(bytes.split_off(first))
}

fn line<T: Serialize>(path: &Path, entry: &T) -> Result<Vec<u8>, StoreError> {
    let damaged = |why: serde_json::Error| StoreError::Damaged { path: path.to_owned(), why: why.to_string() };
    let mut line = serde_json::to_vec(entry).map_err(damaged)?;
    line.push(b'\n');
    Ok(line)
}

fn append_line(path: &Path, line: &[u8]) -> Result<(), StoreError> {
    let fresh = !path.exists();
    let opened = OpenOptions::new().create(true).read(true).write(true).truncate(false).mode(0o600).open(path);
    let appended = opened.and_then(|mut file| {
        let whole = end_of_last_line(&mut file)?;
        file.set_len(whole)?;
        file.seek(SeekFrom::End(0))?;
        let written = file.write_all(line).and_then(|()| file.sync_all());
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

/// Every readable entry, and a report of the others.
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

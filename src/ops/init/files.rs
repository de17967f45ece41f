//! Files that appear whole or not at all, and never in the place of another.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

pub struct NewFile {
    pub path: PathBuf,
    pub mode: u32,
    pub text: Zeroizing<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct WriteError {
    pub path: PathBuf,
    pub what: String,
    pub next: &'static str,
}

/// All of them or none, in this order.
///
/// # Errors
/// One is there already, or cannot be written; those before it are gone again.
pub fn write_new(files: &[NewFile]) -> Result<(), WriteError> {
    for (count, file) in files.iter().enumerate() {
        if let Err(error) = write_one(file) {
            // Made a moment ago, by this process.
            files[..count].iter().for_each(|file| _ = fs::remove_file(&file.path));
            return Err(error);
        }
    }
    Ok(())
}

fn write_one(file: &NewFile) -> Result<(), WriteError> {
    let temporary = beside(&file.path);
    let written = written(&temporary, file.mode, &file.text).and_then(|()| fs::hard_link(&temporary, &file.path));
    let _ = fs::remove_file(&temporary);
    // By now it is our own file.
    let synced = || sync_folder(&file.path).inspect_err(|_| _ = fs::remove_file(&file.path));
    written.and_then(|()| synced()).map_err(|error| of(&file.path, &error))
}

/// Another text in the place of the one that was read, with owner and mode as they are.
///
/// # Errors
/// It has changed since, or cannot be written.
pub fn edit(path: &Path, before: &str, after: &str) -> Result<(), WriteError> {
    let failed = |error: io::Error| of(path, &error);
    // Where a link leads to, so that it stays one.
    let whole = fs::canonicalize(path).map_err(failed)?;
    let found = fs::metadata(&whole).map_err(failed)?;
    if fs::read_to_string(&whole).map_err(failed)? != before {
        let what = "was changed by somebody else meanwhile; nothing is written".to_owned();
        return Err(WriteError { path: path.to_owned(), what, next: "run certd init again" });
    }
    let temporary = beside(&whole);
    let renamed = written(&temporary, found.mode() & 0o7777, after).and_then(|()| {
        fchown(&File::open(&temporary)?, Some(found.uid()), Some(found.gid()))?;
        fs::rename(&temporary, &whole)
    });
    if renamed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    renamed.and_then(|()| sync_folder(&whole)).map_err(failed)
}

/// A key for certd alone, by OpenSSH's own program, and its public half beside it. Returns the line of that.
///
/// # Errors
/// One of the two files is there, or there is no ssh-keygen.
pub fn generate_key(path: &Path) -> Result<String, WriteError> {
    let failed = |what: String, next: &'static str| WriteError { path: path.to_owned(), what, next };
    let public = path.with_added_extension("pub");
    if let Some(there) = [path, &*public].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(of(there, &ErrorKind::AlreadyExists.into()));
    }
    let temporary = beside(path);
    let _ = fs::remove_file(&temporary);
    let child = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "certd", "-f"])
        .arg(&temporary)
        .stdin(Stdio::null())
        .output();
    let next = "install OpenSSH's client programs, or put a private key there yourself";
    let ran = child.map_err(|error| failed(format!("ssh-keygen does not start: {error}"), next))?;
    let temporary_public = temporary.with_added_extension("pub");
    let placed = if ran.status.success() {
        let link = |from: &Path, to: &Path| fs::hard_link(from, to).map_err(|error| of(to, &error));
        link(&temporary, path)
            .and_then(|()| link(&temporary_public, &public).inspect_err(|_| _ = fs::remove_file(path)))
    } else {
        let words = crate::text::escape(&String::from_utf8_lossy(&ran.stderr), 200);
        let next = if words.contains("No space") { "make room on that disk" } else { next };
        Err(failed(format!("ssh-keygen failed: {words}"), next))
    };
    let line = fs::read_to_string(&temporary_public).unwrap_or_default();
    for temporary in [&temporary, &temporary_public] {
        let _ = fs::remove_file(temporary);
    }
    placed.and_then(|()| sync_folder(path).map_err(|error| of(path, &error))).map(|()| line.trim().to_owned())
}

fn written(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    // Left by a process with our number that was killed.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn of(path: &Path, error: &io::Error) -> WriteError {
    let next = match error.kind() {
        ErrorKind::AlreadyExists => "certd init overwrites nothing: use it as it is, or move it away",
        ErrorKind::NotFound => "make its folder first (systemd/certd.tmpfiles.conf makes /etc/certd)",
        ErrorKind::PermissionDenied => crate::store::started::SUDO,
        _ => "see why the system refuses it",
    };
    WriteError { path: path.to_owned(), what: error.to_string(), next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: PathBuf, mode: u32) -> NewFile {
        NewFile { path, mode, text: Zeroizing::new("text\n".to_owned()) }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn all_files_appear_or_none_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write_new(&[file(path("a"), 0o600), file(path("b"), 0o644)]).unwrap();
        assert_eq!(fs::metadata(path("a")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path("b")).unwrap().mode() & 0o777, 0o644);
        fs::write(path("b"), "mine").unwrap();
        let error = write_new(&[file(path("c"), 0o600), file(path("b"), 0o644)]).unwrap_err();
        assert_eq!((error.path, fs::read_to_string(path("b")).unwrap()), (path("b"), "mine".to_owned()));
        assert_eq!(names(folder.path()), ["a", "b"]);
    }

    #[test]
    fn an_edit_keeps_mode_and_link_and_notices_who_was_faster() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write_new(&[file(path("real"), 0o640)]).unwrap();
        std::os::unix::fs::symlink("real", path("link")).unwrap();
        edit(&path("link"), "text\n", "more\n").unwrap();
        assert!(path("link").is_symlink());
        assert_eq!(fs::read_to_string(path("real")).unwrap(), "more\n");
        assert_eq!(fs::metadata(path("real")).unwrap().mode() & 0o777, 0o640);
        assert!(edit(&path("real"), "text\n", "lost\n").unwrap_err().what.contains("changed by somebody else"));
        assert_eq!(names(folder.path()), ["link", "real"]);
    }

    #[test]
    fn a_key_is_generated_with_its_public_half_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id_ed25519");
        let line = generate_key(&path).unwrap();
        assert!(line.starts_with("ssh-ed25519 AAAA") && line.ends_with(" certd"), "{line}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["id_ed25519", "id_ed25519.pub"]);
        fs::remove_file(&path).unwrap();
        assert!(generate_key(&path).is_err(), "its public half is there");
        assert_eq!(names(folder.path()), ["id_ed25519.pub"]);
    }
}

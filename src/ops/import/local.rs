//! A home on this machine. It may be another user's, and certd may be root: what leads out of it is not followed, and
//! nothing but the files that an import wants is opened.

use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use crate::context::failure::failure;
use crate::import::{self, Client, Files, MOST_BYTES};
use crate::model::{Advice, Code, Finding};

/// Entries of all folders that are looked at; a home has a dozen for each certificate.
const MOST_ENTRIES: usize = 50_000;
/// Folders below each other: `ca/HOST/PATH/…/account.key`.
const DEEPEST: usize = 8;

/// # Errors
/// It is no folder, or no home of the client.
pub fn read(client: Client, path: &Path) -> Result<Files, Finding> {
    let root = fs::canonicalize(path).map_err(|error| {
        let next = "give the folder of the other client";
        failure(Code::ImportSource, path.display(), format!("{}: {error}", path.display()), next, Advice::Person)
    })?;
    let mut files = Files::new(&root.display().to_string(), None);
    let mut left = MOST_ENTRIES;
    walk(client, &root, &root, &mut files, &mut left);
    if let Some(other) = import::certificates_folder(client, &files)
        && let Ok(other) = fs::canonicalize(other)
        && other != root
    {
        walk(client, &other, &other, &mut files, &mut left);
    }
    for path in import::outside(client, &files) {
        match content(Path::new(&path)) {
            Ok(bytes) => files.add_outside(&path, bytes),
            Err(why) => files.leave_out(&format!("({path})"), why),
        }
    }
    if left == 0 {
        files.leave_out("", "has too many files: not all of them were looked at");
    }
    if import::is_home(client, &files) { Ok(files) } else { Err(super::no_home(client, path)) }
}

fn walk(client: Client, root: &Path, folder: &Path, files: &mut Files, left: &mut usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().take(*left).map(|entry| entry.path()).collect();
    *left -= paths.len();
    paths.sort();
    for path in paths {
        let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) else { continue };
        let Ok(found) = path.symlink_metadata() else { continue };
        if found.is_dir() {
            if name.split('/').count() < DEEPEST {
                walk(client, root, &path, files, left);
            }
        } else if import::wants(client, name) {
            // certbot's links lead from `live` into `archive`.
            let real = fs::canonicalize(&path).ok().filter(|real| real.starts_with(root));
            match real.ok_or("is a link that leads out of the folder").and_then(|real| content(&real)) {
                Ok(bytes) => files.add(name, bytes),
                Err(why) => files.leave_out(name, why),
            }
        }
    }
}

/// Without waiting: somebody may have put a pipe there.
fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|_| "cannot be opened")?;
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err("is no regular file");
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES + 1));
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|_| "cannot be read")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn left_out(files: &Files) -> Vec<String> {
        files.left_out.iter().map(|left| format!("{} {}", left.what.rsplit('/').next().unwrap(), left.why)).collect()
    }

    #[test]
    fn nothing_outside_is_read_no_pipe_is_waited_for_and_long_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir_all(home.join("a.example_ecc")).unwrap();
        fs::create_dir_all(home.join("ca/host/dir")).unwrap();
        fs::write(folder.path().join("secret"), "Le_Domain='secret.example'").unwrap();
        fs::write(home.join("account.conf"), "A='b'\n").unwrap();
        symlink(folder.path().join("secret"), home.join("a.example_ecc/a.example.conf")).unwrap();
        symlink(folder.path(), home.join("b.example")).unwrap();
        nix::unistd::mkfifo(&home.join("a.example_ecc/a.example.key"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        fs::write(home.join("a.example_ecc/fullchain.cer"), vec![b'x'; MOST_BYTES + 1]).unwrap();
        fs::write(home.join("ca/host/dir/account.key"), b"\xff\xfe").unwrap();
        fs::write(home.join("other"), "not read").unwrap();
        let files = read(Client::AcmeSh, &home).unwrap();
        assert_eq!(
            left_out(&files),
            [
                "a.example.conf is a link that leads out of the folder",
                "a.example.key is no regular file",
                "fullchain.cer is longer than 65536 bytes",
                "account.key is not text (UTF-8)",
            ]
        );
        let found = import::read(Client::AcmeSh, &files, &[]);
        assert!(found.certificates.is_empty() && found.accounts.is_empty());
    }

    #[test]
    fn a_folder_that_is_no_home_is_refused_with_where_to_look() {
        let folder = tempfile::tempdir().unwrap();
        for client in [Client::AcmeSh, Client::Certbot, Client::Lego] {
            let refused = read(client, folder.path()).err().unwrap();
            assert_eq!(refused.code, Code::ImportSource);
            assert!(refused.next.starts_with("give the folder that holds"), "{}", refused.next);
        }
        assert!(read(Client::Lego, &folder.path().join("missing")).is_err());
    }
}

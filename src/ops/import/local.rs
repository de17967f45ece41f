//! A home on this machine. It may be another user's, and certd may be root: what leads out of it is not followed, and
//! nothing but the files that an import wants is opened, each of them its owner's.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
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
    let owner = fs::metadata(&root).map_or(u32::MAX, |found| found.uid());
    let mut files = Files::new(&root.display().to_string(), None);
    files.unprivileged = owner != 0 && owner != geteuid().as_raw();
    let mut walk = Walk { client, owner, prefix: String::new(), left: MOST_ENTRIES };
    walk.folder(&root, &root, &mut files);
    if let Some(other) = import::certificates_folder(client, &files)
        && let Ok(other) = fs::canonicalize(other)
        && other != root
    {
        // Only what its owner has: root would open another user's.
        if fs::metadata(&other).is_ok_and(|found| found.uid() == owner) {
            walk.prefix = import::outside_name(&other.display().to_string());
            walk.folder(&other, &other, &mut files);
        } else {
            files.leave_out("account.conf", format!("CERT_HOME is another user's folder: {}", other.display()));
        }
    }
    let left = walk.left;
    for path in import::outside(client, &files) {
        match content(Path::new(&path), owner) {
            Ok(bytes) => files.add_outside(&path, bytes),
            Err(why) => files.leave_out(&import::outside_name(&path), why),
        }
    }
    if left == 0 {
        files.leave_out("", "has too many files: not all of them were looked at");
    }
    if import::is_home(client, &files) { Ok(files) } else { Err(super::no_home(client, path)) }
}

struct Walk {
    client: Client,
    /// Of the home.
    owner: u32,
    /// Before the names of files outside of the home.
    prefix: String,
    left: usize,
}

impl Walk {
    fn folder(&mut self, root: &Path, folder: &Path, files: &mut Files) {
        let Ok(entries) = fs::read_dir(folder) else {
            return files.leave_out(&self.named(&folder.to_string_lossy()), "is a folder that cannot be read");
        };
        let mut paths: Vec<PathBuf> = entries.flatten().take(self.left).map(|entry| entry.path()).collect();
        self.left -= paths.len();
        paths.sort();
        for path in paths {
            let Ok(within) = path.strip_prefix(root) else { continue };
            let Ok(found) = path.symlink_metadata() else { continue };
            let Some(name) = within.to_str() else {
                if found.is_dir() || import::wants(self.client, &within.to_string_lossy()) {
                    files.leave_out(&self.named(&within.to_string_lossy()), "has a name that is not text (UTF-8)");
                }
                continue;
            };
            if found.is_dir() {
                if name.split('/').count() < DEEPEST {
                    self.folder(root, &path, files);
                }
            } else if self.wants(name) {
                // certbot's links lead from `live` into `archive`.
                let real = fs::canonicalize(&path).ok().filter(|real| real.starts_with(root));
                let read = real.ok_or("is a link that leads out of the folder");
                match read.and_then(|real| content(&real, self.owner)) {
                    Ok(bytes) => files.add(&self.named(name), bytes),
                    Err(why) => files.leave_out(&self.named(name), why),
                }
            }
        }
    }

    /// Of a folder outside of the home, certificates alone.
    fn wants(&self, name: &str) -> bool {
        let certificate = name.split('/').count() == 2 && !name.starts_with("ca/");
        (self.prefix.is_empty() || certificate) && import::wants(self.client, name)
    }

    fn named(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }
}

/// Asks what it is before it is opened: opening alone can have an effect, as of a device. As root, it has to be the home's
/// owner's.
fn content(path: &Path, owner: u32) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let flags = (OFlag::O_PATH | OFlag::O_NOFOLLOW).bits();
    let held = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|_| "cannot be opened")?;
    let found = held.metadata().map_err(|_| "cannot be looked at")?;
    if !found.is_file() {
        return Err("is no regular file");
    }
    if !is_its(found.uid(), owner, geteuid().is_root()) {
        return Err("belongs to another user than the folder does");
    }
    let file = File::open(format!("/proc/self/fd/{}", held.as_raw_fd())).map_err(|_| "cannot be opened")?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES + 1));
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|_| "cannot be read")?;
    Ok(bytes)
}

/// Whether a file is to be read for a home. Who is not root opens nothing that is not open to them anyway.
fn is_its(file: u32, home: u32, root: bool) -> bool {
    !root || file == home
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
    fn root_reads_the_homes_owners_files_alone_and_follows_cert_home_to_them() {
        assert!(!is_its(1000, 0, true) && !is_its(0, 1000, true) && is_its(1000, 1000, true) && is_its(0, 1, false));
        let folder = tempfile::tempdir().unwrap();
        let (home, other) = (folder.path().join("home"), folder.path().join("other"));
        for folder in [home.join("a.example_ecc"), other.join("a.example_ecc"), other.join("ca/host")] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(home.join("account.conf"), format!("CERT_HOME='{}'\n", other.display())).unwrap();
        fs::write(home.join("a.example_ecc/a.example.conf"), "Le_Domain='here.example'\n").unwrap();
        fs::write(other.join("a.example_ecc/a.example.conf"), "Le_Domain='there.example'\n").unwrap();
        fs::write(other.join("account.conf"), "SAVED_CF_Token='there'\n").unwrap();
        fs::write(other.join("ca/host/account.key"), "x").unwrap();
        let files = read(Client::AcmeSh, &home).unwrap();
        let found = import::read(Client::AcmeSh, &files, &[]);
        let mains: Vec<String> = found.certificates.iter().map(|one| one.main.to_string()).collect();
        assert_eq!(mains, ["there.example", "here.example"]);
        assert!(found.certificates[0].file.starts_with(other.to_str().unwrap()), "{}", found.certificates[0].file);
        assert!(found.tokens.is_empty() && found.accounts.is_empty());
        if !geteuid().is_root() {
            return;
        }
        std::os::unix::fs::chown(&other, Some(65534), None).unwrap();
        std::os::unix::fs::chown(home.join("a.example_ecc/a.example.conf"), Some(65534), None).unwrap();
        let files = read(Client::AcmeSh, &home).unwrap();
        let left_out: Vec<&str> = files.left_out.iter().map(|left| left.why.as_str()).collect();
        assert_eq!(left_out[0], "belongs to another user than the folder does");
        assert!(left_out[1].starts_with("CERT_HOME is another user's folder"), "{left_out:?}");
        assert!(import::read(Client::AcmeSh, &files, &[]).certificates.is_empty());
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

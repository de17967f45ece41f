//! Adds keys to a known_hosts file. The file belongs to the operator: existing bytes, owner, mode and symbolic links to
//! it are preserved, and a key counts as written only when it can be read back.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::HostKey;
use crate::ssh;
use crate::store::started::Started;

use super::Fault;

/// Bytes: some hundred thousand hosts.
const LARGEST: u64 = 64 * 1024 * 1024;

pub(super) struct KnownHosts {
    path: PathBuf,
    /// Opened when first needed.
    file: Option<File>,
}

impl KnownHosts {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file with the current privileges, and creates it if it is missing.
    pub(super) fn open(&mut self) -> Result<(), Fault> {
        let open = || {
            let new = !self.path.exists();
            let file = OpenOptions::new().create(true).read(true).append(true).open(&self.path)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("not an ordinary file"));
            }
            if new {
                // Overrides the umask: the account of certd's timer reads the file too, and host keys are not secret.
                file.set_permissions(Permissions::from_mode(0o644))?;
            }
            Ok(file)
        };
        self.file = Some(open().map_err(|error| self.failed(&error))?);
        Ok(())
    }

    /// Appends a line for each key that is not in the file yet, and returns how many.
    ///
    /// # Errors
    /// Nothing was written, or the file was truncated to its old length.
    pub(super) fn add(
        &mut self,
        host: &str,
        port: u16,
        line: impl Fn(&HostKey) -> String,
        keys: &[HostKey],
    ) -> Result<usize, Fault> {
        if self.file.is_none() {
            self.open()?;
        }
        let Some(file) = &self.file else { return Ok(0) };
        let failed = |error: io::Error| self.failed(&error);
        // Another `certd trust --write` waits here; closing the file releases the lock.
        file.lock().map_err(failed)?;
        let before = text(file).map_err(failed)?;
        let known = ssh::known_hosts([before.as_str()], host, port);
        if let Some(key) = keys.iter().find(|key| known.revoked.contains(key)) {
            let next = "next: the key counts as stolen; give the host a new one";
            let shown = ssh::fingerprint(key);
            return Err(Fault::usage(format!("{}: {shown} is marked as revoked there\n  {next}", self.path.display())));
        }
        let new: Vec<&HostKey> = keys.iter().filter(|key| !known.keys.contains(key)).collect();
        if new.is_empty() {
            return file.unlock().map(|()| 0).map_err(failed);
        }
        // A last line without a newline would merge with our first, and neither would pin a key.
        let end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        let lines: String = new.iter().map(|key| line(key) + "\n").collect();
        let lines = format!("{end}{lines}");
        let written = (&*file).write_all(lines.as_bytes()).and_then(|()| file.sync_all());
        let read_back = written.and_then(|()| {
            let after = text(file)?;
            let keys = ssh::known_hosts([after.as_str()], host, port).keys;
            let is_whole = after.strip_prefix(before.as_str()) == Some(lines.as_str());
            if is_whole && new.iter().all(|key| keys.contains(key)) {
                return Ok(());
            }
            Err(io::Error::other("the keys that were written are not there when it is read back"))
        });
        if let Err(error) = read_back {
            // A partial line pins nothing and would swallow the next one.
            let _ = file.set_len(before.len() as u64);
            return Err(failed(error));
        }
        file.unlock().map_err(failed)?;
        Ok(new.len())
    }

    fn failed(&self, error: &io::Error) -> Fault {
        let next = Started::now().next(error, "see ssh.known_hosts in the configuration".to_owned());
        Fault::usage(format!("{}: {error}\n  next: {next}", self.path.display()))
    }
}

/// The whole text, from the beginning.
fn text(mut file: &File) -> io::Result<String> {
    file.rewind()?;
    let mut text = String::new();
    let read = file.take(LARGEST + 1).read_to_string(&mut text)? as u64;
    if read > LARGEST { Err(io::Error::other(format!("more than {LARGEST} bytes"))) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const OLD: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJhc2U2NA==";

    fn key(number: u8) -> HostKey {
        HostKey { algorithm: "ssh-ed25519".to_owned(), blob: vec![number; 40] }
    }

    fn line(host: &str, key: &HostKey) -> String {
        format!("{host} {} {}", key.algorithm, STANDARD.encode(&key.blob))
    }

    fn add(path: &Path, host: &str, keys: &[HostKey]) -> Result<usize, String> {
        let added = KnownHosts::new(path).add(host, 22, |key| line(host, key), keys);
        added.map_err(|fault| fault.texts.concat())
    }

    fn pins(path: &Path, host: &str) -> usize {
        ssh::known_hosts([fs::read_to_string(path).unwrap().as_str()], host, 22).keys.len()
    }

    #[test]
    fn what_stood_there_pins_as_before_however_its_last_line_ends() {
        for old in [
            "",
            "\n",
            &format!("a {OLD}"),
            &format!("a {OLD}\n"),
            &format!("a {OLD}\r\n"),
            &format!("a {OLD}\r"),
            "# note",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("known_hosts");
            fs::write(&path, old).unwrap();
            assert_eq!(add(&path, "b", &[key(1), key(2)]), Ok(2), "{old:?}");
            assert_eq!(add(&path, "b", &[key(1), key(2), key(3)]), Ok(1), "{old:?}");
            assert_eq!(pins(&path, "a"), usize::from(old.contains("ssh-ed25519")), "{old:?}");
            assert_eq!(pins(&path, "b"), 3, "{old:?}");
            assert!(fs::read_to_string(&path).unwrap().starts_with(old));
        }
    }

    #[test]
    fn a_link_stays_a_link_and_owner_and_mode_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (path, real) = (folder.path().join("known_hosts"), folder.path().join("real"));
        fs::write(&real, "").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        symlink("real", &path).unwrap();
        let before = fs::metadata(&real).unwrap();
        assert_eq!(add(&path, "a", &[key(1)]), Ok(1));
        let after = fs::metadata(&real).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!((before.ino(), before.mode(), before.uid()), (after.ino(), after.mode(), after.uid()));
        assert_eq!(pins(&real, "a"), 1);
    }

    #[test]
    fn a_new_file_is_for_everybody_to_read_and_a_revoked_key_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        assert_eq!(add(&path, "a", &[key(1)]), Ok(1));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        let revoked = format!("@revoked * {} {}\n", key(2).algorithm, STANDARD.encode(key(2).blob));
        fs::write(&path, &revoked).unwrap();
        let refused = add(&path, "a", &[key(1), key(2)]).unwrap_err();
        assert!(refused.contains("marked as revoked"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), revoked);
    }

    #[test]
    fn what_does_not_pin_when_it_is_read_back_is_cut_off_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        fs::write(&path, "# as it was").unwrap();
        let refused = KnownHosts::new(&path).add("a", 22, |key| line("other", key), &[key(1)]);
        assert!(refused.is_err_and(|fault| fault.texts.concat().contains("not there when it is read back")));
        assert_eq!(fs::read_to_string(&path).unwrap(), "# as it was");
        assert!(add(folder.path(), "a", &[key(1)]).is_err(), "a folder");
        let full = Path::new("/dev/full");
        assert!(add(full, "a", &[key(1)]).unwrap_err().contains("not an ordinary file"));
    }
}

//! Who could have written a file that certd obeys. Somebody who writes the configuration, the known host keys, a trusted root or
//! the program that sets DNS records has a say over every node: such a file, and every folder above it, is for root and for
//! certd's own user alone to write.
//!
//! An error means that nothing in the file is believed.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::geteuid;

use crate::model::Code;
use crate::text::as_word;

/// As the kernel: more links in one path are a loop (ELOOP, path_resolution(7)).
const MOST_LINKS: usize = 40;
const STICKY: u32 = 0o1000;
const OF_OTHERS: u32 = 0o022;

/// The users who may write: root, and us.
#[derive(Clone, Debug)]
pub struct Writers(Vec<u32>);

impl Writers {
    /// Root alone.
    pub fn root() -> Self {
        Self(vec![0])
    }

    /// For the configuration itself: it names the state directory, so that the owner of that says nothing yet.
    pub fn of_configuration() -> Self {
        Self(vec![0, geteuid().as_raw()])
    }

    /// For what the configuration names: the owner of the state directory, too, whom certd becomes where it is started as
    /// root.
    pub fn of_state(state_dir: &Path) -> Self {
        let Self(mut users) = Self::of_configuration();
        users.extend(fs::metadata(state_dir).ok().map(|found| found.uid()));
        Self(users)
    }

    /// The file, every folder that its path leads through, and the links on the way. What is not there, or cannot be looked
    /// at, is for its reader to say.
    ///
    /// # Errors
    /// Somebody else could have written it, or could put another in its place.
    pub fn check(&self, path: &Path) -> Result<(), GuardError> {
        let Ok(whole) = std::path::absolute(path) else { return Ok(()) };
        let mut todo: Vec<OsString> = parts(&whole);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        let Ok(root) = fs::symlink_metadata(&at) else { return Ok(()) };
        self.of_one(path, &at, &root)?;
        while let Some(part) = todo.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&part);
            let Ok(found) = fs::symlink_metadata(&next) else { return Ok(()) };
            self.of_one(path, &next, &found)?;
            if !found.is_symlink() {
                at = next;
                continue;
            }
            let Ok(target) = fs::read_link(&next) else { return Ok(()) };
            links += 1;
            if links > MOST_LINKS {
                return Ok(());
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            todo.extend(parts(&target));
        }
        Ok(())
    }

    fn of_one(&self, file: &Path, at: &Path, found: &Metadata) -> Result<(), GuardError> {
        let (file, at, mode) = (file.to_owned(), at.to_owned(), found.mode() & 0o7777);
        if !self.0.contains(&found.uid()) {
            return Err(GuardError::Owner { file, at, owner: found.uid() });
        }
        // A link has no mode. In a sticky folder everybody may add, and nobody may replace what is another's.
        let shared = found.is_dir() && mode & STICKY != 0;
        if found.is_symlink() || shared || mode & OF_OTHERS == 0 || is_read_only(&at) {
            return Ok(());
        }
        Err(if found.is_dir() { GuardError::Folder { file, at, mode } } else { GuardError::File { at, mode } })
    }
}

/// The last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    parts.rev().collect()
}

/// Nobody writes there, whatever the mode says: Kubernetes mounts a ConfigMap as 0777 and read-only.
fn is_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY))
}

#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("{}: others than its owner can write it (mode {mode:04o}), and that decides over every node", at.display())]
    File { at: PathBuf, mode: u32 },
    #[error("{}: others can put another file in its place: they can write {} (mode {mode:04o})", file.display(), at.display())]
    Folder { file: PathBuf, at: PathBuf, mode: u32 },
    #[error("{}: user {owner}, who is neither root nor certd's own, can change it{}", file.display(), by(file, at))]
    Owner { file: PathBuf, at: PathBuf, owner: u32 },
}

fn by(file: &Path, at: &Path) -> String {
    if file == at { String::new() } else { format!(" as owner of {}", at.display()) }
}

fn shell_word(path: &Path) -> String {
    as_word(&path.display().to_string())
}

impl GuardError {
    pub fn path(&self) -> &Path {
        match self {
            Self::File { at: path, .. } | Self::Folder { file: path, .. } | Self::Owner { file: path, .. } => path,
        }
    }

    /// Stable and greppable.
    pub fn code(&self) -> Code {
        Code::FileWritable
    }

    /// What to do next.
    pub fn next(&self) -> String {
        match self {
            Self::File { at, .. } => format!("chmod go-w {}, after a look at what it says now", shell_word(at)),
            // Whose the folder is, and what else is in it, is not ours to say.
            Self::Folder { file, at, .. } => format!(
                "move {} into a folder that root alone can write, such as /etc/certd; or, if {} is certd's alone: chmod go-w {}",
                file.display(),
                at.display(),
                shell_word(at)
            ),
            Self::Owner { file, at, .. } if file == at => {
                format!("chown -h root {}, after a look at what it says now", shell_word(at))
            }
            Self::Owner { file, .. } => {
                format!("move {} into a folder of root's, such as /etc/certd", file.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refused(path: &Path) -> String {
        let error = Writers::of_configuration().check(path).unwrap_err();
        format!("{error}; {}", error.next())
    }

    #[test]
    fn a_file_that_others_can_write_is_refused_with_its_mode_and_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("certd.toml");
        fs::write(&file, "").unwrap();
        for mode in [0o666, 0o664, 0o622, 0o602] {
            chmod(&file, mode);
            let text = refused(&file);
            assert!(text.contains(&format!("mode {mode:04o}")), "{text}");
            assert!(text.contains(&format!("chmod go-w {}", file.display())), "{text}");
        }
        for mode in [0o644, 0o600, 0o444, 0o755] {
            chmod(&file, mode);
            Writers::of_configuration().check(&file).unwrap();
        }
    }

    #[test]
    fn a_folder_anywhere_above_it_or_behind_a_link_counts_and_a_sticky_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (above, other) = (folder.path().join("above"), folder.path().join("other"));
        fs::create_dir_all(above.join("in")).unwrap();
        fs::create_dir(&other).unwrap();
        let file = above.join("in/certd.toml");
        fs::write(&file, "").unwrap();
        let link = other.join("link.toml");
        symlink("../above/in/certd.toml", &link).unwrap();
        chmod(&above, 0o777);
        for path in [&file, &link] {
            let text = refused(path);
            assert!(text.starts_with(&format!("{}: others can put another file", path.display())), "{text}");
            assert!(text.contains(&format!("{} (mode 0777)", above.display())), "{text}");
        }
        chmod(&above, 0o1777);
        Writers::of_configuration().check(&link).unwrap();
        chmod(&other, 0o775);
        assert!(refused(&link).contains("other (mode 0775)"));
        // A file that is not there yet is somebody's to make.
        assert!(refused(&other.join("none")).contains("other (mode 0775)"));
    }

    #[test]
    fn a_file_of_another_user_is_refused_unless_he_owns_the_state_directory() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (file, state) = (folder.path().join("known hosts"), folder.path().join("state"));
        fs::write(&file, "").unwrap();
        fs::create_dir(&state).unwrap();
        chown(&file, Some(54321), None).unwrap();
        let text = refused(&file);
        assert!(text.contains("user 54321") && text.contains(&format!("chown -h root '{}'", file.display())), "{text}");
        assert!(Writers::of_state(&state).check(&file).is_err());
        chown(&state, Some(54321), None).unwrap();
        Writers::of_state(&state).check(&file).unwrap();
        // In a folder where everybody may write, another's link could lead to anything that is well guarded.
        let shared = folder.path().join("shared");
        fs::create_dir(&shared).unwrap();
        chmod(&shared, 0o1777);
        let link = shared.join("link");
        symlink("/etc/passwd", &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(54321), None).unwrap();
        assert!(refused(&link).contains("user 54321"));
        chown(folder.path(), Some(54321), None).unwrap();
        assert!(refused(&state).contains("as owner of"));
    }

    #[test]
    fn a_loop_of_links_and_a_missing_file_are_left_to_the_reader() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        for name in ["a", "a/x", "missing", "missing/../x"] {
            Writers::of_configuration().check(&folder.path().join(name)).unwrap();
        }
    }
}

//! Whose process this is. Started as root, certd becomes the owner of its state directory, so that `sudo certd renew`
//! and the unit never trip over each other's files; and no secret leaves memory as a core dump.
//!
//! An error means that nothing may run: a process that could not give up root, or could take it back, is not the one that
//! was asked for. Call both before any thread is started.

use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, User, geteuid, getresgid, getresuid, initgroups, setgroups, setresgid, setresuid, setuid};

use crate::model::Code;

/// No core dumps, and no other process of the same user may look into this one's memory (prctl(2), PR_SET_DUMPABLE).
/// The first thing that `main` does.
///
/// # Errors
/// The kernel refuses; it has no reason to.
pub fn harden() -> Result<(), OwnerError> {
    // Noted while it can be seen.
    super::started::was_root();
    // A unit may forbid the call and have set the limit itself (`LimitCORE=0`).
    if getrlimit(Resource::RLIMIT_CORE) != Ok((0, 0)) {
        setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|source| OwnerError::Dumpable { source })?;
    }
    prctl::set_dumpable(false).map_err(|source| OwnerError::Dumpable { source })
}

/// Whom we became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// Not started as root; or the directory is root's own, or does not exist yet.
    Nobody,
    /// The owner of the state directory, for good.
    Owner(Uid),
}

/// Gives up root for the owner of `state_dir`. Open the configuration and secrets before.
///
/// # Errors
/// The directory cannot be looked at, or root could not be given up.
pub fn become_owner(state_dir: &Path) -> Result<Became, OwnerError> {
    if !geteuid().is_root() {
        return Ok(Became::Nobody);
    }
    let found = match fs::metadata(state_dir) {
        Ok(found) => found,
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(Became::Nobody),
        Err(source) => return Err(OwnerError::StateDir { path: state_dir.to_owned(), source }),
    };
    let owner = Uid::from_raw(found.uid());
    if owner.is_root() {
        return Ok(Became::Nobody);
    }
    let group = Gid::from_raw(found.gid());
    give_up_root(owner, group).map_err(|source| OwnerError::StaysRoot { path: state_dir.to_owned(), owner, source })?;
    // prctl(2): when the effective user changes, the flag becomes what /proc/sys/fs/suid_dumpable says.
    prctl::set_dumpable(false).map_err(|source| OwnerError::Dumpable { source })?;
    Ok(Became::Owner(owner))
}

/// Groups first, user last: each step needs what the next one gives up.
fn give_up_root(owner: Uid, group_of_directory: Gid) -> Result<(), Errno> {
    // An owner without an entry (a container's, DynamicUser=) has the directory's group and no other.
    let group = match User::from_uid(owner)? {
        Some(user) => {
            let name = CString::new(user.name).map_err(|_| Errno::EINVAL)?;
            initgroups(&name, user.gid)?;
            user.gid
        }
        None => {
            setgroups(&[group_of_directory])?;
            group_of_directory
        }
    };
    setresgid(group, group, group)?;
    setresuid(owner, owner, owner)?;
    let (users, groups) = (getresuid()?, getresgid()?);
    let all_given_up = [users.real, users.effective, users.saved].iter().all(|user| *user == owner)
        && [groups.real, groups.effective, groups.saved].iter().all(|gid| *gid == group);
    // The proof is that it fails.
    if !all_given_up || setuid(Uid::from_raw(0)).is_ok() {
        return Err(Errno::EPERM);
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    #[error("core dumps could not be switched off: {source}")]
    Dumpable { source: Errno },
    #[error("{}: {source}", path.display())]
    StateDir { path: PathBuf, source: std::io::Error },
    #[error("{}: could not become its owner (user {owner}): {source}", path.display())]
    StaysRoot { path: PathBuf, owner: Uid, source: Errno },
}

impl OwnerError {
    /// Stable and greppable.
    pub fn code(&self) -> Code {
        match self {
            Self::Dumpable { .. } => Code::CoreDumps,
            Self::StateDir { .. } => Code::StateDirectory,
            Self::StaysRoot { .. } => Code::StaysRoot,
        }
    }

    /// What to do next.
    pub fn next(&self) -> String {
        match self {
            Self::Dumpable { .. } => {
                "look for a security module or container that forbids prctl and setrlimit".to_owned()
            }
            Self::StateDir { path, .. } => format!("look at {} with `namei -l`", path.display()),
            Self::StaysRoot { owner, .. } => {
                format!("start certd as user {owner} (`setpriv --reuid {owner} --init-groups certd …`)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;
    use std::path::Path;
    use std::process::Command;
    use std::{env, fs};

    use nix::sys::prctl;
    use nix::unistd::geteuid;

    use super::{Became, Resource, become_owner, getrlimit, harden};

    /// Where the process that changes its user finds its directory.
    const DIRECTORY: &str = "CERTD_TEST_DIRECTORY";

    fn status(key: &str) -> String {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The user is changed in a child process, which is this same test with the directory in a variable.
    #[test]
    fn root_becomes_the_owner_of_the_state_directory_for_good_and_leaves_no_core_dump() {
        if let Some(directory) = env::var_os(DIRECTORY) {
            harden().unwrap();
            let became = become_owner(Path::new(&directory)).unwrap();
            assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
            assert!(!prctl::get_dumpable().unwrap());
            println!("{became:?}; {}; {}; {}", status("Uid:"), status("Gid:"), status("Groups:"));
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        // A number that no user has, so that the directory's group counts.
        let owner = if geteuid().is_root() { 54321 } else { geteuid().as_raw() };
        let expected = if geteuid().is_root() {
            chown(folder.path(), Some(owner), Some(54322)).unwrap();
            "Owner(Uid(54321)); Uid: 54321 54321 54321 54321; Gid: 54322 54322 54322 54322; Groups: 54322"
        } else {
            &format!("Nobody; Uid: {owner} {owner} {owner} {owner};")
        };
        let test =
            "store::owner::tests::root_becomes_the_owner_of_the_state_directory_for_good_and_leaves_no_core_dump";
        let mut child = Command::new(env::current_exe().unwrap());
        let output = child.args(["--exact", test, "--nocapture"]).env(DIRECTORY, folder.path()).output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && stdout.contains(expected),
            "{stdout}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[test]
    fn a_directory_that_is_not_there_or_is_ours_changes_nobody() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(become_owner(&folder.path().join("missing")).unwrap(), Became::Nobody);
        assert_eq!(become_owner(folder.path()).unwrap(), Became::Nobody);
    }
}

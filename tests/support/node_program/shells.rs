//! The shells under which the node program runs in tests, and the utilities that it finds there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

pub(crate) const SHELLS: Shells = Shells;
/// What the program sets.
const PATH: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin\n";

/// The shells of nodes: dash and bash with this machine's utilities, and busybox's with its own. A test that goes through
/// them takes one, which its name decides, so that each has a third of the tests; all of them with `ALL_SHELLS` in the
/// environment, as in `make soak`. `CERTD_USERLAND` names a folder instead, with other utilities and a shell, `sh`: see
/// tests/userlands.sh.
pub(crate) struct Shells;

static LIST: LazyLock<Vec<&[&str]>> = LazyLock::new(|| match std::env::var("CERTD_USERLAND") {
    Ok(folder) => vec![&*Vec::leak(vec![&*String::leak(folder + "/sh")])],
    Err(_) => vec![&["dash"], &["busybox", "ash"], &["bash"]],
});

impl IntoIterator for Shells {
    type Item = &'static [&'static str];
    type IntoIter = std::iter::Copied<std::slice::Iter<'static, Self::Item>>;

    fn into_iter(self) -> Self::IntoIter {
        if std::env::var_os("ALL_SHELLS").is_some() {
            return LIST.iter().copied();
        }
        let thread = std::thread::current();
        let name = thread.name().expect("a test's thread has its name");
        let one = name.bytes().map(usize::from).sum::<usize>() % LIST.len();
        LIST[one..=one].iter().copied()
    }
}

impl std::ops::Deref for Shells {
    type Target = [&'static [&'static str]];

    fn deref(&self) -> &Self::Target {
        &LIST
    }
}

/// The folder of the utilities that the program finds under this shell; `None`: those of this machine.
pub(crate) fn utilities(shell: &[&str]) -> Option<PathBuf> {
    if shell[0] == "busybox" {
        return Some(BUSYBOX.clone());
    }
    Path::new(shell[0]).is_absolute().then(|| Path::new(shell[0]).parent().unwrap().to_owned())
}

/// Whether a node with these utilities has this one.
pub(crate) fn has(shell: &[&str], utility: &str) -> bool {
    utilities(shell).is_none_or(|folder| folder.join(utility).exists())
}

/// Whether a node with these utilities can run a program as somebody else: the setpriv of busybox cannot.
pub(crate) fn becomes(shell: &[&str]) -> bool {
    let folder = utilities(shell);
    let setpriv = folder.as_deref().map_or_else(|| "setpriv".into(), |folder| folder.join("setpriv"));
    has(shell, "su") && folder.is_some()
        || Command::new(setpriv)
            .args(["--reuid=0", "--regid=0", "--clear-groups", "true"])
            .output()
            .is_ok_and(|it| it.status.success())
}

/// All of this machine's busybox and nothing else, as on a node that has no others.
static BUSYBOX: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/userlands/busybox");
    fs::create_dir_all(&folder).unwrap();
    let list = Command::new("busybox").arg("--list").output().unwrap();
    for name in String::from_utf8(list.stdout).unwrap().lines() {
        // Another process of the tests may make it too.
        let _ = symlink("/bin/busybox", folder.join(name));
    }
    folder
});

pub(super) fn with_path(source: &str, folder: &Path) -> String {
    let changed = source.replacen(PATH, &format!("PATH={}\n", folder.display()), 1);
    assert_ne!(changed, source, "the program sets its PATH");
    changed
}

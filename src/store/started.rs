//! By whom this process was started: who may not read a file is helped in another way when sudo was forgotten than when a
//! unit does not hand it on.

use std::env;
use std::io::{Error, ErrorKind, IsTerminal as _};
use std::path::Path;
use std::sync::OnceLock;

use nix::unistd::geteuid;

use super::secret::CREDENTIALS;

/// What a person forgot who may not read what root may.
pub const SUDO: &str = "run it with sudo";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// As root, whomever it became since.
    Root,
    /// By a unit of systemd with a `User=`.
    Unit,
    Person,
}

impl Started {
    pub fn now() -> Self {
        if was_root() {
            return Self::Root;
        }
        // systemd.exec(5). Terminals of a graphical session inherit INVOCATION_ID from the user's own manager.
        let by_unit = env::var_os("INVOCATION_ID").is_some() && !std::io::stdin().is_terminal();
        if by_unit || env::var_os(CREDENTIALS).is_some() { Self::Unit } else { Self::Person }
    }

    /// What to do when a file that is no secret cannot be read; else `otherwise`.
    pub fn next(self, error: &Error, otherwise: String) -> String {
        match self {
            _ if error.kind() != ErrorKind::PermissionDenied => otherwise,
            Self::Person => SUDO.to_owned(),
            Self::Unit => "let the unit's user (User=) read it; it is no secret".to_owned(),
            Self::Root => otherwise,
        }
    }
}

/// As it was when this was asked first: before root is given up.
pub(super) fn was_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| geteuid().is_root())
}

/// The line of a unit that hands a secret on, under the name by which it is looked for. `None`: it was handed on.
pub(super) fn credential(path: &Path) -> Option<String> {
    if env::var_os(CREDENTIALS).is_some_and(|folder| path.starts_with(folder)) {
        return None;
    }
    let name = path.file_name()?.to_str()?;
    // systemd.unit(5): a percent sign begins a specifier.
    Some(format!("LoadCredential={name}:{}", path.to_str()?).replace('%', "%%"))
}

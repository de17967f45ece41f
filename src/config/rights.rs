//! Owner, group and modes of installed files, for a server whose own user reads the key, where the existing files do not
//! show it. A key is never readable by everybody.

use core::fmt;

use super::defaults::KEY_MODE_OF_A_GROUP;
use super::error::ConfigErrors;
use super::written::{Section, Spanned};

/// Longest name of a user that Linux takes, useradd(8), with room for a domain's (`user@realm`).
const LONGEST_LOGIN: usize = 100;

/// `None`: as the existing file on the node; without one, the login's own, 0644, and 0600 for a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Names or numbers, as the node knows them.
    pub owner: Option<String>,
    pub group: Option<String>,
    /// Of files without a key.
    pub mode: Option<Mode>,
    /// Of files with a key; grants nothing to others.
    pub key_mode: Option<Mode>,
}

/// Permissions to read, and of the owner to write; chmod(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub(super) u16);

impl Mode {
    pub(super) fn for_group(self) -> bool {
        self.0 & 0o040 != 0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// One written layer; layers are merged key by key.
#[derive(Clone, Default)]
pub(super) struct RightsSpec(Rights);

impl RightsSpec {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let errors = section.errors();
        let owner = section.string("owner").filter(|written| login(written, errors));
        let group = section.string("group").filter(|written| login(written, errors));
        let mode = section.string("mode").and_then(|written| mode(&written, 0o644, errors));
        let key_mode = section.string("key_mode").and_then(|written| self::mode(&written, 0o640, errors));
        Self(Rights { owner: owner.map(|it| it.value), group: group.map(|it| it.value), mode, key_mode })
    }

    pub(super) fn of(rights: Rights) -> Self {
        Self(rights)
    }

    /// For each key, the first layer that has it.
    pub(super) fn resolve<'a>(layers: impl Iterator<Item = &'a Self> + Clone) -> Rights {
        let owner = layers.clone().find_map(|layer| layer.0.owner.clone());
        let group = layers.clone().find_map(|layer| layer.0.group.clone());
        let mode = layers.clone().find_map(|layer| layer.0.mode);
        let key_mode = { layers }.find_map(|layer| layer.0.key_mode);
        let key_mode = key_mode.or(group.as_ref().map(|_| Mode(KEY_MODE_OF_A_GROUP)));
        Rights { owner, group, mode, key_mode }
    }
}

fn login(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || "_.@-".contains(c);
    let text = &written.value;
    let well = !text.is_empty() && text.len() <= LONGEST_LOGIN && !text.starts_with('-') && text.chars().all(fit);
    if !well {
        let what = format!("{text:?} is the name of no user and no group");
        errors.at(written, what, "a name as the node has it, or a number: \"postgres\"");
    }
    well
}

/// `most`: all permissions that are allowed.
fn mode(written: &Spanned<String>, most: u16, errors: &ConfigErrors<'_>) -> Option<Mode> {
    let text = &written.value;
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let bits = u16::from_str_radix(text, 8).ok().filter(|_| octal);
    let write = if most & 0o7 == 0 {
        "\"0600\" for its owner alone, or \"0640\" for a group too"
    } else {
        "\"0644\" for everybody, or \"0640\" for a group"
    };
    let what = match bits {
        None => "is no mode in octal digits",
        Some(bits) if bits & 0o7 & !most != 0 && most & 0o7 == 0 => "would let every user of the node read the key",
        Some(bits) if bits & !most != 0 => "allows more than to read it, and its owner to write it",
        Some(bits) if bits & 0o400 == 0 => "does not let its owner read it",
        Some(bits) => return Some(Mode(bits)),
    };
    errors.none(written, format!("{text:?} {what}"), write)
}

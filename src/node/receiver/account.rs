//! The account's name, from which its places follow, and the addresses that its keys may come from.

use core::fmt;
use core::net::IpAddr;

/// A login name that every system takes: useradd(8), "CAVEATS".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account(String);

#[derive(Debug, thiserror::Error)]
pub enum BadAccount {
    #[error(
        "{0:?} is no name for an account: a letter or `_`, then letters, digits, `_` or `-`, 32 in all, lower case"
    )]
    Name(String),
    #[error("{0:?} is neither an address nor a network such as 192.0.2.0/24")]
    From(String),
}

impl Account {
    /// # Errors
    /// What a name must be.
    pub fn parse(text: &str) -> Result<Self, BadAccount> {
        let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let rest = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
        if first && rest && text.len() <= 32 && text != "root" {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadAccount::Name(text.chars().take(60).collect()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn program(&self) -> String {
        format!("/usr/local/lib/{self}/receive")
    }

    pub(in crate::node) fn parameters(&self) -> String {
        format!("/etc/{self}-receiver")
    }

    /// sudo reads no file of this folder that has a dot in its name.
    pub(super) fn rule(&self) -> String {
        format!("/etc/sudoers.d/{self}-receiver")
    }

    pub(super) fn home(&self) -> String {
        format!("/var/lib/{self}-receiver")
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address or a network, as `from="…"` in authorized_keys takes it (sshd(8), ssh_config(5) PATTERNS: CIDR).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From(String);

impl From {
    /// # Errors
    /// The text.
    pub fn parse(text: &str) -> Result<Self, BadAccount> {
        let bad = || BadAccount::From(text.chars().take(60).collect());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        match length {
            Some(length) if length > most => Err(bad()),
            Some(length) => Ok(Self(format!("{address}/{length}"))),
            None => Ok(Self(address.to_string())),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_be_something_else_in_a_script_or_to_sudo_is_none() {
        for bad in ["", "root", "-x", "a b", "a'b", "a$b", "../x", "Abc", "a.b", "é", &"a".repeat(33)] {
            assert!(Account::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Account::parse("certd-2").unwrap().rule(), "/etc/sudoers.d/certd-2-receiver");
    }

    #[test]
    fn from_takes_addresses_and_networks_and_no_patterns() {
        for bad in ["", "*", "192.0.2.0/33", "host.example", "192.0.2.1\" x", "::/129", "1.2.3.4/"] {
            assert!(From::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(From::parse("2001:DB8::/32").unwrap().as_str(), "2001:db8::/32");
    }
}

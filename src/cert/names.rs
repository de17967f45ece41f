//! Names: of a certificate, of a node, of a watched endpoint, and DNS names in the form in which certificates hold them.

use core::fmt;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Text that its `parse` has accepted, in the state directory and in reports as well.
macro_rules! names {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    )+};
}

names! {
    /// A DNS name as certificates hold it: lower case, A-labels (RFC 5891), no trailing dot, `*.` only as the whole first
    /// label (RFC 6125 section 6.4.3).
    DnsName;
    /// The name of a certificate in the configuration; also a folder in the store and on the nodes, hence its alphabet:
    /// lower-case letters, digits, `.`, `_` and `-`, not first a `.` or `-`, at most 100.
    CertName;
    /// The name of a node: any words in any script, without control characters, at most 64 characters.
    NodeName;
    /// The name of a watched endpoint: as a node's, and long enough for any DNS name.
    WatchName;
}

impl DnsName {
    /// # Errors
    /// What is wrong with the text, with the text.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let bad = |why| Err(BadName { text: text.chars().take(80).collect(), why });
        let trimmed = text.strip_suffix('.').unwrap_or(text);
        let (star, rest) = match trimmed.strip_prefix("*.") {
            Some(rest) => ("*.", rest),
            None => ("", trimmed),
        };
        let Ok(ascii) = idna::domain_to_ascii_strict(rest) else {
            return bad("not a DNS name");
        };
        if ascii.parse::<core::net::IpAddr>().is_ok() {
            return bad("an IP address, and certificates by DNS-01 hold DNS names only");
        }
        if !ascii.contains('.') {
            return bad("needs at least two labels");
        }
        if star.len() + ascii.len() > 253 {
            return bad("longer than 253 characters (RFC 1035 section 2.3.4)");
        }
        Ok(Self(format!("{star}{ascii}")))
    }

    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The name without `*.`: what an authorization is for, and where `_acme-challenge` hangs.
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// Whether a certificate that holds this name is good for `host` (RFC 6125 section 6.4.3).
    pub fn covers(&self, host: &Self) -> bool {
        if self == host {
            return true;
        }
        self.is_wildcard() && host.0.split_once('.').is_some_and(|(_, parent)| parent == self.base())
    }
}

/// The exact set of names of a certificate: what the CA counts its limits by.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NameSet(BTreeSet<DnsName>);

impl NameSet {
    pub fn iter(&self) -> impl Iterator<Item = &DnsName> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn covers(&self, host: &DnsName) -> bool {
        self.0.iter().any(|name| name.covers(host))
    }
}

impl FromIterator<DnsName> for NameSet {
    fn from_iter<I: IntoIterator<Item = DnsName>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl fmt::Display for NameSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(DnsName::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

impl CertName {
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if text.is_empty() || text.len() > 100 || text.starts_with(['.', '-']) || !text.chars().all(allowed) {
            return Err(BadName {
                text: text.chars().take(80).collect(),
                why: "a certificate's name has lower-case letters, digits, '.', '_' and '-' only, and starts with none of '.' and '-'",
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl NodeName {
    pub fn parse(text: &str) -> Result<Self, BadName> {
        words(text, 64).map(Self).ok_or_else(|| BadName {
            text: text.chars().take(80).collect(),
            why: "a node's name has 1 to 64 characters, no control characters and no space at its ends",
        })
    }
}

impl WatchName {
    pub fn parse(text: &str) -> Result<Self, BadName> {
        words(text, 253).map(Self).ok_or_else(|| BadName {
            text: text.chars().take(80).collect(),
            why: "the name of what is watched has 1 to 253 characters, no control characters and no space at its ends",
        })
    }
}

/// Any words in any script.
fn words(text: &str, most: usize) -> Option<String> {
    let count = text.chars().count();
    let well = (1..=most).contains(&count) && !text.chars().any(char::is_control) && text.trim() == text;
    well.then(|| text.to_owned())
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {why}")]
pub struct BadName {
    pub text: String,
    pub why: &'static str,
}

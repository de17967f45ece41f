//! What DNS says of the names of certificates: their addresses, as the zone's own servers and as public resolvers show
//! them, and which CAs may issue.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::cert::{DnsName, NodeName};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Each once.
    pub names: Vec<InDns>,
    /// The addresses of each node; those that are configured by a name as it was looked up now, `Err` when it was not.
    pub nodes: BTreeMap<NodeName, Result<BTreeSet<IpAddr>, String>>,
    /// By the CA's host.
    pub cas: BTreeMap<String, Named>,
}

/// What CAA records can tell a CA and our account there by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Empty: not known.
    pub identities: BTreeSet<String>,
    pub account: Option<String>,
}

/// One name. Texts are escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InDns {
    pub name: DnsName,
    /// Where its CNAMEs end, if it has any.
    pub alias: Option<String>,
    /// By the zone's own servers. Empty for a wildcard, which has no addresses to ask for.
    pub authoritative: Vec<ServerAnswer>,
    /// By the public resolvers that the configuration names.
    pub public: Vec<ServerAnswer>,
    pub caa: Caa,
    /// As the DNS provider's API has them. It is asked where DNS shows an address that is no node's.
    pub provider: Vec<AtProvider>,
    /// Why nobody could be asked for addresses.
    pub trouble: Option<String>,
}

/// What one server says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAnswer {
    pub server: String,
    pub says: Result<Addresses, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    pub all: BTreeSet<IpAddr>,
    /// The longest, in seconds; of a resolver: what is left of it.
    pub ttl: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caa {
    /// No record from the name up to the root: every CA may issue.
    #[default]
    Free,
    Restricted(CaaSet),
    /// It could not be asked.
    Unknown(String),
}

/// RFC 8659 section 3: the records of the nearest name that has any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaaSet {
    pub at: String,
    pub records: Vec<CaaRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaaRecord {
    pub critical: bool,
    /// In lower case.
    pub tag: String,
    pub value: String,
}

/// An address record as the provider's API has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtProvider {
    pub content: String,
    /// Visitors get the provider's own addresses instead.
    pub proxied: bool,
}

impl InDns {
    /// What the servers of the zone show together: one may lag behind the others.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let shown = self.authoritative.iter().filter_map(|answer| answer.says.as_ref().ok());
        shown.flat_map(|addresses| addresses.all.iter().copied()).collect()
    }

    pub fn ttl(&self) -> Option<u32> {
        self.authoritative.iter().filter_map(|answer| answer.says.as_ref().ok()?.ttl).max()
    }
}

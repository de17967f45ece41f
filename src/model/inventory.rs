//! The DNS records of certificates' names: their addresses, as the zone's own servers and as public resolvers show
//! them, and which CAs may issue.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::cert::{DnsName, NodeName};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Each once.
    pub names: Vec<InDns>,
    /// The addresses of each node; for those configured by a name the result of the lookup.
    pub nodes: BTreeMap<NodeName, Result<BTreeSet<IpAddr>, String>>,
    /// By the CA's host.
    pub cas: BTreeMap<String, Named>,
}

/// How CAA records may name a CA and our account there.
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
    /// Answers of the zone's own servers. Empty for a wildcard, which has no addresses.
    pub authoritative: Vec<ServerAnswer>,
    /// Answers of the configured public resolvers.
    pub public: Vec<ServerAnswer>,
    pub caa: Caa,
    /// The records in the DNS provider's API, which is asked when DNS shows an address that belongs to no node.
    pub provider: Vec<AtProvider>,
    /// Why the addresses could not be looked up.
    pub trouble: Option<String>,
}

/// The answer of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAnswer {
    pub server: String,
    pub says: Result<Addresses, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    pub all: BTreeSet<IpAddr>,
    /// The longest TTL, in seconds; of a resolver: what is left of it.
    pub ttl: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caa {
    /// No record from the name up to the root: every CA may issue.
    #[default]
    Free,
    Restricted(CaaSet),
    /// The lookup failed.
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

/// An address record in the provider's API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtProvider {
    pub content: String,
    /// Visitors get the provider's own addresses instead.
    pub proxied: bool,
}

impl InDns {
    /// The union over the zone's servers: one may lag behind the others.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let shown = self.authoritative.iter().filter_map(|answer| answer.says.as_ref().ok());
        shown.flat_map(|addresses| addresses.all.iter().copied()).collect()
    }

    pub fn ttl(&self) -> Option<u32> {
        self.authoritative.iter().filter_map(|answer| answer.says.as_ref().ok()?.ttl).max()
    }
}

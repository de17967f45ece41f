//! Errors of a dynamic update; key, clock and permission are distinguished.

use core::time::Duration;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::TsigAlgorithm;
use crate::model::{Advice, Code};

/// Cloneable, since one answer holds for every record of an UPDATE.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpdateError {
    #[error("{}: {why}", path.display())]
    KeyFile { path: PathBuf, why: String },
    #[error("{server}: cannot be reached: {source}")]
    Unreachable { server: String, source: Arc<io::Error> },
    #[error("{server}: no answer to an UPDATE within {} s", limit.as_secs())]
    Silent { server: String, limit: Duration },
    #[error("{server}: {what}")]
    MalformedResponse { server: String, what: String },
    /// RFC 8945 section 5.2.1, BADKEY.
    #[error("{server}: answers that it does not know a key named {key:?} for {} (BADKEY)", algorithm.as_str())]
    UnknownKey { server: String, key: String, algorithm: TsigAlgorithm },
    /// RFC 8945 section 5.2.2, BADSIG.
    #[error("{server}: has another secret for the key {key:?} ({})", algorithm.as_str())]
    WrongSecret { server: String, key: String, algorithm: TsigAlgorithm },
    /// RFC 8945 section 5.2.3, BADTIME. `seconds`: the server's clock less ours.
    #[error("{server}: this machine's clock and the server's differ by {} s ({})", seconds.unsigned_abs(), ahead(*seconds))]
    Clock { server: String, seconds: i64 },
    /// Another host may have sent the answer: it is not a success.
    #[error("{server}: its answer is not signed with the key {key:?}: {why}")]
    Unproven { server: String, key: String, why: &'static str },
    /// Signed, so that the key is good. `primary`: the zone's primary according to its SOA record, if this server is not it.
    #[error("{server}: does not let this key change {zone} (REFUSED){}", named(primary.as_ref()))]
    Refused { server: String, zone: String, primary: Option<String> },
    /// Signed; TXT records it may let the key change.
    #[error("{server}: does not let this key change the address records of {name} in {zone} (REFUSED)")]
    RefusedAddress { server: String, zone: String, name: String },
    /// To a signed query for records that are to be changed.
    #[error("{server}: does not show the {kind} records of {name}: {why}")]
    Unread { server: String, name: String, kind: String, why: &'static str },
    /// By the prerequisites of an UPDATE, whose answers to queries are other.
    #[error("{server}: answers queries for {name} with address records that the name itself does not have")]
    NotAsShown { server: String, name: String },
    /// Signed.
    #[error("{server}: is not the primary of a zone named {zone} (NOTAUTH){}", named(primary.as_ref()))]
    NotPrimary { server: String, zone: String, primary: Option<String> },
    /// REFUSED or NOTAUTH without a signature: each server means another thing by it, or several.
    #[error(
        "{server}: refuses the UPDATE of {zone} with the key {key:?} ({}), and does not sign the answer ({code}){}",
        algorithm.as_str(),
        named(primary.as_ref())
    )]
    Unsigned {
        server: String,
        zone: String,
        key: String,
        algorithm: TsigAlgorithm,
        code: &'static str,
        primary: Option<String>,
    },
    #[error("{server}: {name} is not in the zone {zone}")]
    OutOfZone { server: String, name: String, zone: String },
    #[error("{server}: serves no zone that holds {name}")]
    NoZone { server: String, name: String },
    /// `code`: the mnemonic of RFC 2136 section 2.2.
    #[error("{server}: the UPDATE of {zone} failed ({code}){}", named(primary.as_ref()))]
    Failed { server: String, zone: String, code: &'static str, primary: Option<String> },
}

fn ahead(seconds: i64) -> &'static str {
    if seconds < 0 { "this one is ahead" } else { "the server's is ahead" }
}

fn named(primary: Option<&String>) -> String {
    primary
        .map(|name| format!("; the zone's SOA record names another server as its primary: {name}"))
        .unwrap_or_default()
}

impl UpdateError {
    pub fn code(&self) -> Code {
        match self {
            Self::KeyFile { .. } => Code::DnsUpdateKeyFile,
            Self::Unreachable { .. } => Code::DnsUpdateUnreachable,
            Self::Silent { .. } => Code::DnsUpdateSilent,
            Self::MalformedResponse { .. } => Code::DnsUpdateStrangeAnswer,
            Self::UnknownKey { .. } => Code::DnsUpdateUnknownKey,
            Self::WrongSecret { .. } => Code::DnsUpdateWrongSecret,
            Self::Clock { .. } => Code::DnsUpdateClock,
            Self::Unproven { .. } => Code::DnsUpdateUnproven,
            Self::Refused { .. } | Self::RefusedAddress { .. } => Code::DnsUpdateRefused,
            Self::NotPrimary { .. } => Code::DnsUpdateNotPrimary,
            Self::Unsigned { .. } => Code::DnsUpdateUnsigned,
            Self::OutOfZone { .. } => Code::DnsUpdateOutOfZone,
            Self::NoZone { .. } => Code::DnsUpdateNoZone,
            Self::Failed { .. } | Self::Unread { .. } | Self::NotAsShown { .. } => Code::DnsUpdateFailed,
        }
    }

    pub fn advice(&self) -> Advice {
        match self {
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::MalformedResponse { .. }
            | Self::Unproven { .. }
            | Self::Unread { why: "SERVFAIL", .. }
            | Self::Failed { code: "SERVFAIL", .. } => Advice::Retry { after_seconds: None },
            _ => Advice::Person,
        }
    }

    /// The UPDATE may have been carried out although it failed.
    pub(super) fn may_have_happened(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Silent { .. } | Self::MalformedResponse { .. } | Self::Unproven { .. }
        )
    }

    /// Adds the zone's primary where that may explain the answer.
    pub(super) async fn with_primary(mut self, other: impl Future<Output = Option<String>>) -> Self {
        if let Self::Refused { primary, .. }
        | Self::NotPrimary { primary, .. }
        | Self::Unsigned { primary, .. }
        | Self::Failed { primary, .. } = &mut self
        {
            *primary = other.await;
        }
        self
    }

    /// Another zone of this server may take updates with this key.
    pub(in crate::dns) fn is_about_the_zone(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::NotPrimary { .. }
                | Self::OutOfZone { .. }
                | Self::NoZone { .. }
                | Self::UnknownKey { .. }
                // Knot's answer where it does not serve the zone.
                | Self::Unsigned { .. }
        )
    }

    /// The operator's next step.
    pub fn next(&self) -> &'static str {
        match self {
            Self::KeyFile { .. } => {
                "write the output of tsig-keygen(8) into it; or the secret alone, in base64, and `dns.key_name` and `dns.algorithm` into the configuration"
            }
            Self::Unreachable { .. } | Self::Silent { .. } => {
                "see that the server runs and that this machine reaches it over TCP (`dns.server`, firewall); certd tries again by itself"
            }
            Self::MalformedResponse { .. } => {
                "see that a name server listens at `dns.server`; certd tries again by itself"
            }
            Self::UnknownKey { .. } => {
                "see that the server has a key of this name and this algorithm, as `dns.key_file` has it. Knot before 3.4 also answers so when no `acl` rule with `action: update` lets the key change this name"
            }
            Self::WrongSecret { .. } => "copy the key's secret from the server's configuration into `dns.key_file`",
            Self::Clock { .. } => "set the clocks of both machines (NTP): signatures hold for five minutes",
            Self::Unproven { .. } => {
                "see who answers at `dns.server`, and that its secret is that of `dns.key_file`; certd tries again by itself"
            }
            Self::Refused { primary: Some(_), .. }
            | Self::NotPrimary { primary: Some(_), .. }
            | Self::Unsigned { primary: Some(_), .. }
            | Self::Failed { primary: Some(_), .. } => {
                "if this server is a secondary of the zone, write the primary into `dns.server`, or let this one forward updates to it (BIND: `allow-update-forwarding`); if not, see its log"
            }
            Self::Refused { .. } => {
                "let the key change TXT records of the zone. BIND: `update-policy { grant KEY zonesub TXT; };` or `allow-update { key KEY; };`. PowerDNS: `dnsupdate=yes`, this machine in `allow-dnsupdate-from`, and the key in the zone's metadata TSIG-ALLOW-DNSUPDATE"
            }
            Self::RefusedAddress { .. } => {
                "let the key change the A and AAAA records of this name. BIND: `update-policy { grant KEY name NAME A AAAA; };`, beside what it grants for TXT"
            }
            Self::Unread { why: "SERVFAIL", .. } => "see the server's log; certd tries again by itself",
            Self::Unread { .. } => {
                "see that `dns.server` is the zone's primary, and that it answers this machine's queries (BIND: `allow-query`)"
            }
            Self::NotAsShown { .. } => {
                "if a wildcard (`*`) answers for the name, make A and AAAA records of the name itself; if `dns.server` is a secondary, or forwards updates to one that is ahead of it, write the primary"
            }
            Self::NotPrimary { .. } => {
                "see that `dns.server` is the zone's primary, or write `dns.zone`: the zone that it serves"
            }
            Self::Unsigned { code: "NOTAUTH", .. } => {
                "see the server's log. Knot answers so when it has no key of this name and algorithm, when no `acl` rule with `action: update` lets the key change this name, and when it does not serve the zone"
            }
            Self::Unsigned { .. } => {
                "see the server's log. PowerDNS answers so when it has no key of this name, algorithm and secret, or when its clock and this machine's differ by minutes; other servers when they take no updates from this address"
            }
            Self::OutOfZone { .. } | Self::NoZone { .. } => {
                "write `dns.zone`, or `dns.server` of the zone that holds the name, or lead _acme-challenge by CNAME into a zone of this server"
            }
            Self::Failed { code: "SERVFAIL", .. } => {
                "see the server's log (can it write its journal beside the zone's file?); certd tries again by itself"
            }
            Self::Failed { code: "NOTIMP", .. } => {
                "this server takes no dynamic updates, as NSD: write the primary that does into `dns.server`, or use `provider = \"exec\"`"
            }
            Self::Failed { .. } => {
                "see the server's log: whether it takes dynamic updates, and what it has against this one"
            }
        }
    }
}

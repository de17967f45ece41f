//! Errors of DNS records: at the provider's API, in lookups, in waiting for every server.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use super::{ProgramError, UpdateError, Zone};
use crate::http::causes;
use crate::model::{Advice, Code, Finding};
use crate::text::escape;

/// Cloneable, since one call may be about several records.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DnsError {
    #[error("{api}: no answer: {}", causes(.source))]
    Unreachable { api: String, source: Arc<reqwest::Error> },
    /// The API refused. `code` and `message` are its own.
    #[error("{api}: {message} (code {code}, HTTP status {status})")]
    Refused { api: String, status: u16, code: u64, message: String },
    #[error("{api}: too many calls (HTTP status 429)")]
    Limited { api: String, retry_after: Option<Duration> },
    /// The token may be valid, but lacks a permission. `reading`: the call was to read.
    #[error("{api}: the token may not do this: {message} (code {code})")]
    Forbidden { api: String, code: u64, message: String, reading: bool },
    /// The token is wrong or expired.
    #[error("{api}: the token is not accepted: {message} (code {code})")]
    Token { api: String, code: u64, message: String },
    /// The token has a client IP address filter, which leaves out the address that the API sees (and names).
    #[error("{api}: the token is limited to other client addresses: {message} (code {code})")]
    TokenAddress { api: String, code: u64, message: String },
    #[error("{api}: {what}")]
    MalformedResponse { api: String, what: String },
    /// `apex`: the name's zone according to DNS.
    #[error("{name}: none of this token's zones holds it{}", apex.iter().map(|it| format!("; in DNS its zone is {it}")).collect::<String>())]
    NoZone { name: String, apex: Option<String> },
    #[error("{name}: this token sees {count} zones of the name {zone}")]
    SeveralZones { name: String, zone: String, count: usize },
    #[error("dns.api_base: a token travels over https, or over http to this machine alone")]
    Insecure,
    #[error("HTTP client for the DNS provider: {}", causes(.source))]
    Client { source: Arc<reqwest::Error> },
    #[error("{name}: not a name that DNS can hold")]
    Name { name: String },
    #[error("/etc/resolv.conf: {why}")]
    NoResolvers { why: String },
    #[error("{name}: the resolvers do not answer: {why}")]
    Lookup { name: String, why: String },
    #[error("{name}: its CNAMEs lead in a circle: {chain}")]
    Loop { name: String, chain: String },
    #[error("{name}: its zone ({zone}) has no name server with an address: {why}")]
    NoServers { name: String, zone: String, why: String },
    #[error("{name}: none of its name servers answers: {servers}")]
    AllSilent { name: String, servers: String },
    #[error("{name}: after {} s not every name server shows the TXT record: {lagging}", .limit.as_secs())]
    NotSeen { name: String, limit: Duration, lagging: String, which: Lagging },
    #[error(transparent)]
    Update(#[from] UpdateError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The provider makes and removes TXT records alone.
    #[error("{name}: this DNS provider changes no address records")]
    NoAddressRecords { name: String },
    /// The provider answers with its own addresses, whatever the records are.
    #[error("{name}: {address} is proxied at the DNS provider")]
    Proxied { name: String, address: IpAddr },
    /// The provider's secret cannot be read.
    #[error("{}", .0.what)]
    Unread(Box<Finding>),
    /// Of the provider of `[dns.NAME]`.
    #[error("dns.{section}: {error}")]
    Section { section: String, error: Box<Self> },
}

/// Which servers do not show the record: each reason has another remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lagging {
    /// Others show it.
    Some,
    /// None shows it.
    All,
    /// Each shows some of the values at the name, and the same number to the end: it takes no more.
    Fewer,
    /// Servers of this network, which may have a zone of its own under the public name.
    Internal,
}

impl DnsError {
    pub fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } => Code::DnsApiUnreachable,
            Self::Refused { .. } => Code::DnsApiRefused,
            Self::Limited { .. } => Code::DnsApiLimited,
            Self::Forbidden { .. } => Code::DnsTokenPermission,
            Self::Token { .. } => Code::DnsToken,
            Self::TokenAddress { .. } => Code::DnsTokenAddress,
            Self::MalformedResponse { .. } => Code::DnsApiStrangeAnswer,
            Self::NoZone { .. } => Code::DnsNoZone,
            Self::SeveralZones { .. } => Code::DnsSeveralZones,
            Self::Insecure | Self::Client { .. } => Code::DnsApiClient,
            Self::Name { .. } => Code::DnsName,
            Self::NoAddressRecords { .. } | Self::Proxied { .. } => Code::DnsAddresses,
            Self::NoResolvers { .. } | Self::Lookup { .. } => Code::DnsLookup,
            Self::Loop { .. } => Code::DnsCnameLoop,
            Self::NoServers { .. } => Code::DnsNoServers,
            Self::AllSilent { .. } => Code::DnsServersSilent,
            Self::NotSeen { .. } => Code::DnsNotSeen,
            Self::Update(error) => error.code(),
            Self::Program(error) => error.code(),
            Self::Unread(finding) => finding.code.clone(),
            Self::Section { error, .. } => error.code(),
        }
    }

    pub fn advice(&self) -> Advice {
        match self {
            Self::Limited { retry_after, .. } => {
                Advice::Retry { after_seconds: retry_after.map(|wait| wait.as_secs()) }
            }
            Self::Refused { status, .. } if *status >= 500 => Advice::Retry { after_seconds: None },
            Self::Unreachable { .. }
            | Self::MalformedResponse { .. }
            | Self::Lookup { .. }
            | Self::AllSilent { .. }
            | Self::NotSeen { .. } => Advice::Retry { after_seconds: None },
            Self::Update(error) => error.advice(),
            Self::Program(error) => error.advice(),
            Self::Section { error, .. } => error.advice(),
            _ => Advice::Person,
        }
    }

    /// The operator's next step.
    pub fn next(&self) -> &str {
        match self {
            Self::Unreachable { .. } => {
                "see that this machine reaches the API (DNS, firewall, `network.proxy`); certd tries again by itself"
            }
            Self::Refused { .. } => "see the API's words; a zone that is paused or locked takes no records",
            Self::Limited { .. } => "wait: certd tries again by itself; see what else uses this token",
            Self::Forbidden { reading: false, .. } => {
                "give the token the permission Zone / DNS / Edit for this zone (and see that it is still valid)"
            }
            Self::Forbidden { reading: true, .. } => {
                "give the token the permissions Zone / Zone / Read and Zone / DNS / Edit for this zone, or write `dns.zone_id`: then DNS / Edit is enough (and see that it is still valid)"
            }
            Self::Token { .. } => {
                "make a token with the permissions Zone / Zone / Read and Zone / DNS / Edit for this zone, and put it into `dns.token_file`"
            }
            Self::TokenAddress { .. } => {
                "let the token's Client IP Address Filtering take the address that the API names, or remove the filter; or send the calls through a proxy with an address that it takes (`network.proxy`)"
            }
            Self::MalformedResponse { .. } => "see the provider's status page; certd tries again by itself",
            Self::NoZone { .. } => {
                "give the token access to the zone (Zone / Zone / Read and Zone / DNS / Edit), or set `dns.zone_id`, or lead _acme-challenge by CNAME into a zone that the token may edit"
            }
            Self::SeveralZones { .. } => "write `dns.zone_id`: the zone whose name servers the registry names",
            Self::Insecure => "write an https URL",
            Self::Client { .. } => "see `network.ca_file` (PEM) and `network.proxy`",
            Self::Name { .. } => "see `domains`",
            Self::NoAddressRecords { .. } => "see docs/dns.md for the providers that failover works with",
            Self::Proxied { .. } => {
                "set all address records of the name to \"DNS only\", or leave failover to the provider's proxy"
            }
            Self::NoResolvers { .. } => "write `dns.resolvers`",
            Self::Lookup { .. } => {
                "see that this machine's resolvers (`dns.resolvers`) or the DoH servers (`dns.doh`) answer; certd tries again by itself"
            }
            Self::Loop { .. } => "correct the CNAME records of _acme-challenge",
            Self::NoServers { .. } => "see the NS records of the zone, or write `dns.nameservers`",
            Self::AllSilent { .. } => {
                "see that this machine may send to port 53 (UDP and TCP), or write DoH servers that it reaches into `dns.doh`; certd tries again by itself"
            }
            Self::NotSeen { which: Lagging::Some, .. } => {
                "see why that name server is behind (is it still in use?), and `dns.timeout`; nothing was asked of the CA, and certd tries again by itself"
            }
            Self::NotSeen { which: Lagging::Fewer, .. } => {
                "the name takes fewer values at once than the certificate has names that lead to it (acme-dns keeps two in each account, enough for a name and its wildcard): lead the _acme-challenge of each further name to an account of its own, or make several certificates. Nothing was asked of the CA, and certd tries again by itself"
            }
            Self::NotSeen { which: Lagging::All, .. } => {
                "see that these name servers serve the zone that the DNS provider changes: if this machine's resolver has a zone of its own under the public name (split DNS), write a resolver that sees the public one into `dns.resolvers`; else see `dns.timeout`. Nothing was asked of the CA, and certd tries again by itself"
            }
            Self::NotSeen { which: Lagging::Internal, .. } => {
                "these are name servers of this network: if it has a zone of its own under the public name (split DNS), write a resolver that sees the public one, such as \"1.1.1.1:53\", into `dns.resolvers`; else see why they are behind. Nothing was asked of the CA, and certd tries again by itself"
            }
            Self::Update(error) => error.next(),
            Self::Program(error) => error.next(),
            Self::Unread(finding) => &finding.next,
            Self::Section { error, .. } => error.next(),
        }
    }

    /// The section whose keys [`Self::next`] names, if it is not `[dns]` itself.
    pub fn section(&self) -> Option<&str> {
        if let Self::Section { section, .. } = self { Some(section) } else { None }
    }

    pub fn of_section(self, section: Option<&str>) -> Self {
        let Some(section) = section else { return self };
        Self::Section { section: section.to_owned(), error: Box::new(self) }
    }
}

impl DnsError {
    /// Adds the zone to the API's name.
    pub(super) fn in_zone(mut self, zone: &Zone) -> Self {
        if let Self::Unreachable { api, .. }
        | Self::Refused { api, .. }
        | Self::Limited { api, .. }
        | Self::Forbidden { api, .. }
        | Self::Token { api, .. }
        | Self::TokenAddress { api, .. }
        | Self::MalformedResponse { api, .. } = &mut self
        {
            let zone = zone.name.as_ref().unwrap_or(&zone.id);
            *api = format!("{api}, zone {}", escape(zone, 260));
        }
        self
    }

    /// Every other call with this token would fail, too.
    pub(super) fn is_about_the_token(&self) -> bool {
        matches!(self, Self::Token { .. } | Self::TokenAddress { .. } | Self::Forbidden { .. } | Self::Limited { .. })
    }

    /// The provider cannot make a record at this name, or the CNAMEs to it lead nowhere; it may be able to at another.
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            Self::NoZone { .. } | Self::Lookup { .. } | Self::Loop { .. } => true,
            Self::Update(error) => error.is_about_the_zone(),
            Self::Section { error, .. } => error.is_out_of_reach(),
            _ => false,
        }
    }

    /// The API does not know the zone, or does not let this token use it.
    pub(super) fn refuses_zone(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::Refused { status: 404, .. })
    }
}

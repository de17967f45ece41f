//! What is remembered of a DNS provider for the next run: the ids of zones, whether they are served, and how long the
//! token is valid.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Code;
use crate::cert::DnsName;

/// A token that ends within this is reported: long enough for an operator who is away for some days.
const TOKEN_WARNING: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How often the provider is asked about the token.
const TOKEN_ASKED: SignedDuration = SignedDuration::from_hours(24);

/// `dns.json`: a cache that can be lost; only during a DNS outage its lost addresses are missed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsCache {
    /// By the API's host and the zone's name: `api.cloudflare.com/example.com`.
    #[serde(default)]
    pub zones: BTreeMap<String, KnownZone>,
    #[serde(default)]
    pub token: Option<KnownToken>,
    /// Of the providers of sections, each apart: two accounts may have zones of one name. By the section's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sections: BTreeMap<String, KnownProvider>,
    /// The addresses of names that DNS discovery turns into nodes, for when DNS does not answer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub discovered: BTreeMap<DnsName, LastSeen>,
}

/// What is remembered of one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownProvider {
    #[serde(default)]
    pub zones: BTreeMap<String, KnownZone>,
    #[serde(default)]
    pub token: Option<KnownToken>,
}

impl DnsCache {
    /// `section`: `None` for the provider of `[dns]` itself.
    pub fn zones(&self, section: Option<&str>) -> BTreeMap<String, KnownZone> {
        let Some(section) = section else { return self.zones.clone() };
        self.sections.get(section).map(|known| known.zones.clone()).unwrap_or_default()
    }

    pub fn token(&self, section: Option<&str>) -> Option<KnownToken> {
        let Some(section) = section else { return self.token.clone() };
        self.sections.get(section)?.token.clone()
    }

    pub fn keep_zones(&mut self, section: Option<&str>, zones: BTreeMap<String, KnownZone>) {
        match section {
            None => self.zones = zones,
            Some(section) => self.sections.entry(section.to_owned()).or_default().zones = zones,
        }
    }

    pub fn keep_token(&mut self, section: Option<&str>, token: KnownToken) {
        match section {
            None => self.token = Some(token),
            Some(section) => self.sections.entry(section.to_owned()).or_default().token = Some(token),
        }
    }
}

/// The addresses of a name, and when they were seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeen {
    pub at: Timestamp,
    pub addresses: BTreeSet<IpAddr>,
}

/// A zone in the provider's API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownZone {
    pub id: String,
    pub name: String,
    /// The provider's id of the account that owns the zone.
    pub account: Option<String>,
    /// `active`, `pending`, …: the provider's own word.
    pub status: String,
    pub paused: bool,
    pub seen_at: Timestamp,
}

/// A problem of a zone, reported before it costs an issuance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneTrouble {
    #[error("its setup is not finished, and no DNS query for it is answered")]
    Initializing,
    #[error(
        "it is pending: the registry does not name the provider's name servers yet, so that nobody sees its records"
    )]
    Pending,
    #[error("it has moved: the registry no longer names the provider's name servers, so that nobody sees its records")]
    Moved,
    #[error("it is paused: proxying is off, but its records are still served")]
    Paused,
    #[error("its status is {0}, not active")]
    Other(String),
}

impl KnownZone {
    /// https://developers.cloudflare.com/dns/zone-setups/reference/domain-status/
    pub fn trouble(&self) -> Option<ZoneTrouble> {
        match self.status.as_str() {
            "active" if self.paused => Some(ZoneTrouble::Paused),
            "active" => None,
            "initializing" => Some(ZoneTrouble::Initializing),
            "pending" => Some(ZoneTrouble::Pending),
            "moved" => Some(ZoneTrouble::Moved),
            other => Some(ZoneTrouble::Other(other.to_owned())),
        }
    }
}

impl ZoneTrouble {
    /// What the operator does next.
    pub fn next(&self) -> &'static str {
        match self {
            Self::Initializing => "finish its setup in the provider's dashboard: choose a plan",
            Self::Pending | Self::Moved => {
                "name the provider's servers for it at the registrar, or lead _acme-challenge by CNAME into a zone that is served"
            }
            Self::Paused => "nothing for certificates; resume it in the dashboard if it is to be proxied again",
            Self::Other(_) => "see the zone in the provider's dashboard",
        }
    }
}

/// What the provider reports about the token, without the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownToken {
    /// The beginning of its SHA-256: another token is looked up anew.
    pub digest: String,
    pub asked_at: Timestamp,
    /// `active`, `disabled`, `expired`; `refused` when the API does not accept it at all, [`Self::ELSEWHERE`] when it does
    /// not accept it from this machine's address, `unknown` when it cannot be asked.
    pub status: String,
    pub expires_on: Option<Timestamp>,
}

/// A problem of a token, reported before it costs an issuance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenTrouble {
    #[error("the token ends on {at}")]
    Expires { at: Timestamp },
    #[error("the token is {0}: the next certificate cannot be issued with it")]
    Dead(String),
    #[error("the token is limited to other client addresses: the next certificate cannot be issued with it from here")]
    Elsewhere,
}

impl KnownToken {
    pub const ELSEWHERE: &str = "elsewhere";

    pub fn trouble(&self, now: Timestamp) -> Option<TokenTrouble> {
        if self.status == "unknown" {
            return None;
        }
        if self.status == Self::ELSEWHERE {
            return Some(TokenTrouble::Elsewhere);
        }
        if self.status != "active" {
            return Some(TokenTrouble::Dead(self.status.clone()));
        }
        let at = self.expires_on?;
        if at <= now {
            return Some(TokenTrouble::Dead("expired".to_owned()));
        }
        (at.duration_since(now) <= TOKEN_WARNING).then_some(TokenTrouble::Expires { at })
    }

    /// Whether to ask again. A dead token is looked up each time, since it may have been repaired at the provider. A
    /// time in the future was noted by a wrong clock.
    pub fn is_old(&self, digest: &str, now: Timestamp) -> bool {
        let dead = matches!(self.trouble(now), Some(TokenTrouble::Dead(_) | TokenTrouble::Elsewhere));
        dead || self.digest != digest || self.asked_at > now || now.duration_since(self.asked_at) >= TOKEN_ASKED
    }
}

impl TokenTrouble {
    /// Stable and greppable.
    pub fn code(&self) -> Code {
        match self {
            Self::Expires { .. } => Code::DnsTokenExpires,
            Self::Dead(_) => Code::DnsToken,
            Self::Elsewhere => Code::DnsTokenAddress,
        }
    }

    /// What the operator does next.
    pub fn next(&self) -> &'static str {
        match self {
            Self::Expires { .. } | Self::Dead(_) => {
                "create a token with the permissions Zone / Zone / Read and Zone / DNS / Edit, and replace the file"
            }
            Self::Elsewhere => {
                "let the token's Client IP Address Filtering take the address from which this machine reaches the API, or remove the filter"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::NOW;

    fn token(status: &str, hours: Option<i64>) -> KnownToken {
        let expires_on = hours.map(|hours| NOW + SignedDuration::from_hours(hours));
        KnownToken { digest: "d".into(), asked_at: NOW, status: status.into(), expires_on }
    }

    #[test]
    fn what_older_versions_wrote_is_read_and_sections_are_kept_apart() {
        let zone = r#"{"id":"1","name":"a.test","account":null,"status":"active","paused":false,"seen_at":"2026-01-01T00:00:00Z"}"#;
        let old = format!(r#"{{"zones":{{"api/a.test":{zone}}},"token":null}}"#);
        let mut dns_cache: DnsCache = serde_json::from_str(&old).unwrap();
        assert_eq!(serde_json::to_string(&dns_cache).unwrap(), old, "without sections nothing is added");
        assert!(dns_cache.zones(Some("org")).is_empty());
        dns_cache.keep_zones(Some("org"), BTreeMap::new());
        dns_cache.keep_token(Some("org"), token("active", None));
        assert_eq!((dns_cache.zones(None).len(), dns_cache.token(None)), (1, None));
        assert_eq!(dns_cache.token(Some("org")), Some(token("active", None)));
    }

    #[test]
    fn c02_a_token_is_reported_a_week_before_its_end_and_when_it_is_dead() {
        let code = |status, hours| token(status, hours).trouble(NOW).map(|trouble| trouble.code());
        assert_eq!(code("active", None), None);
        assert_eq!(code("active", Some(7 * 24 + 1)), None);
        assert_eq!(code("active", Some(7 * 24)), Some(Code::DnsTokenExpires));
        assert_eq!(code("active", Some(1)), Some(Code::DnsTokenExpires));
        assert_eq!(code("active", Some(0)), Some(Code::DnsToken));
        assert_eq!(code("disabled", None), Some(Code::DnsToken));
        assert_eq!(code("refused", Some(999)), Some(Code::DnsToken));
        assert_eq!(code("unknown", None), None);
        assert_eq!(code(KnownToken::ELSEWHERE, None), Some(Code::DnsTokenAddress));
    }

    #[test]
    fn c02_a_token_is_asked_about_once_a_day_and_when_it_is_another() {
        let known = token("active", None);
        assert!(!known.is_old("d", NOW + SignedDuration::from_hours(23)));
        assert!(known.is_old("d", NOW + SignedDuration::from_hours(24)));
        assert!(known.is_old("e", NOW));
        assert!(token("disabled", None).is_old("d", NOW));
        assert!(known.is_old("d", NOW - SignedDuration::from_secs(1)), "the clock was set back");
    }

    #[test]
    fn c19_a_zone_is_reported_by_its_status_and_a_paused_one_is_served() {
        let trouble = |status: &str, paused| {
            let (id, name, account) = ("1".into(), "example.com".into(), None);
            KnownZone { id, name, account, status: status.into(), paused, seen_at: NOW }.trouble()
        };
        assert_eq!(trouble("active", false), None);
        assert_eq!(trouble("active", true), Some(ZoneTrouble::Paused));
        assert_eq!(trouble("pending", true), Some(ZoneTrouble::Pending));
        assert_eq!(trouble("initializing", false), Some(ZoneTrouble::Initializing));
        assert_eq!(trouble("moved", false), Some(ZoneTrouble::Moved));
        assert_eq!(trouble("deactivated", false), Some(ZoneTrouble::Other("deactivated".into())));
    }
}

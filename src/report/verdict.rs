//! What one handshake means: a word, a severity, and a sentence that says what to do.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cert::RevokedByCa;
use crate::cert::{DnsName, Leaf};
use crate::model::{Ari, Held, Seen, Silence, Stored};
use crate::plan::renewal;

use super::Exit;

/// A renewal is overdue when it should have happened this part of the lifetime ago. No fixed number of days: six-day
/// certificates exist.
pub(super) const OVERDUE_PART: i32 = 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    Ok,
    /// The right certificate, whose renewal should have happened by now.
    Overdue {
        since: Timestamp,
    },
    /// One of ours, and not the stored one.
    Stale,
    /// The one that a person went back to, and holds.
    Held,
    /// The stored one, where a person went back to another.
    NotHeld,
    /// Valid, and not of our making. `lacks`: a stored certificate is meant to be served instead.
    Unmanaged {
        lacks: bool,
    },
    /// Clients refuse the chain.
    Untrusted {
        why: String,
    },
    WrongName,
    Expired,
    /// Its CA has revoked it: browsers that heed their lists refuse it.
    Revoked {
        #[serde(flatten)]
        by_ca: RevokedByCa,
    },
    NotYetValid,
    /// Somebody answers, TLS does not.
    NoTls {
        why: String,
    },
    Unreachable {
        why: String,
    },
    /// Nothing answers over UDP: browsers go on over TCP, more slowly.
    NoQuic,
    /// Nobody can tell from here what visitors get.
    Unknown {
        why: String,
    },
    /// Its dates, or its chain's, are judged by a clock that cannot be right.
    ClockDoubtful,
}

impl Verdict {
    /// `stored`: what is meant to be served, if anything was issued yet.
    pub fn of(seen: &Seen, sni: &DnsName, stored: &Stored, ari: Option<&Ari>, seed: u64, now: Timestamp) -> Self {
        let leaf = match accepted(seen, sni, now) {
            Ok(leaf) => leaf,
            Err(refused) => return refused,
        };
        match &stored.current {
            Some(kept) if kept.leaf.fingerprint == leaf.fingerprint => current(leaf, ari, seed, now),
            _ if stored.former.contains(&leaf.fingerprint) => Self::Stale,
            Some(_) => Self::Unmanaged { lacks: true },
            // Nothing is issued yet: what is there has only its own dates to be judged by.
            None => match current(leaf, None, seed, now) {
                Self::Ok => Self::Unmanaged { lacks: false },
                overdue => overdue,
            },
        }
    }

    /// Of an endpoint that others keep: what a visitor meets, and whether they are late.
    pub fn of_watched(seen: &Seen, sni: &DnsName, now: Timestamp) -> Self {
        accepted(seen, sni, now).map_or_else(|refused| refused, |leaf| current(leaf, None, 0, now))
    }

    /// The same where a person went back to `held`, which is then what is meant to be served. That its renewal is overdue
    /// counts all the same: it comes to its end.
    pub(super) fn under_hold(self, held: &Held, leaf: &Leaf, now: Timestamp) -> Self {
        match self {
            Self::Ok | Self::Overdue { .. } | Self::Stale | Self::Unmanaged { .. }
                if leaf.fingerprint == held.fingerprint =>
            {
                match current(leaf, None, 0, now) {
                    Self::Ok => Self::Held,
                    overdue => overdue,
                }
            }
            Self::Ok | Self::Overdue { .. } => Self::NotHeld,
            other => other,
        }
    }

    /// The same of a certificate of which its CA's list says so.
    pub(super) fn revoked(self, by_ca: Option<RevokedByCa>) -> Self {
        match (self, by_ca) {
            (
                Self::Ok | Self::Overdue { .. } | Self::Held | Self::NotHeld | Self::Stale | Self::Unmanaged { .. },
                Some(by_ca),
            ) => Self::Revoked { by_ca },
            (other, _) => other,
        }
    }

    /// The same by a clock that cannot be right: what follows from the time alone is not known.
    pub(super) fn doubted(self) -> Self {
        match self {
            Self::Expired | Self::NotYetValid | Self::Overdue { .. } | Self::Untrusted { .. } => Self::ClockDoubtful,
            other => other,
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::Ok => Exit::Ok,
            Self::Overdue { .. }
            | Self::Held
            | Self::Unmanaged { lacks: false }
            | Self::NoQuic
            | Self::Unknown { .. }
            | Self::ClockDoubtful => Exit::Warning,
            Self::Stale | Self::NotHeld | Self::Unmanaged { lacks: true } => Exit::NotDelivered,
            Self::Untrusted { .. }
            | Self::WrongName
            | Self::Expired
            | Self::Revoked { .. }
            | Self::NotYetValid
            | Self::NoTls { .. }
            | Self::Unreachable { .. } => Exit::Hurt,
        }
    }

    /// As the JSON's `verdict` spells it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Overdue { .. } => "overdue",
            Self::Stale => "stale",
            Self::Held => "held",
            Self::NotHeld => "not-held",
            Self::Unmanaged { .. } => "unmanaged",
            Self::Untrusted { .. } => "untrusted",
            Self::WrongName => "wrong-name",
            Self::Expired => "expired",
            Self::Revoked { .. } => "revoked",
            Self::NotYetValid => "not-yet-valid",
            Self::NoTls { .. } => "no-tls",
            Self::Unreachable { .. } => "unreachable",
            Self::NoQuic => "no-quic",
            Self::Unknown { .. } => "unknown",
            Self::ClockDoubtful => "clock-doubtful",
        }
    }

    /// What it means and what to do, for a person.
    pub fn sentence(&self) -> String {
        match self {
            Self::Ok => String::new(),
            Self::Overdue { since } => {
                format!("renewal was due on {}: see `certd plan` for what holds it up", super::words::day(*since))
            }
            Self::Stale => "an earlier certificate of ours: `certd deploy` brings the stored one".into(),
            Self::Held => "a person went back to it: `certd deploy --latest` brings the stored one".into(),
            Self::NotHeld => "the stored one, and another is held: `certd deploy` goes back to that".into(),
            Self::Unmanaged { lacks: false } => "valid, and not issued by certd: `certd renew` replaces it".into(),
            Self::Unmanaged { lacks: true } => "valid, and not the stored one: `certd deploy` replaces it".into(),
            Self::Untrusted { why } => format!("clients refuse it: {why}; `certd renew` replaces it"),
            Self::WrongName => "for another name: does the server read the configured paths?".into(),
            Self::Expired => "visitors are refused now: run `certd renew`".into(),
            Self::Revoked { by_ca: RevokedByCa { at, reason } } => format!(
                "its CA has revoked it on {} (reason {reason} of RFC 5280), and browsers refuse it: `certd renew` replaces it",
                super::words::day(*at)
            ),
            Self::NotYetValid => "not valid yet: is a clock wrong?".into(),
            Self::NoTls { why } => format!("{why}: look at the server's error log"),
            Self::ClockDoubtful => "nobody knows, since this machine's clock cannot be right: set it".into(),
            Self::Unreachable { why } => format!("{why}: is the server up, and the port open to us?"),
            Self::NoQuic => {
                "no answer over UDP, so that browsers stay with TCP: is UDP open to us, and does the server listen (`listen … quic`)?".into()
            }
            Self::Unknown { why } => format!("{why}; what visitors get is not known"),
        }
    }

    /// It is the certificate that the node is meant to serve, and a visitor accepts it.
    pub(super) fn is_meant(&self) -> bool {
        self.exit() == Exit::Ok || matches!(self, Self::Held | Self::Overdue { .. })
    }

    /// As [`Verdict::sentence`], of a certificate that certd neither issues nor delivers.
    pub fn sentence_of_watched(&self) -> String {
        match self {
            Self::Overdue { since } => {
                format!("its own renewal was due on {}: see to it where it is issued", super::words::day(*since))
            }
            Self::Untrusted { why } => format!("clients refuse it: {why}; a private CA's root goes into `ca_file`"),
            Self::WrongName => "for another name: are `address` and `sni` those of one server?".into(),
            Self::Expired => "visitors are refused now: renew it where it is issued".into(),
            other => other.sentence(),
        }
    }
}

/// The leaf that a visitor accepts, or why none does.
fn accepted<'a>(seen: &'a Seen, sni: &DnsName, now: Timestamp) -> Result<&'a Leaf, Verdict> {
    let (leaf, distrust) = match seen {
        Seen::Silence(silence @ Silence::NoWay(_)) => return Err(Verdict::Unknown { why: silence.to_string() }),
        Seen::Silence(Silence::NoQuic) => return Err(Verdict::NoQuic),
        Seen::Silence(silence) if silence.somebody_there() => return Err(Verdict::NoTls { why: silence.to_string() }),
        Seen::Silence(silence) => return Err(Verdict::Unreachable { why: silence.to_string() }),
        Seen::Leaf { leaf, distrust } => (leaf, distrust),
    };
    if now >= leaf.not_after {
        return Err(Verdict::Expired);
    }
    if now < leaf.not_before {
        return Err(Verdict::NotYetValid);
    }
    if !leaf.names.covers(sni) {
        return Err(Verdict::WrongName);
    }
    match distrust {
        Some(why) => Err(Verdict::Untrusted { why: why.clone() }),
        None => Ok(leaf),
    }
}

fn current(leaf: &Leaf, ari: Option<&Ari>, seed: u64, now: Timestamp) -> Verdict {
    let (since, _) = renewal::due(leaf, ari, seed);
    let grace: SignedDuration = renewal::lifetime(leaf) / OVERDUE_PART;
    if now.duration_since(since) > grace { Verdict::Overdue { since } } else { Verdict::Ok }
}

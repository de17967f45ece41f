//! What one handshake means: a word, a severity, and a sentence that says what to do.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cert::RevokedByCa;
use crate::cert::{DnsName, Leaf};
use crate::model::{Ari, Held, ProbeError, Seen, Stored};
use crate::plan::renewal;

use super::Exit;

/// A renewal is overdue when it should have happened this part of the lifetime ago. No fixed number of days: six-day
/// certificates exist.
pub(super) const OVERDUE_PART: i32 = 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
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

    /// What it means, for a person.
    pub(super) fn meaning(&self) -> String {
        match self {
            Self::Ok => String::new(),
            Self::Overdue { since } => format!("renewal was due on {}", super::words::day(*since)),
            Self::Stale => "an earlier certificate of ours".into(),
            Self::Held => "the certificate that a person went back to".into(),
            Self::NotHeld => "the stored certificate, while another is held".into(),
            Self::Unmanaged { lacks: false } => "valid, and not issued by certd".into(),
            Self::Unmanaged { lacks: true } => "valid, and not the stored certificate".into(),
            Self::Untrusted { why } => format!("clients refuse it: {why}"),
            Self::WrongName => "a certificate for another name".into(),
            Self::Expired => "visitors are refused now".into(),
            Self::Revoked { by_ca: RevokedByCa { at, reason } } => format!(
                "its CA has revoked it on {} (reason {reason} of RFC 5280), and browsers refuse it",
                super::words::day(*at)
            ),
            Self::NotYetValid => "its validity has not begun".into(),
            Self::NoTls { why } | Self::Unreachable { why } => why.clone(),
            Self::NoQuic => "no answer over UDP, so that browsers stay with TCP".into(),
            Self::Unknown { why } => format!("{why}; what visitors get is not known"),
            Self::ClockDoubtful => "unknown: this machine's clock is wrong".into(),
        }
    }

    /// What to do about it; empty: nothing.
    pub(super) fn next(&self) -> &'static str {
        match self {
            Self::Ok => "",
            Self::Overdue { .. } => "see what holds it up with `certd plan`",
            Self::Stale | Self::Unmanaged { lacks: true } => "run `certd deploy`",
            Self::Held => "run `certd deploy --latest` when the newest is good again",
            Self::NotHeld => "run `certd deploy` to go back to the held one",
            Self::Unmanaged { lacks: false } | Self::Untrusted { .. } | Self::Revoked { .. } | Self::Expired => {
                "run `certd renew`"
            }
            Self::WrongName => "does the server read the configured paths?",
            Self::NotYetValid => "is a clock wrong?",
            Self::NoTls { .. } => "look at the server's error log",
            Self::Unreachable { .. } => "is the server up, and the port open to this machine?",
            Self::NoQuic => "is UDP open to this machine, and does the server listen (nginx: `listen … quic`)?",
            Self::Unknown { .. } => "",
            Self::ClockDoubtful => "set it: timedatectl",
        }
    }

    /// Both in one line.
    pub fn sentence(&self) -> String {
        joined(&self.meaning(), self.next())
    }

    /// It is the certificate that the node is meant to serve, and a visitor accepts it.
    pub(super) fn is_desired(&self) -> bool {
        self.exit() == Exit::Ok || matches!(self, Self::Held | Self::Overdue { .. })
    }

    /// Meaning and advice of a certificate that certd neither issues nor delivers.
    pub(super) fn of_watched_words(&self) -> (String, &'static str) {
        let next = match self {
            Self::Overdue { .. } | Self::Expired | Self::Revoked { .. } => "renew it where it is issued",
            Self::Untrusted { .. } => "put a private CA's root into `ca_file`",
            Self::WrongName => "are `address` and `sni` those of one server?",
            other => other.next(),
        };
        (self.meaning(), next)
    }

    /// Both in one line.
    pub fn sentence_of_watched(&self) -> String {
        let (meaning, next) = self.of_watched_words();
        joined(&meaning, next)
    }
}

pub(super) fn joined(meaning: &str, next: &str) -> String {
    if meaning.is_empty() || next.is_empty() { format!("{meaning}{next}") } else { format!("{meaning}: {next}") }
}

/// The leaf that a visitor accepts, or why none does.
fn accepted<'a>(seen: &'a Seen, sni: &DnsName, now: Timestamp) -> Result<&'a Leaf, Verdict> {
    let (leaf, distrust) = match seen {
        Seen::Silence(silence @ ProbeError::NoWay(_)) => return Err(Verdict::Unknown { why: silence.to_string() }),
        Seen::Silence(ProbeError::NoQuic) => return Err(Verdict::NoQuic),
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

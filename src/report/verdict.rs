//! The verdict on one handshake: a word, a severity, and a sentence with advice.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cert::RevokedByCa;
use crate::cert::{DnsName, Leaf};
use crate::model::{Ari, Held, ProbeError, Refused, Seen, Stored};
use crate::plan::renewal;

use super::Exit;

/// A renewal is overdue when it was due this fraction of the lifetime ago. Not a fixed number of days: six-day
/// certificates exist.
pub(super) const OVERDUE_PART: i32 = 10;

/// Advice where this machine has no route to an address.
pub(super) const NO_ROUTE: &str = "see `ip route get` with the address on this machine, and give it IPv6; or name a node by its \
                                   IPv4 address alone (`address`)";

/// Advice where this machine has no more open files.
pub(super) const NO_FILES: &str = "raise this machine's limit of open files (LimitNOFILE= of the unit, ulimit -n), or end what else \
                                   has them open";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    Ok,
    /// The right certificate, but its renewal is overdue.
    Overdue {
        since: Timestamp,
    },
    /// An earlier certificate of ours.
    Stale,
    /// The held certificate, which an operator went back to.
    Held,
    /// The stored one, while another is held.
    NotHeld,
    /// Valid, but not issued by certd. `lacks`: a stored certificate should be served instead.
    Unmanaged {
        lacks: bool,
    },
    /// Clients refuse the chain.
    Untrusted {
        why: String,
    },
    WrongName,
    Expired,
    /// Its CA has revoked it: browsers that check revocation refuse it.
    Revoked {
        #[serde(flatten)]
        by_ca: RevokedByCa,
    },
    NotYetValid,
    /// The port answers, but not with TLS.
    NoTls {
        why: String,
    },
    Unreachable {
        why: String,
    },
    /// The server has no certificate with a key of this algorithm for the name, and shows another.
    Absent {
        why: String,
    },
    /// No answer over UDP: browsers use TCP, more slowly. `required`: the configuration asks for QUIC, and nothing has
    /// answered within the last day either.
    NoQuic {
        required: bool,
    },
    /// It cannot be determined from here what visitors get.
    Unknown {
        why: String,
        #[serde(skip)]
        because: Blind,
    },
    /// Its dates or its chain cannot be judged, because this machine's clock is implausible.
    ClockDoubtful,
}

/// Why it cannot be determined what visitors get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blind {
    /// This machine has no route to the address.
    NoRoute,
    /// This machine had no more open files.
    NoSocket,
    /// The server speaks no TLS that certd speaks.
    NothingInCommon,
    /// The sentence says what to do.
    #[default]
    Other,
}

impl Verdict {
    /// `stored`: what should be served, if anything was issued yet.
    pub fn of(seen: &Seen, sni: &DnsName, stored: &Stored, ari: Option<&Ari>, seed: u64, now: Timestamp) -> Self {
        let leaf = match accepted(seen, sni, now) {
            Ok(leaf) => leaf,
            Err(refused) => return refused,
        };
        match &stored.current {
            Some(kept) if kept.leaf.fingerprint == leaf.fingerprint => current(leaf, ari, seed, now),
            _ if stored.former.contains(&leaf.fingerprint) => Self::Stale,
            Some(_) => Self::Unmanaged { lacks: true },
            // Nothing is issued yet: judge the certificate by its own dates.
            None => match current(leaf, None, seed, now) {
                Self::Ok => Self::Unmanaged { lacks: false },
                overdue => overdue,
            },
        }
    }

    /// For a watched endpoint: what a visitor gets, and whether its renewal is overdue.
    pub fn of_watched(seen: &Seen, sni: &DnsName, now: Timestamp) -> Self {
        accepted(seen, sni, now).map_or_else(|refused| refused, |leaf| current(leaf, None, 0, now))
    }

    /// The verdict while `held` should be served. It can still be overdue, since it will expire.
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

    /// The verdict for a certificate on its CA's revocation list.
    pub(super) fn revoked(self, by_ca: Option<RevokedByCa>) -> Self {
        match (self, by_ca) {
            (
                Self::Ok | Self::Overdue { .. } | Self::Held | Self::NotHeld | Self::Stale | Self::Unmanaged { .. },
                Some(by_ca),
            ) => Self::Revoked { by_ca },
            (other, _) => other,
        }
    }

    /// The verdict with an implausible clock: whatever depends on the time is unknown.
    pub(super) fn doubted(self) -> Self {
        match self {
            Self::Expired | Self::NotYetValid | Self::Overdue { .. } | Self::Untrusted { .. } => Self::ClockDoubtful,
            other => other,
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::Ok | Self::NoQuic { required: false } => Exit::Ok,
            Self::Overdue { .. }
            | Self::Held
            | Self::Unmanaged { lacks: false }
            | Self::NoQuic { required: true }
            | Self::Unknown { .. }
            | Self::ClockDoubtful => Exit::Warning,
            Self::Stale | Self::NotHeld | Self::Absent { .. } | Self::Unmanaged { lacks: true } => Exit::NotDelivered,
            Self::Untrusted { .. }
            | Self::WrongName
            | Self::Expired
            | Self::Revoked { .. }
            | Self::NotYetValid
            | Self::NoTls { .. }
            | Self::Unreachable { .. } => Exit::Hurt,
        }
    }

    /// The word in the JSON's `verdict`.
    pub fn word(&self) -> String {
        super::words::tag(self, "verdict")
    }

    /// The meaning, for people.
    pub(super) fn meaning(&self) -> String {
        match self {
            Self::Ok => String::new(),
            Self::Overdue { since } => format!("renewal was due on {}", super::words::day(*since)),
            Self::Stale => "an earlier certificate of ours".into(),
            Self::Held => "the held certificate, which an operator went back to".into(),
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
            Self::NoTls { why } | Self::Unreachable { why } | Self::Absent { why } => why.clone(),
            Self::NoQuic { .. } => "no answer over UDP, so that browsers stay with TCP".into(),
            Self::Unknown { why, .. } => format!("{why}; what visitors get is not known"),
            Self::ClockDoubtful => "unknown: this machine's clock is wrong; set it".into(),
        }
    }

    /// Advice; empty: none.
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
            Self::Absent { .. } => super::words::READ_BOTH,
            Self::NoTls { .. } => "look at the server's error log",
            Self::Unreachable { .. } => "is the server up, and the port open to this machine?",
            Self::NoQuic { required: false } => "",
            Self::NoQuic { required: true } => {
                "does the server listen (nginx: `listen … quic`), and is UDP open to this machine? After a reload, nginx's \
                 old workers hold new handshakes until long requests end; `worker_shutdown_timeout` bounds it"
            }
            Self::Unknown { because: Blind::NoRoute, .. } => NO_ROUTE,
            Self::Unknown { because: Blind::NoSocket, .. } => NO_FILES,
            Self::Unknown { because: Blind::NothingInCommon, .. } => {
                "let the server take one of these too (nginx: `ssl_protocols TLSv1.2 TLSv1.3`, and ECDHE with GCM in \
                 `ssl_ciphers`): until then certd delivers, and cannot prove what is served"
            }
            Self::Unknown { because: Blind::Other, .. } => "",
            Self::ClockDoubtful => "run `timedatectl`",
        }
    }

    /// Meaning and advice in one line.
    pub fn sentence(&self) -> String {
        joined(&self.meaning(), self.next())
    }

    /// The node serves the desired certificate, and visitors accept it.
    pub(super) fn is_desired(&self) -> bool {
        self.exit() == Exit::Ok || matches!(self, Self::Held | Self::Overdue { .. })
    }

    /// Meaning and advice for a certificate that certd neither issues nor delivers.
    pub(super) fn of_watched_words(&self) -> (String, &'static str) {
        let next = match self {
            Self::Overdue { .. } | Self::Expired | Self::Revoked { .. } => "renew it where it is issued",
            Self::Untrusted { .. } => "put a private CA's root into `ca_file`",
            Self::WrongName => "are `address` and `sni` those of one server?",
            other => other.next(),
        };
        (self.meaning(), next)
    }

    /// Meaning and advice in one line.
    pub fn sentence_of_watched(&self) -> String {
        let (meaning, next) = self.of_watched_words();
        joined(&meaning, next)
    }
}

pub(super) fn joined(meaning: &str, next: &str) -> String {
    if meaning.is_empty() || next.is_empty() { format!("{meaning}{next}") } else { format!("{meaning}: {next}") }
}

/// The leaf if visitors accept it, or else the verdict that says why not.
fn accepted<'a>(seen: &'a Seen, sni: &DnsName, now: Timestamp) -> Result<&'a Leaf, Verdict> {
    let leaf = match seen {
        Seen::Silence(silence) if silence.says_nothing_of_visitors() => {
            let because = match silence {
                ProbeError::NoRoute(_) => Blind::NoRoute,
                ProbeError::NoSocket(_) => Blind::NoSocket,
                ProbeError::NothingInCommon(_) => Blind::NothingInCommon,
                _ => Blind::Other,
            };
            return Err(Verdict::Unknown { why: silence.to_string(), because });
        }
        Seen::Silence(ProbeError::NoQuic) => return Err(Verdict::NoQuic { required: true }),
        Seen::Silence(silence @ ProbeError::NoSuchKey(_)) => return Err(Verdict::Absent { why: silence.to_string() }),
        Seen::Silence(silence) if silence.somebody_there() => return Err(Verdict::NoTls { why: silence.to_string() }),
        Seen::Silence(silence) => return Err(Verdict::Unreachable { why: silence.to_string() }),
        Seen::Leaf { leaf, .. } => leaf,
    };
    match seen.refused(sni, now) {
        None => Ok(leaf),
        Some(Refused::Expired) => Err(Verdict::Expired),
        Some(Refused::NotYetValid) => Err(Verdict::NotYetValid),
        Some(Refused::WrongName) => Err(Verdict::WrongName),
        Some(Refused::Untrusted(why)) => Err(Verdict::Untrusted { why }),
    }
}

fn current(leaf: &Leaf, ari: Option<&Ari>, seed: u64, now: Timestamp) -> Verdict {
    let (since, _) = renewal::due(leaf, ari, seed);
    let grace: SignedDuration = renewal::lifetime(leaf) / OVERDUE_PART;
    if now.duration_since(since) > grace { Verdict::Overdue { since } } else { Verdict::Ok }
}

//! The instant of renewal, and what it follows from.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cert::{CertName, Leaf};
use crate::model::{Ari, Observed};

/// Without a window from the CA, renew when a third of the lifetime is left (Let's Encrypt's integration guide) …
const LEFT_OF_ORDINARY: i32 = 3;
/// … and half of it when the lifetime is under ten days, where a third leaves no room for a failed weekend.
const LEFT_OF_SHORT: i32 = 2;
const SHORT: SignedDuration = SignedDuration::from_hours(10 * 24);
/// A CA's window may be late, but no later than this part of the lifetime before expiry.
const EMERGENCY_FLOOR: i32 = 20;

/// What the instant of renewal follows from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "basis", rename_all = "snake_case")]
pub enum Basis {
    /// RFC 9773: an instant drawn within the CA's window.
    Ari { start: Timestamp, end: Timestamp, explanation: Option<String> },
    /// A part of the lifetime is left.
    Lifetime { left: i32 },
    /// The CA's window is later than the last twentieth of the lifetime.
    Floor,
}

/// When a leaf is due for renewal, and what that follows from.
pub fn due(leaf: &Leaf, ari: Option<&Ari>, seed: u64) -> (Timestamp, Basis) {
    let lifetime = lifetime(leaf);
    let left = if lifetime < SHORT { LEFT_OF_SHORT } else { LEFT_OF_ORDINARY };
    let by_lifetime = (before(leaf.not_after, lifetime / left), Basis::Lifetime { left });
    let Some(ari) = ari else { return by_lifetime };
    // A window that begins before the certificate is valid is due no earlier than the certificate.
    let at = drawn(ari, leaf, seed).max(leaf.not_before);
    // RFC 9773 section 4.2: without an answer a client makes "its own determination of when to renew". The last known
    // window may still bring renewal forward: the CA may have set it for a certificate that it has revoked.
    if ari.doubted && at >= by_lifetime.0 {
        return by_lifetime;
    }
    let floor = before(leaf.not_after, lifetime / EMERGENCY_FLOOR);
    if at > floor {
        return (floor, Basis::Floor);
    }
    let Ari { start, end, explanation, .. } = ari.clone();
    (at, Basis::Ari { start, end, explanation })
}

/// RFC 9773 section 4.2: "Select a uniform random time within the suggested window." Drawn from the certificate and the
/// installation's seed, so that it is the same in every run without being stored.
fn drawn(ari: &Ari, leaf: &Leaf, seed: u64) -> Timestamp {
    let mut drawn = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    drawn.update(leaf.fingerprint.to_string().as_bytes());
    drawn.update(&seed.to_be_bytes());
    let number = drawn.finish().as_ref().iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let width = u64::try_from(ari.end.duration_since(ari.start).as_secs()).unwrap_or(0).max(1);
    let offset = i64::try_from(number % width).unwrap_or(0);
    ari.start.saturating_add(SignedDuration::from_secs(offset)).unwrap_or(ari.start)
}

/// The CA's window for this leaf, when it makes sense: one that ends before it begins, or that is wider than the
/// certificate's life, is ignored.
pub fn ari_of<'a>(observed: &'a Observed, name: &CertName, leaf: &Leaf) -> Option<&'a Ari> {
    let ari = observed.state.ari.get(name).filter(|ari| ari.fingerprint == leaf.fingerprint)?;
    let width = ari.end.duration_since(ari.start);
    (width > SignedDuration::ZERO && width <= lifetime(leaf)).then_some(ari)
}

pub fn lifetime(leaf: &Leaf) -> SignedDuration {
    leaf.not_after.duration_since(leaf.not_before)
}

fn before(instant: Timestamp, span: SignedDuration) -> Timestamp {
    instant.saturating_sub(span).unwrap_or(Timestamp::MIN)
}

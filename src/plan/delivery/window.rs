//! A node's maintenance window, and what overrides it.

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::NodeName;
use crate::config::Certificate;
use crate::model::{ProbeError, Seen};

use super::super::hold::NEAR_THE_END;
use super::{Facts, of};

/// A node is changed outside its window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Early {
    /// When its window opens.
    pub opens: Timestamp,
    pub because: Because,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// The node was named on the command line.
    Asked,
    /// Visitors are hurt now, so waiting protects nobody.
    Hurt,
    /// What is served is revoked: browsers refuse it, or its key is compromised.
    Revoked,
    /// What is served would be expired, or nearly, when the window opens.
    Ends { not_after: Timestamp },
}

/// Whether the node may be changed now; `Some`: although its window is closed.
///
/// # Errors
/// When its window opens.
pub(super) fn allows(
    facts: &Facts<'_>,
    certificate: &Certificate,
    node: &NodeName,
) -> Result<Option<Early>, Timestamp> {
    let Facts { config, observed, served, now, .. } = *facts;
    let Some(opens) = config.node(node).and_then(|node| node.windows.opens(now)) else { return Ok(None) };
    let early = |because| Ok(Some(Early { opens, because }));
    if observed.asked.ignore_window.contains(node) {
        return early(Because::Asked);
    }
    let mut ends = None;
    let mut seen = false;
    for served in of(served, node, &certificate.name) {
        seen = true;
        if matches!(&served.seen, Seen::Silence(silence) if silence.says_nothing_of_visitors())
            || matches!(served.seen, Seen::Silence(ProbeError::NoSuchKey(_)))
        {
            // What visitors get is unknown, or is another pair: no reason to come early.
            continue;
        }
        let Seen::Leaf { leaf, distrust: None } = &served.seen else { return early(Because::Hurt) };
        if now < leaf.not_before || leaf.not_after <= now || !leaf.names.covers(&served.sni) {
            return early(Because::Hurt);
        }
        if observed.state.revoked.contains_key(&leaf.fingerprint) {
            return early(Because::Revoked);
        }
        let margin = leaf.not_after.duration_since(leaf.not_before) / NEAR_THE_END;
        if leaf.not_after.duration_since(opens) < margin {
            ends = ends.min(Some(leaf.not_after)).or(Some(leaf.not_after));
        }
    }
    match ends {
        Some(not_after) => early(Because::Ends { not_after }),
        None if seen => Err(opens),
        None => early(Because::Hurt),
    }
}

//! A node that kept its new files without a handshake that proves them is reloaded once for a generation. After that it
//! is only looked at, until the handshakes, its disk or its install settings change, or an operator asks for a
//! delivery.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::cert::{CertName, Generation, NodeName};
use crate::config::Config;
use crate::model::{Finding, PersistedState, ProbeError, Seen, Unproven};
use crate::plan::ServedBy;

use super::super::installs;
use super::{DeliveryWait, Facts, forget, of};

/// `failure`: why the delivery is not proven, and what is served then; `None`: it is, or the node went back.
pub fn ended(
    config: &Config,
    state: &mut PersistedState,
    node: &NodeName,
    name: &CertName,
    generation: &Generation,
    failure: Option<(Finding, &ServedBy<'_>)>,
    now: Timestamp,
) {
    match failure {
        Some((failure, served)) => {
            let seen = seen(served, node, name);
            let install = installs::whole(config, node, name);
            let fresh = Unproven { generation: generation.clone(), since: now, seen, install, failure };
            state.unproven.entry(node.clone()).or_default().insert(name.clone(), fresh);
        }
        None => forget(&mut state.unproven, node, name),
    }
}

pub(super) fn wait(
    facts: &Facts<'_>,
    node: &NodeName,
    name: &CertName,
    generation: &Generation,
) -> Option<DeliveryWait> {
    let Facts { config, observed, served, .. } = *facts;
    let unproven = observed.state.unproven.get(node)?.get(name)?;
    let same = &unproven.generation == generation
        && unproven.seen == seen(served, node, name)
        // Earlier versions did not note it.
        && (unproven.install.is_empty() || unproven.install == installs::whole(config, node, name));
    let Unproven { since, failure, .. } = unproven.clone();
    (same && !observed.asked.ignore_backoff).then(|| DeliveryWait::Unproven { since, failure: Box::new(failure) })
}

/// Summarised without error texts, which differ from one time to the next.
fn seen(served: &ServedBy<'_>, node: &NodeName, name: &CertName) -> BTreeSet<String> {
    let word = |seen: &Seen| match seen {
        Seen::Leaf { leaf, distrust } => {
            format!("{}{}", leaf.fingerprint, if distrust.is_some() { " distrusted" } else { "" })
        }
        Seen::Silence(ProbeError::Refused) => "refused".to_owned(),
        Seen::Silence(ProbeError::Tls(_)) => "no TLS".to_owned(),
        Seen::Silence(ProbeError::NoSuchKey(_)) => "no such key".to_owned(),
        Seen::Silence(ProbeError::Unspoken(_)) => "another protocol".to_owned(),
        Seen::Silence(ProbeError::TurnedAway(_)) => "turned away".to_owned(),
        Seen::Silence(ProbeError::NothingInCommon(_)) => "nothing in common".to_owned(),
        Seen::Silence(ProbeError::NoRoute(_)) => "no route".to_owned(),
        Seen::Silence(_) => "no answer".to_owned(),
    };
    of(served, node, name).map(|served| word(&served.seen)).collect()
}

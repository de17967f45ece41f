//! Of an ECDSA and an RSA certificate one may be absent: the server reads the other pair alone.

use super::{DeliveryReason, NodeTask};
use crate::cert::CertName;
use crate::model::ProbeError;
use crate::plan::rollout::Outcome;

impl NodeTask {
    /// Certificates of a key algorithm of which the server has no pair yet.
    pub fn absent(&self) -> impl Iterator<Item = &CertName> {
        self.certificates.iter().filter(|(_, reason)| is_absent(reason)).map(|(name, _)| name)
    }
}

fn is_absent(reason: &DeliveryReason) -> bool {
    matches!(reason, DeliveryReason::Silent { silence: ProbeError::NoSuchKey(_) })
}

/// The outcome for one certificate of a node: that another one is absent does not concern it.
pub fn outcome(reason: &DeliveryReason, outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Absent { .. } if !is_absent(reason) => Outcome::Served,
        other => other.clone(),
    }
}

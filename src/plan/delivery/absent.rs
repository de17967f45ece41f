//! Of an ECDSA and an RSA certificate one may be absent: the server reads the other pair alone.

use super::{DeliveryReason, NodeTask};
use crate::cert::CertName;
use crate::model::ProbeError;

impl NodeTask {
    /// Certificates of a key algorithm of which the server has no pair yet.
    pub fn absent(&self) -> impl Iterator<Item = &CertName> {
        let absent =
            |reason: &DeliveryReason| matches!(reason, DeliveryReason::Silent { silence: ProbeError::NoSuchKey(_) });
        self.certificates.iter().filter(move |(_, reason)| absent(reason)).map(|(name, _)| name)
    }
}

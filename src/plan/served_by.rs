//! The handshakes of a pass, arranged once: a plan and a report ask for those of each pair, and a look through all of
//! them for each would cost the square of their number.

use std::collections::BTreeMap;

use crate::cert::{CertName, NodeName};
use crate::model::Served;

/// By certificate; for each by node, and for each of these in the order in which they were made.
#[derive(Debug, Default)]
pub struct ServedBy<'a>(BTreeMap<&'a CertName, Vec<&'a Served>>);

impl<'a> ServedBy<'a> {
    pub fn new(served: impl IntoIterator<Item = &'a Served>) -> Self {
        let mut by_certificate: BTreeMap<&CertName, Vec<&Served>> = BTreeMap::new();
        for served in served {
            by_certificate.entry(&served.certificate).or_default().push(served);
        }
        by_certificate.values_mut().for_each(|of_name| of_name.sort_by(|one, other| one.node.cmp(&other.node)));
        Self(by_certificate)
    }

    pub fn of_certificate(&self, certificate: &CertName) -> &[&'a Served] {
        self.0.get(certificate).map_or(&[], Vec::as_slice)
    }

    /// Of one pair.
    pub fn of(&self, node: &NodeName, certificate: &CertName) -> &[&'a Served] {
        let of_name = self.of_certificate(certificate);
        let start = of_name.partition_point(|served| served.node < *node);
        let count = of_name[start..].iter().take_while(|served| served.node == *node).count();
        &of_name[start..start + count]
    }
}

//! Which handshakes say something of a node.

use crate::cert::{CertName, NodeName};
use crate::model::{Observed, ProbeError, Seen, Served};

/// The handshakes that decide about a node. A missing UDP answer does not count: it shows nothing of what the node has,
/// a delivery cannot mend it, and browsers fall back to TCP. Nor does an address to which this machine has no route, where
/// there is another.
pub(in crate::plan) fn of<'a>(
    observed: &'a Observed,
    node: &'a NodeName,
    name: &'a CertName,
) -> impl Iterator<Item = &'a Served> {
    let all = move || {
        let of_node = observed.served.iter().filter(move |served| &served.node == node && &served.certificate == name);
        of_node.filter(|served| !matches!(served.seen, Seen::Silence(ProbeError::NoQuic)))
    };
    let has_route = |served: &Served| !matches!(served.seen, Seen::Silence(ProbeError::NoRoute(_)));
    let any = all().any(has_route);
    all().filter(move |served| !any || has_route(served))
}

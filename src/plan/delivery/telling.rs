//! Which handshakes say something of a node.

use crate::cert::{CertName, NodeName};
use crate::model::{Observed, ProbeError, Seen, Served};

/// The handshakes that decide about a node. A missing UDP answer does not count: it shows nothing of what the node has,
/// a delivery cannot mend it, and browsers fall back to TCP. Nor does an address that this machine could not ask, where there
/// is another.
pub(in crate::plan) fn of<'a>(
    observed: &'a Observed,
    node: &'a NodeName,
    name: &'a CertName,
) -> impl Iterator<Item = &'a Served> {
    let all = move || {
        let of_node = observed.served.iter().filter(move |served| &served.node == node && &served.certificate == name);
        of_node.filter(|served| !matches!(served.seen, Seen::Silence(ProbeError::NoQuic)))
    };
    let was_asked = |served: &Served| !matches!(&served.seen, Seen::Silence(silence) if silence.is_of_this_machine());
    let any = all().any(was_asked);
    all().filter(move |served| !any || was_asked(served))
}

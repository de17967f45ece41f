//! Which handshakes say something of a node.

use crate::cert::{CertName, NodeName};
use crate::model::{ProbeError, Seen, Served};
use crate::plan::ServedBy;

/// The handshakes that decide about a node. A missing UDP answer does not count: it shows nothing of what the node has,
/// a delivery cannot mend it, and browsers fall back to TCP. Nor does an address that this machine could not ask, where there
/// is another.
pub(in crate::plan) fn of<'s, 'a>(
    served: &'s ServedBy<'a>,
    node: &NodeName,
    name: &CertName,
) -> impl Iterator<Item = &'a Served> + use<'s, 'a> {
    let of_node = served.of(node, name);
    let all = move || of_node.iter().filter(|served| !matches!(served.seen, Seen::Silence(ProbeError::NoQuic)));
    let was_asked = |served: &Served| !matches!(&served.seen, Seen::Silence(silence) if silence.is_of_this_machine());
    let any = all().any(|served| was_asked(served));
    all().copied().filter(move |served| !any || was_asked(served))
}

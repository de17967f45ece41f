//! What is to be said of a step.

use crate::context::effect_failure::of_dns;
use crate::dns::DnsError;
use crate::model::{AddressRecord, Code, Finding, Marker, marker_name};
use crate::plan::failover::Change;

pub(crate) fn unread(owner: &str, error: &DnsError) -> Finding {
    let cause = of_dns(owner, error);
    let what = format!("failover cannot read the records of {owner}: {}", cause.what);
    Finding::new(Code::FailoverUnread, owner, what, cause.next, cause.advice)
}

pub(super) fn marker_failed(owner: &str, error: &DnsError) -> Finding {
    let cause = of_dns(owner, error);
    let what = format!("the TXT record at {} could not be changed: {}", marker_name(owner), cause.what);
    Finding::new(Code::FailoverFailed, owner, what, cause.next, cause.advice)
}

pub(super) fn attempt_failed(change: &Change, error: &DnsError) -> Finding {
    let (AddressRecord { name: owner, address, .. }, what) = match change {
        Change::Withdraw { record, .. } => (record, "withdrawn"),
        Change::Restore(entry) => (&entry.record, "brought back"),
    };
    let cause = of_dns(owner, error);
    let what = format!("{address} could not be {what}: {}", cause.what);
    Finding::new(Code::FailoverFailed, owner, what, cause.next, cause.advice)
}

pub(crate) fn of_unbelieved(owner: &str, marker: &Marker) -> Finding {
    let what = format!(
        "a TXT record at {} says that {} is withdrawn, which is no configured node's",
        marker_name(owner),
        marker.address
    );
    let next = "configure its node, or remove that TXT record, and make the A or AAAA record by hand if it is wanted";
    Finding::for_a_person(Code::FailoverHeld, owner, what, next)
}

/// Where nothing is to be changed.
pub(super) fn of_stale(owner: &str, text: &str) -> Finding {
    let address = Marker::parse(text).map(|marker| marker.address.to_string()).unwrap_or_default();
    let what = format!("a TXT record at {} says that {address} is withdrawn, which is in DNS", marker_name(owner));
    let next = "remove that TXT record: failover changes nothing in this mode";
    Finding::for_a_person(Code::FailoverHeld, owner, what, next)
}

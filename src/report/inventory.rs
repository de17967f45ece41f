//! DNS compared with the nodes, by certificate and name.

use core::net::IpAddr;
use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, DnsName, NodeName};
use crate::config::Config;
use crate::model::{Finding, InDns, Inventory, Observed, Severity};
use crate::plan::inventory::findings;

use super::Style;
use super::notes::item;
use super::severity::{Shown, with_severity};

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct InventoryReport {
    pub certificate: CertName,
    pub name: DnsName,
    /// The target of its CNAMEs; `null`: it has none.
    pub alias: Option<String>,
    /// As its authoritative servers report them.
    pub addresses: BTreeSet<IpAddr>,
    pub ttl: Option<u32>,
    /// Warnings first.
    #[serde(serialize_with = "with_severity")]
    #[schemars(with = "Vec<Shown<'static>>")]
    pub findings: Vec<Finding>,
}

impl InventoryReport {
    pub(super) fn warns(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Warning)
    }
}

/// The selected names, in the order of certificates and names.
pub(super) fn reports(config: &Config, observed: &Observed, now: Timestamp) -> Vec<InventoryReport> {
    let Some(inventory) = &observed.inventory else { return Vec::new() };
    let mut reports = Vec::new();
    let wanted = |name: &CertName| observed.asked.wants(name);
    for certificate in config.certificates.iter().filter(|it| it.inventory && wanted(&it.name)) {
        let looks = certificate.names.iter().filter_map(|name| inventory.names.iter().find(|look| look.name == *name));
        reports.extend(looks.map(|look| InventoryReport {
            certificate: certificate.name.clone(),
            name: look.name.clone(),
            alias: look.alias.clone(),
            addresses: look.addresses(),
            ttl: look.ttl(),
            findings: findings(config, certificate, &without_withdrawn(inventory, observed, look), look, now),
        }));
    }
    reports
}

/// Without the nodes that failover has taken out of this name's records: that no record leads there is no news.
fn without_withdrawn<'a>(inventory: &'a Inventory, observed: &Observed, look: &InDns) -> Cow<'a, Inventory> {
    let owner = look.alias.as_deref().unwrap_or(look.name.as_str());
    let shown = look.addresses();
    let withdrawn = observed.failover.withdrawn.iter().filter(|entry| entry.record.name == owner);
    let withdrawn = withdrawn.filter(|entry| !shown.contains(&entry.record.address));
    let nodes: BTreeSet<&NodeName> = withdrawn.map(|entry| &entry.node).collect();
    if nodes.is_empty() {
        return Cow::Borrowed(inventory);
    }
    let mut inventory = inventory.clone();
    inventory.nodes.retain(|node, at| {
        let is_shown = at.as_ref().is_ok_and(|at| !at.is_disjoint(&shown));
        is_shown || !nodes.contains(node)
    });
    Cow::Owned(inventory)
}

/// The findings only; a name without findings has no line. Ends with a newline, or is empty.
pub(super) fn text(inventory: &[InventoryReport], style: Style) -> String {
    let mut shown: Vec<&Finding> = Vec::new();
    // A finding about a name that several certificates share is shown once.
    for finding in inventory.iter().flat_map(|report| &report.findings) {
        if !shown.contains(&finding) {
            shown.push(finding);
        }
    }
    let of = |finding: &&Finding| {
        let mark = if finding.severity == Severity::Warning { "! " } else { "- " };
        item(mark, &format!("{}: {}", finding.object, finding.what), Some(&finding.next), style)
    };
    shown.iter().map(of).collect()
}

//! Derives the exit code from what was observed and done. The codes mean the same for every command.

use super::{BesideReport, CertificateReport, Delivery, HealthReport, Issuance, NodeReport, Report, WatchedReport};
use crate::model::{Exit, Finding, worst};
use crate::plan::rollout::Outcome;
use crate::plan::{DeliveryWait, Plan, RenewalWait, Step, Wait};

impl Report {
    /// Sets `exit` and `exits` from everything else. `ran`: the command made a pass, not only a look.
    pub(super) fn conclude(&mut self, ran: bool) {
        let mut exits: Vec<Exit> = self.certificates.iter().flat_map(of_certificate).collect();
        let of_watched = |watched: &WatchedReport| {
            watched.served.iter().map(|served| watched.exit_of(served)).collect::<Vec<Exit>>()
        };
        exits.extend(self.watched.iter().flat_map(of_watched));
        exits.extend(self.inventory.iter().filter(|name| name.warns()).map(|_| Exit::Warning));
        exits.extend(self.health.iter().flat_map(HealthReport::findings).map(Finding::exit));
        exits.extend(self.disks.iter().map(|disk| disk.exit()));
        exits.extend(self.failures.iter().map(Finding::exit));
        exits.extend(of_waits(&self.plan, ran));
        exits.extend(self.plan.steps.iter().filter(|_| ran).map(of_step));
        exits.sort_unstable_by_key(|exit| exit.rank());
        exits.dedup();
        exits.retain(|exit| *exit != Exit::Ok);
        self.exit = worst(&exits).code();
        self.exits = exits.into_iter().map(Exit::code).collect();
    }
}

fn of_certificate(certificate: &CertificateReport) -> Vec<Exit> {
    let mut exits: Vec<Exit> = certificate.nodes.iter().flat_map(of_node).collect();
    exits.extend(certificate.held.iter().map(|_| Exit::Warning));
    if let Some(Issuance::Failed { .. }) = certificate.issuance {
        exits.push(Exit::IssuanceFailed);
    }
    exits
}

/// A paused node does not count, but is itself a warning.
fn of_node(node: &NodeReport) -> Vec<Exit> {
    if node.paused_until.is_some() {
        return vec![Exit::Warning];
    }
    let mut exits: Vec<Exit> = node.seen().chain(node.beside.iter().map(BesideReport::exit)).collect();
    if node.served.is_empty() {
        exits.push(Exit::NotDelivered);
    }
    exits.push(node.delivery.as_ref().map_or(Exit::Ok, of_delivery));
    exits
}

impl NodeReport {
    /// The exit codes of its handshakes. A valid but outdated certificate is only a warning while the node waits for
    /// its window.
    pub(super) fn seen(&self) -> impl Iterator<Item = Exit> {
        let held = self.window_opens.is_some();
        let exits = self.served.iter().map(|served| self.exit_of(served));
        exits.map(move |exit| if held && exit == Exit::NotDelivered { Exit::Warning } else { exit })
    }
}

pub(super) fn of_delivery(delivery: &Delivery) -> Exit {
    match delivery {
        Delivery::Ended(Outcome::Served) | Delivery::Rehearsed { test: None } => Exit::Ok,
        Delivery::Rehearsed { test: Some(_) } => Exit::Warning,
        Delivery::Ended(Outcome::Undone { serves: false, .. }) => Exit::Hurt,
        Delivery::Ended(_) => Exit::NotDelivered,
    }
}

/// A step that a pass left undone because it was stopped.
fn of_step(step: &Step) -> Exit {
    match step {
        Step::Issue(_) => Exit::IssuanceFailed,
        Step::Deliver(_) => Exit::NotDelivered,
        Step::Rehearse(_) => Exit::Warning,
    }
}

/// A certificate that is due but cannot be ordered counts as a failed issuance in every run.
fn of_waits(plan: &Plan, ran: bool) -> Vec<Exit> {
    let of = |wait: &Wait| match wait {
        Wait::Renewal { reason: RenewalWait::BackOff { .. } | RenewalWait::Ledger { .. }, .. } if ran => {
            Exit::IssuanceFailed
        }
        Wait::Renewal { reason: RenewalWait::MayNotIssue { stored: false }, .. } => Exit::NotDelivered,
        // Nothing can be renewed, and it is unknown whether anything is due.
        Wait::Clock { .. } if ran => Exit::IssuanceFailed,
        Wait::Clock { .. } => Exit::Warning,
        Wait::Delivery {
            reason: DeliveryWait::Paused { .. } | DeliveryWait::Window { .. } | DeliveryWait::Held { .. },
            ..
        } => Exit::Warning,
        Wait::Delivery {
            reason: DeliveryWait::BackOff { .. } | DeliveryWait::TriedNow { .. } | DeliveryWait::Unproven { .. },
            ..
        } => Exit::NotDelivered,
        _ => Exit::Ok,
    };
    plan.waits.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::{CertName, DnsName, KeyType};
    use crate::plan::{Issue, RenewalReason};

    #[test]
    fn i05_what_a_pass_has_left_undone_is_no_success_and_what_a_look_finds_to_do_is() {
        let step = Issue {
            certificate: CertName::parse("a.example.com").unwrap(),
            ca: "ca".into(),
            reason: RenewalReason::Nothing,
            names: [DnsName::parse("a.example.com").unwrap()].into_iter().collect(),
            key_type: KeyType::EcdsaP256,
            profile: None,
            keep_key: false,
            replaces: None,
            exempt: false,
            passed_over: Vec::new(),
            emergency: false,
            outlives: None,
            forced: false,
            youngest: None,
            seen: 0,
            above: None,
            then: Vec::new(),
        };
        let mut report = Report {
            schema: super::super::SCHEMA,
            command: "renew",
            at: jiff::Timestamp::UNIX_EPOCH,
            exit: 0,
            exits: Vec::new(),
            certificates: Vec::new(),
            left_out: Vec::new(),
            watched: Vec::new(),
            inventory: Vec::new(),
            health: Vec::new(),
            withdrawn: Vec::new(),
            disks: Vec::new(),
            plan: Plan { steps: vec![Step::Issue(Box::new(step))], ..Plan::default() },
            failures: Vec::new(),
        };
        report.conclude(true);
        assert_eq!(report.exits, [5]);
        report.conclude(false);
        assert!(report.exits.is_empty());
    }
}

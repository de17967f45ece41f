//! A pair of the other key algorithm that a server has beside the one that certd delivers, and that no certificate of the
//! configuration is for. Clients that offer only that algorithm get it, and nobody renews it.

use core::fmt::Write as _;
use std::collections::BTreeSet;

use serde::Serialize;

use crate::cert::{Fingerprint, KeyAlgorithm};
use crate::model::{Beside, Seen, Stored};

use super::{CertificateReport, Exit, NodeReport, Origin, ServedReport, Verdict, words};

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct BesideReport {
    #[serde(flatten)]
    pub served: ServedReport,
    /// Algorithm of its key.
    pub algorithm: KeyAlgorithm,
    /// Whether clients that take every algorithm get it instead of the managed one.
    pub preferred: bool,
}

/// Worst first. `ours`: what the store has.
pub(super) fn reports(
    of_pair: &[&Beside],
    ours: &BTreeSet<Fingerprint>,
    seed: u64,
    now: jiff::Timestamp,
) -> Vec<BesideReport> {
    // At a port where only one of two certificates is probed, a server may have both.
    let is_ours = |beside: &Beside| match &beside.served.seen {
        Seen::Leaf { leaf, .. } => ours.contains(&leaf.fingerprint),
        Seen::Silence(_) => false,
    };
    let report = |beside: &Beside| {
        let Beside { served, algorithm, preferred } = beside;
        // Judged by its own dates.
        let verdict = Verdict::of(&served.seen, &served.sni, &Stored::default(), None, seed, now);
        let origin = match &served.seen {
            Seen::Leaf { leaf, .. } => Some(Origin::of(leaf)),
            Seen::Silence(_) => None,
        };
        let served = ServedReport::new(served.address, served.sni.clone(), served.over, &served.seen, verdict);
        let starttls = beside.served.starttls;
        BesideReport {
            served: ServedReport { origin, starttls, ..served },
            algorithm: *algorithm,
            preferred: *preferred,
        }
    };
    let others = of_pair.iter().filter(|beside| !is_ours(beside));
    let mut reports: Vec<BesideReport> = others.map(|beside| report(beside)).collect();
    reports.sort_by_key(|beside| beside.exit().rank());
    reports
}

impl BesideReport {
    /// Few clients offer only the other algorithm: what those get is a warning.
    pub(super) fn exit(&self) -> Exit {
        match self.served.verdict.exit() {
            Exit::Hurt if self.preferred => Exit::Hurt,
            _ => Exit::Warning,
        }
    }

    /// `expired, RSA`.
    pub(super) fn word(&self) -> String {
        format!("{}, {}", self.served.verdict.word(), self.algorithm)
    }

    pub(super) fn sentence(&self) -> (String, String) {
        let algorithm = self.algorithm;
        let ends = self.served.not_after.map(|at| format!(" until {}", words::day(at))).unwrap_or_default();
        let state = match &self.served.verdict {
            Verdict::Unmanaged { .. } => format!("valid{ends}"),
            Verdict::Expired => format!("expired{}", ends.replace("until", "on")),
            verdict => verdict.meaning(),
        };
        let clients = match self.preferred {
            true => "most clients get it instead of this one".to_owned(),
            false => format!("clients that offer {algorithm} alone get it"),
        };
        let what =
            format!("its server has an {algorithm} certificate too, which certd does not renew: {state}; {clients}");
        let next = format!(
            "add an {algorithm} `key_type` to this certificate, as in [\"ecdsa-p256\", \"rsa2048\"], or take that pair out \
             of the server's configuration"
        );
        (what, next)
    }
}

/// A line for each, to print below a plan, which has no steps for them. Ends with a newline, or is empty.
pub fn beside_text(certificates: &[CertificateReport]) -> String {
    let mut out = String::new();
    for certificate in certificates {
        for NodeReport { node, beside, .. } in &certificate.nodes {
            for beside in beside {
                let (what, next) = beside.sentence();
                let _ = writeln!(out, "beside   {} on {node}: {}: {what}: {next}", certificate.name, beside.word());
            }
        }
    }
    out
}

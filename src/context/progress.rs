//! What happens while it happens, for whoever watches: one typed event, rendered by `cli`.

use std::sync::Arc;

use crate::cert::{CertName, NodeName};

/// Where events go. Cheap to clone.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Event) + Send + Sync>);

impl Progress {
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    pub fn say(&self, event: Event) {
        (self.0)(event);
    }
}

#[derive(Clone, Debug)]
pub enum Event {
    /// Issuance of a certificate has come to this step, in plain words ("order made", "waiting for ns1.example: …").
    Issue { certificate: CertName, step: String },
    /// What our own checks found of a new chain, one line each: for those who want to know all.
    Checked { certificate: CertName, found: String },
    /// Something about the account at a CA, in plain words.
    Account { ca: String, step: String },
    /// A node has come to this phase.
    Node { node: NodeName, phase: Phase, detail: String },
    /// The report follows: nothing more happens.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Preparing,
    Prepared,
    Committing,
    Verifying,
    Served,
    Failed,
}

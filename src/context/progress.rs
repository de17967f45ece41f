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

    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    pub fn say(&self, event: Event) {
        (self.0)(event);
    }

    /// Says that this is waited for, until what is returned is dropped: by its end or by being called off.
    pub fn waiting(&self, doing: &'static str, what: impl ToString) -> Waiting {
        let what = what.to_string();
        self.say(Event::Waiting { doing, what: what.clone(), over: false });
        Waiting { progress: self.clone(), doing, what }
    }
}

/// See [`Progress::waiting`].
#[must_use]
pub struct Waiting {
    progress: Progress,
    doing: &'static str,
    what: String,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let what = core::mem::take(&mut self.what);
        self.progress.say(Event::Waiting { doing: self.doing, what, over: true });
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
    /// Something that may take seconds has begun, or is over: `doing` `what` ("handshake with", "上海").
    Waiting { doing: &'static str, what: String, over: bool },
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

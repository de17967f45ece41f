//! Progress events, which `cli` renders while the work goes on.

use std::sync::Arc;

use crate::cert::{CertName, NodeName};

/// The sink for events. Cheap to clone.
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

    /// Reports a wait that lasts until the returned guard is dropped, at the end or on cancellation.
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
    /// A step in the issuance of a certificate, as text ("order made", "waiting for ns1.example: …").
    Issue { certificate: CertName, step: String },
    /// The result of one check of a new chain, for `--verbose`.
    Checked { certificate: CertName, found: String },
    /// A step at the account of a CA, as text.
    Account { ca: String, step: String },
    /// A node has reached this phase.
    Node { node: NodeName, phase: Phase, detail: String },
    /// Something that may take seconds has begun or ended: `doing` `what` ("handshake with", "上海").
    Waiting { doing: &'static str, what: String, over: bool },
    /// The last event; the report follows.
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

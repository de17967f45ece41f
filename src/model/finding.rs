//! A problem with what to do about it: one type for the planner, the state directory, every report and every rehearsal.

use serde::{Deserialize, Serialize};

use super::{Code, Exit, cut};

/// A problem, in the words that every renderer uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(from = "Written")]
pub struct Finding {
    pub code: Code,
    /// The code's severity, unless this case is milder or worse. It is not written.
    #[serde(skip)]
    pub severity: Severity,
    /// The node, name, file or URL.
    pub object: String,
    pub what: String,
    /// What to do next.
    pub next: String,
    pub advice: Advice,
}

impl Finding {
    pub fn new(
        code: Code,
        object: impl ToString,
        what: impl Into<String>,
        next: impl Into<String>,
        advice: Advice,
    ) -> Self {
        let severity = code.severity();
        Self { code, severity, object: object.to_string(), what: what.into(), next: next.into(), advice }
    }

    /// For a finding that needs an operator.
    pub fn for_a_person(code: Code, object: impl ToString, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(code, object, what, next, Advice::Person)
    }

    /// With another code, and that code's severity.
    pub fn coded(self, code: Code) -> Self {
        Self { severity: code.severity(), code, ..self }
    }

    pub fn of_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// The exit code of a finding that concerns no single certificate or node.
    pub fn exit(&self) -> Exit {
        match self.severity {
            Severity::Failure => self.code.area().exit(),
            Severity::Obstacle | Severity::Warning => Exit::Warning,
            Severity::Risk | Severity::Note => Exit::Ok,
        }
    }

    /// What it is, with the object named once: many errors name it already.
    pub fn named(&self) -> String {
        let Self { object, what, .. } = self;
        if what.contains(object.as_str()) { what.clone() } else { format!("{object}: {what}") }
    }

    pub(crate) fn cut(&mut self, most: usize) {
        [&mut self.object, &mut self.what, &mut self.next].into_iter().for_each(|text| cut(text, most));
    }
}

/// A [`Finding`] in the state directory.
#[derive(Deserialize, schemars::JsonSchema)]
struct Written {
    code: Code,
    object: String,
    what: String,
    next: String,
    advice: Advice,
}

impl From<Written> for Finding {
    fn from(written: Written) -> Self {
        let Written { code, object, what, next, advice } = written;
        Self::new(code, object, what, next, advice)
    }
}

/// How severe a finding is today. A rehearsal (`certd doctor`) asks how severe it will be on the day of the renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something was to be done and was not.
    Failure,
    /// Harmless today; makes the next renewal or delivery fail.
    Obstacle,
    /// Needs an operator's look: the exit code is 3.
    Warning,
    /// Harmless today; may harm the next renewal or delivery.
    Risk,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The one difference between a look and a rehearsal: what lies ahead counts as if the day had come.
    #[must_use]
    pub fn in_rehearsal(self) -> Self {
        match self {
            Self::Failure | Self::Obstacle => Self::Failure,
            Self::Warning | Self::Risk => Self::Warning,
            Self::Note => Self::Note,
        }
    }
}

/// The area of a finding, in the order of a checkup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    Configuration,
    State,
    Ca,
    Dns,
    Issuing,
    Nodes,
    /// What visitors get from nodes. A checkup does not ask for it.
    Health,
}

impl Area {
    /// Those of a checkup.
    pub const ALL: [Self; 6] = [Self::Configuration, Self::State, Self::Ca, Self::Dns, Self::Issuing, Self::Nodes];

    /// The exit code of a failure that concerns no single certificate or node.
    pub fn exit(self) -> Exit {
        match self {
            Self::Configuration => Exit::Usage,
            Self::State => Exit::Internal,
            Self::Ca | Self::Dns | Self::Issuing => Exit::IssuanceFailed,
            Self::Nodes => Exit::NotDelivered,
            Self::Health => Exit::Hurt,
        }
    }
}

/// An effect's own judgement of its error, for the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Try again, after this many seconds when the peer sent a Retry-After.
    Retry { after_seconds: Option<u64> },
    /// Nothing changes until an operator acts.
    Person,
    /// A bug in certd.
    Bug,
}

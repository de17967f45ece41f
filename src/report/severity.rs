//! Findings that are written with their severity.

use serde::{Serialize, Serializer};

use crate::model::{Code, Finding, Severity};

/// A finding as it is written here.
#[derive(Serialize, schemars::JsonSchema)]
pub(super) struct Shown<'a> {
    code: &'a Code,
    severity: Severity,
    object: &'a str,
    what: &'a str,
    next: &'a str,
}

/// Findings with their severity, and without `advice`: only a person can act on them.
pub(super) fn with_severity<S: Serializer>(findings: &[Finding], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(findings.iter().map(|Finding { code, severity, object, what, next, advice: _ }| Shown {
        code,
        severity: *severity,
        object,
        what,
        next,
    }))
}

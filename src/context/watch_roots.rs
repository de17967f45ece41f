//! Roots for the chains of watched endpoints, which others maintain.

use std::collections::BTreeMap;

use crate::cert::{Roots, WatchName};
use crate::config::{Config, Watch};
use crate::model::{Advice, Code, Finding, Scope};

use super::failure::failure;
use super::secrets::{public, system_roots};

/// The roots for each endpoint's chain: the system's (regardless of `acme.issuer_root_file`) and its own `ca_file`. If
/// a file cannot be read, the endpoint's chain is not verified and the report says so; renewals are not affected.
#[derive(Clone, Default)]
pub struct WatchRoots(BTreeMap<WatchName, Result<Roots, Finding>>);

impl WatchRoots {
    /// Call it before privileges are dropped.
    pub fn read(config: &Config) -> Self {
        if config.watches.is_empty() {
            return Self::default();
        }
        let system = system_roots();
        Self(config.watches.iter().map(|watch| (watch.name.clone(), roots(config, watch, &system))).collect())
    }

    /// `None`: the chain of this endpoint is not verified.
    pub(crate) fn of(&self, watch: &WatchName) -> Option<&Roots> {
        self.0.get(watch)?.as_ref().ok()
    }

    /// The failures of the selected endpoints.
    pub fn failures(&self, scope: &Scope) -> Vec<Finding> {
        let failed = |(_, roots): (_, &Result<Roots, Finding>)| roots.as_ref().err().cloned();
        let mut failures: Vec<Finding> =
            self.0.iter().filter(|(name, _)| scope.wants_watch(name)).filter_map(failed).collect();
        failures.dedup();
        failures
    }
}

fn roots(config: &Config, watch: &Watch, system: &Roots) -> Result<Roots, Finding> {
    // One code for all causes: each is a warning, since only this verification is lost.
    let bad = |object: &dyn core::fmt::Display, what: &dyn core::fmt::Display, next: &str| {
        failure(
            Code::WatchRoot,
            object,
            format!("{what}; the chain of {} is not verified", watch.name),
            next,
            Advice::Person,
        )
    };
    let Some(path) = &watch.ca_file else {
        let next = "install the package ca-certificates, or set ca_file below [[watch]]";
        let none = || bad(&"this system", &"trusts no root certificate", next);
        return if system.is_empty() { Err(none()) } else { Ok(system.clone()) };
    };
    let text = public(config, "watch.ca_file", path);
    let text = text.map_err(|failure| bad(&path.display(), &failure.what, &failure.next))?;
    let next = "put the PEM of the root certificate into it";
    system.and(&text).map_err(|malformed| bad(&path.display(), &malformed, next))
}

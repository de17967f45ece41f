//! The order, a machine: retry without `replaces`, poll, resume, give up.

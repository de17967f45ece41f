//! Commands other than reconciliation.

pub mod account;
pub mod doctor;
pub mod generations;
pub mod import;
pub mod receiver;
pub mod revoke;

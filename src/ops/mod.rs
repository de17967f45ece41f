//! Commands other than reconciliation.

pub mod account;
pub mod dns_check;
pub mod doctor;
pub mod failover;
pub mod generations;
pub mod import;
pub mod init;
pub mod receiver;
pub mod revoke;
pub mod takeover;

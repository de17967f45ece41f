//! The ACME client: account, order, renewal information (RFC 8555, RFC 9773). Each call is one attempt with plain values in
//! and out; `plan::order` decides the next step, and `execute` first stores what must survive a crash.
//!
//! An error means that the CA was not reached, or refused with a [`Problem`], or broke the protocol. No node is affected.

mod about;
mod account;
mod ari;
mod authorization;
mod binding;
mod crl;
mod error;
mod http;
mod jws;
mod link;
mod order;
mod problem;
mod revocation;
mod signed;

pub use about::{About, about};
pub use account::{Account, AccountKey, Known, find, find_by, open, register, roll_over, roll_over_from};
pub use ari::{RenewalWindow, renewal_window};
pub use binding::Binding;
pub use crl::fetch_crl;
pub use error::AcmeError;
pub use http::{Http, REQUEST_LIMIT, Settings};
pub use order::{Download, Order, Polled};
pub use problem::{Kind, Problem, Subproblem};
pub use revocation::{Revoked, revoke_by_key};

//! The CA: account, order, renewal information (RFC 8555, RFC 9773). One attempt each, plain values in and out; what to
//! do next is decided by `plan::order`, and what must be on disk first is put there by `pass`.
//!
//! Finding means: the CA was not reached, or it answered in words of its own ([`Problem`]), or in a way that no CA
//! should. Nothing of it reaches a node.

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
pub use account::{Account, AccountKey, Known, find, open, register, roll_over};
pub use ari::{RenewalWindow, renewal_window};
pub use binding::Binding;
pub use crl::fetch_crl;
pub use error::AcmeError;
pub use http::{Http, REQUEST_LIMIT, Settings};
pub use order::{Download, Order, Polled};
pub use problem::{Kind, Problem, Subproblem};
pub use revocation::{Revoked, revoke_by_key};

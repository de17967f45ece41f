//! The receiver: an account on a node that can take certificates and do nothing else.
//!
//! What is installed is the node program itself, with its own parameters and a check of every line that comes; root's
//! all of it, so that the key that the account lets in cannot change what it is let in for. Setting up and removing are
//! one POSIX script each, to be read and run by an administrator, or run from here over SSH.

mod account;
mod key;
mod program;
mod run;
mod script;

use std::sync::Arc;

use crate::cert::{CertName, NodeName};
use crate::config::Install;

pub use account::{Account, BadAccount, From};
pub use key::{BadKey, PublicKey};
pub use run::{ReceiverError, run};
pub use script::{remove, setup};

/// What an account on one node is to be.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub node: NodeName,
    pub account: Account,
    /// Whose keys come in.
    pub keys: Vec<PublicKey>,
    /// From where; empty: from anywhere.
    pub from: Vec<From>,
    /// As root through one rule of sudo's; else with the account's own rights.
    pub sudo: bool,
    /// An older generation may replace a newer one, when a person says so.
    pub older: bool,
    /// Loopback ports that handshakes may be made with through the connection.
    pub ports: Vec<u16>,
    /// Everything that may be delivered.
    pub installs: Vec<(CertName, Arc<Install>)>,
}

//! The receiver: an account on a node that can take certificates and do nothing else.
//!
//! What is installed is the node program itself, with its own parameters and a check of every line that comes; root's
//! all of it, so that the key that the account lets in cannot change what it is let in for. Setting up and removing are
//! one POSIX script each, to be read and run by an administrator, or run from here over SSH.

mod account;
mod key;
mod leftover;
mod parameters;
mod program;
mod run;
mod script;

use std::sync::Arc;

use crate::cert::{CertName, NameSet, NodeName};
use crate::config::Install;

pub use account::{Account, BadAccount, From};
pub use key::{BadKey, PublicKey};
pub use leftover::{Line, Login, public_halves, remove_from, try_login};
pub use parameters::{Permits, digests};
pub use run::{ReceiverError, run};
pub(super) use run::{as_root, output_of};
pub(super) use script::{COMMON, quoted};
pub use script::{JUDGES, OPTIONS, remove, setup};

/// What an account on one node is to be.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub node: NodeName,
    pub account: Account,
    /// Whose keys come in.
    pub keys: Vec<PublicKey>,
    pub options: Options,
    /// Loopback ports that handshakes may be made with through the connection.
    pub ports: Vec<u16>,
    pub permits: Permits,
}

/// What an administrator chooses. `None`: what the node remembers of the last time, else what is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// From where the keys may come; empty: from anywhere.
    pub from: Option<Vec<From>>,
    /// As root through one rule of sudo's, which is usual; else with the account's own rights.
    pub sudo: Option<bool>,
    /// An older generation may replace a newer one, when a person says so.
    pub older: Option<bool>,
    /// Where the node has openssl it judges what comes, which is usual.
    pub openssl: Option<bool>,
}

/// One certificate that may be delivered.
#[derive(Clone, Debug)]
pub struct Permit {
    pub certificate: CertName,
    /// What its leaf is for, to the name.
    pub names: NameSet,
    pub install: Arc<Install>,
}

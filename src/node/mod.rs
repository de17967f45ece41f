//! The dialogue with a node over one SSH exec: prepare, commit or abort, done or rollback.
//!
//! Failure before `commit` means that nothing was changed; after it, that the state is unknown until it is read again.

use core::time::Duration;
use std::sync::Arc;

use crate::cert::{CertName, Generation, NodeName, Pair};
use crate::config::Install;
use crate::observed::Advice;
use crate::plan::rollout::{Committed, Prepared, Refusal};
use crate::ssh::{Endpoint, SshError};

/// One certificate for one node.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub certificate: CertName,
    pub generation: Generation,
    pub pair: Arc<Pair>,
    pub install: Arc<Install>,
    /// A person said so (`deploy --generation`): the fence lets an older one pass.
    pub allow_older: bool,
}

/// A prepared node. Dropping it ends the connection, which the node reads as "abort".
#[derive(Debug)]
pub struct Dialogue {}

impl Dialogue {
    /// Connects, checks the host key, logs in, sends program and bundles, and hears what is there. Nothing is changed.
    pub async fn open(
        _endpoint: Endpoint,
        _bundles: Vec<Bundle>,
        _deadline: Duration,
    ) -> Result<(Self, Prepared), NodeError> {
        todo!()
    }
    /// Switch, test, reload; the node undoes its change by itself when that fails.
    pub async fn commit(&mut self) -> Result<Committed, NodeError> {
        todo!()
    }
    /// Served and proven: the node may forget the way back. Not waited for.
    pub async fn done(self) {
        todo!()
    }
    /// Back to what was there before, test, reload. `Ok(true)`: it was still ours and went back.
    pub async fn rollback(self) -> Result<bool, NodeError> {
        todo!()
    }
    pub async fn abort(self) {
        todo!()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error("{node}: {refusal}")]
    Refused { node: NodeName, refusal: Refusal },
}

impl NodeError {
    pub fn advice(&self) -> Advice {
        todo!()
    }
}

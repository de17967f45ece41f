//! The threads on which libssh2 blocks.

use std::panic::{self, AssertUnwindSafe};
use std::{io, thread};

use tokio::sync::oneshot;

use super::SshError;
use crate::cert::NodeName;

/// Measured: libssh2 with OpenSSL needs less; a thousand idle sessions then cost 165 MiB in all.
const STACK: usize = 256 * 1024;

/// Runs blocking work on a thread of its own.
pub(super) async fn on_thread<T: Send + 'static>(
    node: &NodeName,
    work: impl FnOnce() -> Result<T, SshError> + Send + 'static,
) -> Result<T, SshError> {
    let (reply, answer) = oneshot::channel();
    spawn(node, move || drop(reply.send(work())))?;
    answer.await.unwrap_or_else(|_| Err(gone(node)))
}

pub(super) fn spawn(node: &NodeName, work: impl FnOnce() + Send + 'static) -> Result<(), SshError> {
    match thread::Builder::new().name("ssh".to_owned()).stack_size(STACK).spawn(work) {
        Ok(_) => Ok(()),
        Err(source) => Err(SshError::Thread { node: node.clone(), source }),
    }
}

/// `lost` is run when the work panics.
pub(super) fn spawn_or(
    node: &NodeName,
    work: impl FnOnce() + Send + 'static,
    lost: impl FnOnce() + Send + 'static,
) -> Result<(), SshError> {
    spawn(node, move || panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| lost()))
}

pub(super) fn gone(node: &NodeName) -> SshError {
    SshError::Thread { node: node.clone(), source: io::Error::other("the session's thread ended") }
}

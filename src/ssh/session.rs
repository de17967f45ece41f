//! The asynchronous side of a session: sends requests to its thread and awaits the answers. Dropping it closes the
//! session at once.

use core::time::Duration;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::connection::{CancelOnDrop, Connection};
use super::exec::Exec;
use super::keepalive::SLICE;
use super::pump::pair;
use super::thread::{gone, spawn};
use super::tunnel::Tunnel;
use super::{Endpoint, SshError};
use crate::cert::NodeName;

/// A program on a node, with its stdin and stdout. A caller bounds each wait with `tokio::time::timeout` and gets the error
/// of an expired one from [`Session::overdue`].
#[derive(Debug)]
pub struct Session {
    asks: Sender<Ask>,
    opened: Option<oneshot::Receiver<Result<(), SshError>>>,
    cancel: CancelOnDrop,
    node: NodeName,
}

enum Ask {
    Write(Zeroizing<Vec<u8>>, oneshot::Sender<Result<(), SshError>>),
    Read(oneshot::Sender<Result<Vec<u8>, SshError>>),
    Tunnel(String, u16, oneshot::Sender<Result<UnixStream, SshError>>),
}

impl Session {
    /// Starts a thread that connects, checks the host key, logs in and starts `command`.
    ///
    /// # Errors
    /// [`SshError::Thread`] alone; [`Session::ready`] reports all others.
    pub fn start(endpoint: Endpoint, command: &'static str) -> Result<Self, SshError> {
        let cancel = CancelOnDrop(Connection::default());
        let node = endpoint.node.clone();
        let (asks, asked) = mpsc::channel();
        let (ready, opened) = oneshot::channel();
        let connection = cancel.0.clone();
        spawn(&node, move || match Exec::open(&endpoint, command, &connection) {
            Ok(exec) => {
                // An error means that the session was dropped; its connection closes with `exec`.
                if ready.send(Ok(())).is_ok() {
                    serve(exec, &asked, &endpoint.node);
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        })?;
        Ok(Self { asks, opened: Some(opened), cancel, node })
    }

    /// Waits until the program was started.
    ///
    /// # Errors
    /// Every kind but [`SshError::Ended`].
    pub async fn ready(&mut self) -> Result<(), SshError> {
        match self.opened.take() {
            Some(opened) => opened.await.unwrap_or_else(|_| Err(gone(&self.node))),
            None => Ok(()),
        }
    }

    /// Hands the bytes to the operating system; only an answer proves that they arrived.
    pub async fn write(&self, bytes: Zeroizing<Vec<u8>>) -> Result<(), SshError> {
        let (reply, answer) = oneshot::channel();
        // A thread that ended has dropped the receiver: the answer reports it.
        let _ = self.asks.send(Ask::Write(bytes, reply));
        answer.await.unwrap_or_else(|_| Err(gone(&self.node)))
    }

    /// The next bytes of the program's stdout; never empty.
    ///
    /// # Errors
    /// The end of the stream is [`SshError::Ended`].
    pub async fn read(&self) -> Result<Vec<u8>, SshError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.asks.send(Ask::Read(reply));
        answer.await.unwrap_or_else(|_| Err(gone(&self.node)))
    }

    /// Connects to a port of `host` as the node resolves it, beside the program. The session does nothing else until the
    /// tunnel is dropped.
    ///
    /// # Errors
    /// The session stays usable after [`SshError::Forwarding`] and [`SshError::FarSide`].
    pub async fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, SshError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.asks.send(Ask::Tunnel(host.to_owned(), port, reply));
        let ours = answer.await.unwrap_or_else(|_| Err(gone(&self.node)))?;
        Tunnel::new(&self.node, ours, None)
    }

    /// The error of a caller's deadline, with the current phase. It closes the session.
    pub fn overdue(&self, after: Duration) -> SshError {
        self.cancel.0.overdue(&self.node, after)
    }
}

fn serve(mut exec: Exec, asked: &Receiver<Ask>, node: &NodeName) {
    loop {
        match asked.recv_timeout(SLICE) {
            Ok(Ask::Write(bytes, reply)) => drop(reply.send(exec.write(&bytes))),
            Ok(Ask::Read(reply)) => drop(reply.send(exec.read())),
            Ok(Ask::Tunnel(host, port, reply)) => {
                let opened = pair(node).and_then(|pair| Ok((exec.tunnel(&host, port)?, pair)));
                match opened {
                    Ok((pump, (ours, theirs))) => {
                        // A caller that is gone drops `ours`, which closes the tunnel at once.
                        drop(reply.send(Ok(ours)));
                        exec.carry(pump, theirs);
                    }
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Err(RecvTimeoutError::Timeout) => exec.idle(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

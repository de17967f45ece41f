//! The asynchronous side: asks the session's thread by a channel and waits; dropping it ends the session at once.

use core::time::Duration;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::connection::{CancelOnDrop, Connection};
use super::exec::Exec;
use super::keepalive::SLICE;
use super::thread::{gone, spawn};
use super::tunnel::{self, Tunnel};
use super::{Endpoint, SshError};
use crate::cert::NodeName;

/// A program on a node, with its stdin and stdout. A caller bounds each wait with `tokio::time::timeout` and then asks
/// [`Session::overdue`] for the error.
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
    /// Begins to connect, to check the host key, to log in and to start `command`, on a thread of its own.
    ///
    /// # Errors
    /// [`SshError::Thread`] alone; the rest is told by [`Session::ready`].
    pub fn start(endpoint: Endpoint, command: &'static str) -> Result<Self, SshError> {
        let cancel = CancelOnDrop(Connection::default());
        let node = endpoint.node.clone();
        let (asks, asked) = mpsc::channel();
        let (ready, opened) = oneshot::channel();
        let connection = cancel.0.clone();
        spawn(&node, move || match Exec::open(&endpoint, command, &connection) {
            Ok(exec) => {
                // Nobody waits any more: the exec is dropped with its connection.
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

    /// Hands the bytes to the operating system; that they arrived is known when there is an answer.
    pub async fn write(&self, bytes: Zeroizing<Vec<u8>>) -> Result<(), SshError> {
        let (reply, answer) = oneshot::channel();
        // A thread that is gone has dropped the receiver, which the answer tells.
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

    /// A connection to a port of `host`, as the node sees it, beside the program; until it is dropped the session does
    /// nothing else.
    ///
    /// # Errors
    /// [`SshError::Forwarding`] and [`SshError::FarSide`] leave the session as it is.
    pub async fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, SshError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.asks.send(Ask::Tunnel(host.to_owned(), port, reply));
        let ours = answer.await.unwrap_or_else(|_| Err(gone(&self.node)))?;
        Tunnel::new(&self.node, ours, None)
    }

    /// The error of a caller's deadline, with what was going on. It ends the session.
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
                let opened = tunnel::pair(node).and_then(|pair| Ok((exec.tunnel(&host, port)?, pair)));
                match opened {
                    Ok((pump, (ours, theirs))) => {
                        // Nobody waits any more: it is closed again at once.
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

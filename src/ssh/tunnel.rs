//! A connection through a session, to a port that the node (or the jump host) can reach.
//!
//! libssh2 serves a channel only by calls on the session's thread, but a TLS handshake or a further session needs a
//! socket: a socket pair, with a thread that pumps between one end and the channel.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::os::unix::net::UnixStream;

use ssh2::Channel;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::open;
use super::connection::{CancelOnDrop, CloseOnDrop, Connection, Open};
use super::forward::forwarded;
use super::keepalive::Keepalive;
use super::pump::{Pump, pair};
use super::thread::{on_thread, spawn};
use super::{Endpoint, SshError};
use crate::cert::NodeName;

/// The caller's end. Dropping it closes the channel, and the session if it was opened for this tunnel.
#[derive(Debug)]
pub struct Tunnel {
    stream: tokio::net::UnixStream,
    /// Set where the session was opened for this tunnel.
    _cancel: Option<CancelOnDrop>,
}

/// Logs in to a node and connects to a port of `host` as the node resolves it, over a session of its own. Dropping the
/// future closes the session, too.
///
/// # Errors
/// Errors of a session; [`SshError::Forwarding`] where sshd does not forward, or not to this port, and
/// [`SshError::FarSide`] where nothing accepts the connection.
pub async fn tunnel(endpoint: Endpoint, host: &str, port: u16) -> Result<Tunnel, SshError> {
    let cancel = CancelOnDrop(Connection::default());
    let (connection, node, host) = (cancel.0.clone(), endpoint.node.clone(), host.to_owned());
    let work = move || {
        let below = open(&endpoint, &connection)?;
        let guard = CloseOnDrop(&connection);
        connection.phase("connecting through the session");
        let (ours, theirs) = pair(&endpoint.node)?;
        let channel = forwarded(&below.session, &endpoint.node, &host, port)?;
        core::mem::forget(guard);
        let (node, epoch) = (endpoint.node, connection.epoch());
        spawn(&node.clone(), move || carry(below, channel, &theirs, &node, &connection, epoch))?;
        Ok(ours)
    };
    let ours = on_thread(&node, work).await?;
    Tunnel::new(&node, ours, Some(cancel))
}

impl Tunnel {
    pub(super) fn new(node: &NodeName, ours: UnixStream, cancel: Option<CancelOnDrop>) -> Result<Self, SshError> {
        let stream = tokio::net::UnixStream::from_std(ours);
        let stream = stream.map_err(|source| SshError::Thread { node: node.clone(), source })?;
        Ok(Self { stream, _cancel: cancel })
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves a session that carries this channel alone, and closes the connection with it (see [`Connection::epoch`]).
pub(super) fn carry(
    below: Open,
    channel: Channel,
    local: &UnixStream,
    node: &NodeName,
    connection: &Connection,
    epoch: u32,
) {
    let Open { session, socket } = below;
    session.set_blocking(false);
    let mut keepalive = Keepalive::new(&session, socket.clone());
    let mut pump = Pump::new(channel);
    let end = pump.run(&session, &mut keepalive, local);
    connection.fail(epoch, end.err().map(|why| format!("{node}: {why}")));
    // Before channel and session are dropped, as in `CloseOnDrop`.
    socket.shut();
}

//! A program that was started on a node: its stdin, stdout and stderr, on the one thread that owns the session.
//!
//! libssh2 does not block here: all waiting is done by [`Keepalive`], which detects a lost peer.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use ssh2::Session;

use super::connect::open;
use super::connection::{CloseOnDrop, Connection, Open};
use super::forward::forwarded;
use super::keepalive::Keepalive;
use super::pump::Pump;
use super::{Endpoint, SshError};
use crate::cert::NodeName;
use crate::text::escape;

/// Bytes of stderr kept for an error text.
const WORDS: usize = 1024;
/// Bytes of stderr read. A login's start files print a page or two; endless output would keep this machine decrypting for
/// the whole length of a session.
const NOISE: usize = 1024 * 1024;
/// Bytes that the node may send ahead; libssh2's default is 2 MiB. Each queued packet costs memory and is scanned by every
/// read of the other stream, and a packet may hold a single byte.
const WINDOW: u32 = 256 * 1024;
/// RFC 4253 section 6.1: the size that every implementation supports.
const PACKET: u32 = 32 * 1024;
/// Bytes of stdout kept between reads; the rest waits in the channel's window.
const EARLY: usize = 64 * 1024;

pub(super) struct Exec {
    // Dropped in this order.
    channel: ssh2::Channel,
    session: Session,
    keepalive: Keepalive,
    node: NodeName,
    connection: Connection,
    /// Output received between reads.
    early: Vec<u8>,
    words: Vec<u8>,
    /// Bytes of stderr, including those not kept.
    noise: usize,
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.connection.close();
    }
}

impl Exec {
    /// Costs twelve round trips, including the first write and its answer, for a node with one kind of pinned key.
    pub(super) fn open(endpoint: &Endpoint, command: &str, connection: &Connection) -> Result<Self, SshError> {
        let Open { session, socket } = open(endpoint, connection)?;
        let guard = CloseOnDrop(connection);
        connection.phase("starting the program");
        let failed =
            |error: ssh2::Error| SshError::Exec { node: endpoint.node.clone(), why: escape(error.message(), 200) };
        let mut channel = session.channel_open("session", WINDOW, PACKET, None).map_err(failed)?;
        if let Err(error) = channel.exec(command) {
            // Before the channel is dropped, for the same reason as in `CloseOnDrop`.
            connection.close();
            return Err(failed(error));
        }
        core::mem::forget(guard);
        session.set_blocking(false);
        let keepalive = Keepalive::new(&session, socket);
        let (node, connection) = (endpoint.node.clone(), connection.clone());
        Ok(Self { channel, session, keepalive, node, connection, early: Vec::new(), words: Vec::new(), noise: 0 })
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), SshError> {
        self.connection.phase("sending");
        while !bytes.is_empty() {
            match self.channel.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                // libssh2 allows no other call while a packet is half sent, not even to read stderr.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait()?,
                Err(error) => return Err(self.connection.closed(&self.node, &error)),
            }
        }
        Ok(())
    }

    /// The next bytes of the program's stdout; never empty.
    pub(super) fn read(&mut self) -> Result<Vec<u8>, SshError> {
        self.connection.phase("waiting for the answer");
        if !self.early.is_empty() {
            return Ok(core::mem::take(&mut self.early));
        }
        let mut buffer = vec![0; 16 * 1024];
        self.drain()?;
        loop {
            match self.channel.read(&mut buffer) {
                Ok(0) if self.channel.eof() => return Err(self.ended()),
                Ok(count @ 1..) => {
                    buffer.truncate(count);
                    return Ok(buffer);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.connection.closed(&self.node, &error)),
            }
            // A full window of stderr would stop stdout, too.
            self.drain()?;
            self.wait()?;
        }
    }

    /// Called once a slice while the session idles: answers and sends keep-alives, keeps early output.
    pub(super) fn idle(&mut self) {
        match self.keepalive.parked(&self.session) {
            Ok(true) => {}
            Ok(false) => return,
            // The next read or write fails with this reason.
            Err(gone) => return self.connection.fail(self.connection.epoch(), Some(gone.to_string())),
        }
        let mut buffer = [0; 4096];
        if self.early.len() < EARLY
            && let Ok(count) = self.channel.read(&mut buffer)
        {
            self.early.extend_from_slice(&buffer[..count]);
        }
        // The next read reports the error.
        let _ = self.drain();
    }

    /// Opens a channel to a port that the node can reach, beside the program's. [`Self::carry`] serves it.
    pub(super) fn tunnel(&mut self, host: &str, port: u16) -> Result<Pump, SshError> {
        self.connection.phase("connecting through the session");
        let channel = forwarded(&self.session, &self.node, host, port);
        self.session.set_blocking(false);
        channel.map(Pump::new)
    }

    /// Serves the tunnel until it is closed; the program waits meanwhile.
    pub(super) fn carry(&mut self, mut pump: Pump, local: UnixStream) {
        let carried = pump.run(&self.session, &mut self.keepalive, &local);
        drop(local);
        let closed = carried.and_then(|()| pump.close(&self.session, &mut self.keepalive));
        if let Err(why) = closed {
            self.connection.fail(self.connection.epoch(), Some(why.to_string()));
        }
    }

    fn wait(&mut self) -> Result<(), SshError> {
        self.keepalive.wait(&self.session).map_err(|gone| self.connection.closed(&self.node, &gone))
    }

    /// Reads stderr, up to [`NOISE`].
    fn drain(&mut self) -> Result<(), SshError> {
        let mut buffer = [0; 4096];
        while self.noise <= NOISE
            && let Ok(count @ 1..) = self.channel.stderr().read(&mut buffer)
        {
            let room = WORDS.saturating_sub(self.words.len());
            self.words.extend_from_slice(&buffer[..count.min(room)]);
            self.noise += count;
        }
        if self.noise <= NOISE {
            return Ok(());
        }
        self.connection.close();
        Err(SshError::Noise { node: self.node.clone(), most: NOISE })
    }

    /// The error of a channel that ended. The exit status follows the end, if it comes at all, and libssh2 returns 0 when
    /// it does not.
    fn ended(&mut self) -> SshError {
        if let Err(noise) = self.drain() {
            return noise;
        }
        self.session.set_blocking(true);
        self.session.set_timeout(STATUS_MS);
        let status = match self.channel.wait_close().and_then(|()| self.channel.exit_status()) {
            Ok(0) | Err(_) => None,
            Ok(status) => Some(status),
        };
        let signal = self.channel.exit_signal().ok().and_then(|signal| signal.exit_signal);
        let signal = signal.filter(|name| !name.is_empty()).map(|name| escape(&name, SIGNAL));
        let words = escape(String::from_utf8_lossy(&self.words).trim_end(), WORDS);
        SshError::Ended { node: self.node.clone(), status, signal, words }
    }
}

/// Characters of a signal's name.
const SIGNAL: usize = 20;
/// An exit status follows the end of the stream at once, or never.
const STATUS_MS: u32 = 1000;

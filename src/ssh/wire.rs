//! A program that was started on a node: its stdin, stdout and stderr, on the one thread that owns the session.
//!
//! libssh2 does not block here: all waiting is done by [`Ear`], which hears when nobody is there any more.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use ssh2::Session;

use super::connect::{Open, forwarded, open};
use super::ear::Ear;
use super::line::{Cut, Line};
use super::tunnel::Pump;
use super::{Endpoint, SshError};
use crate::cert::NodeName;
use crate::text::escape;

/// How much of stderr is kept for an error text, bytes.
const WORDS: usize = 1024;
/// How much of stderr is taken in, bytes. Start files of a login say a page or two; who says more without end would keep
/// this machine deciphering for as long as a session may last.
const NOISE: usize = 1024 * 1024;
/// How far ahead of us the node may be, bytes, where libssh2 would have 2 MiB. Each packet costs memory and is walked past
/// in every read of the other stream, and a packet may have one byte.
const WINDOW: u32 = 256 * 1024;
/// RFC 4253 section 6.1: what every implementation can handle.
const PACKET: u32 = 32 * 1024;
/// How much of stdout is kept while nobody reads, bytes; the rest waits in the channel's window.
const EARLY: usize = 64 * 1024;

pub(super) struct Wire {
    // Dropped in this order.
    channel: ssh2::Channel,
    session: Session,
    ear: Ear,
    node: NodeName,
    line: Line,
    /// What came while nobody was reading.
    early: Vec<u8>,
    words: Vec<u8>,
    /// Bytes of stderr, with those that were not kept.
    noise: usize,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.line.hang_up();
    }
}

impl Wire {
    /// Twelve round trips with the first write and its answer, on a node that pins one kind of key.
    pub(super) fn open(endpoint: &Endpoint, command: &str, line: &Line) -> Result<Self, SshError> {
        let Open { session, socket } = open(endpoint, line)?;
        let cut = Cut(line);
        line.phase("starting the program");
        let exec =
            |error: ssh2::Error| SshError::Exec { node: endpoint.node.clone(), why: escape(error.message(), 200) };
        let mut channel = session.channel_open("session", WINDOW, PACKET, None).map_err(exec)?;
        if let Err(error) = channel.exec(command) {
            // The socket goes before the channel, for the same reason as in `Cut`.
            line.hang_up();
            return Err(exec(error));
        }
        core::mem::forget(cut);
        session.set_blocking(false);
        let ear = Ear::new(&session, socket);
        let (node, line) = (endpoint.node.clone(), line.clone());
        Ok(Self { channel, session, ear, node, line, early: Vec::new(), words: Vec::new(), noise: 0 })
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), SshError> {
        self.line.phase("sending");
        while !bytes.is_empty() {
            match self.channel.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                // Nothing else is asked of libssh2 while a packet is half sent, stderr neither.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait()?,
                Err(error) => return Err(self.line.closed(&self.node, &error)),
            }
        }
        Ok(())
    }

    /// The next bytes of the program's stdout; never empty.
    pub(super) fn read(&mut self) -> Result<Vec<u8>, SshError> {
        self.line.phase("waiting for the answer");
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
                Err(error) => return Err(self.line.closed(&self.node, &error)),
            }
            // A full window of stderr would stop stdout, too.
            self.drain()?;
            self.wait()?;
        }
    }

    /// While the session is parked, once a slice: keep-alives are answered and sent, and early words are kept.
    pub(super) fn idle(&mut self) {
        match self.ear.parked(&self.session) {
            Ok(true) => {}
            Ok(false) => return,
            // The next read or write fails by it, and says why.
            Err(gone) => return self.line.end(self.line.way(), Some(gone.to_string())),
        }
        let mut buffer = [0; 4096];
        if self.early.len() < EARLY
            && let Ok(count) = self.channel.read(&mut buffer)
        {
            self.early.extend_from_slice(&buffer[..count]);
        }
        // The next read fails by it, too.
        let _ = self.drain();
    }

    /// A channel to a port that the node sees, beside the program's. [`Self::carry`] serves it.
    pub(super) fn tunnel(&mut self, host: &str, port: u16) -> Result<Pump, SshError> {
        self.line.phase("connecting through the session");
        let channel = forwarded(&self.session, &self.node, host, port);
        self.session.set_blocking(false);
        channel.map(Pump::new)
    }

    /// Until the tunnel is closed; the program waits meanwhile.
    pub(super) fn carry(&mut self, mut pump: Pump, local: UnixStream) {
        let carried = pump.run(&self.session, &mut self.ear, &local);
        drop(local);
        let closed = carried.and_then(|()| pump.close(&self.session, &mut self.ear));
        if let Err(why) = closed {
            self.line.end(self.line.way(), Some(why.to_string()));
        }
    }

    fn wait(&mut self) -> Result<(), SshError> {
        self.ear.wait(&self.session).map_err(|gone| self.line.closed(&self.node, &gone))
    }

    /// Takes in what stderr has, up to its bound.
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
        self.line.hang_up();
        Err(SshError::Noise { node: self.node.clone(), most: NOISE })
    }

    /// The channel ended. A status is told after that, if at all, and libssh2 says 0 when none was.
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
        let words = escape(String::from_utf8_lossy(&self.words).trim_end(), WORDS);
        SshError::Ended { node: self.node.clone(), status, words }
    }
}

/// A status follows the end of the stream at once, or never.
const STATUS_MS: u32 = 1000;

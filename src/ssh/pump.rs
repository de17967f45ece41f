//! What is carried between a socket pair and a channel. Each direction holds one buffer, so that a writer waits for a
//! slower reader.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use nix::poll::PollFlags;
use ssh2::{Channel, Session};

use super::SshError;
use super::keepalive::{Keepalive, Local, PeerLost, is_outbound};
use crate::cert::NodeName;

/// One packet of SSH, and half of what a socket pair buffers.
pub(super) const BUFFER: usize = 32 * 1024;

pub(super) fn pair(node: &NodeName) -> Result<(UnixStream, UnixStream), SshError> {
    let pair = UnixStream::pair().and_then(|pair| {
        pair.0.set_nonblocking(true)?;
        pair.1.set_nonblocking(true)?;
        Ok(pair)
    });
    pair.map_err(|source| SshError::Thread { node: node.clone(), source })
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("{0}")]
    PeerLost(#[from] PeerLost),
    #[error("{0}")]
    Session(io::Error),
}

pub(super) struct Pump {
    channel: Channel,
    to_local: Half,
    to_node: Half,
}

/// One direction.
#[derive(Default)]
struct Half {
    held: Vec<u8>,
    sent: usize,
    /// The source reached its end.
    ended: bool,
    /// The end was passed on to the sink.
    eof_sent: bool,
}

impl Half {
    fn rest(&self) -> &[u8] {
        &self.held[self.sent..]
    }

    fn is_empty(&self) -> bool {
        self.sent == self.held.len()
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.held.clear();
        self.held.extend_from_slice(bytes);
        self.sent = 0;
    }

    fn must_send_eof(&self) -> bool {
        self.ended && !self.eof_sent && self.is_empty()
    }
}

impl Pump {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel, to_local: Half::default(), to_node: Half::default() }
    }

    /// Pumps until one side is gone, or both have reached their end. The session must be non-blocking.
    pub(super) fn run(
        &mut self,
        session: &Session,
        keepalive: &mut Keepalive,
        local: &UnixStream,
    ) -> Result<(), Broken> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let moved = self.step(session, local, &mut buffer)?;
            if self.is_over() {
                return Ok(());
            }
            if moved {
                continue;
            }
            let local = Local { fd: local.as_fd(), wanted: self.wanted() };
            let woken = keepalive.wait_with(session, self.listens(), Some(local))?;
            if is_gone(woken) {
                return Ok(());
            }
        }
    }

    /// Moves what can be moved. True: there may be more.
    pub(super) fn step(&mut self, session: &Session, local: &UnixStream, buffer: &mut [u8]) -> Result<bool, Broken> {
        // A window adjustment is half sent.
        if is_outbound(session) && self.to_node.is_empty() && !self.to_node.must_send_eof() {
            return self.receive(local, buffer);
        }
        let sent = self.send(local, buffer)?;
        // libssh2 must finish a packet that it has begun before any other call.
        let stuck = !self.to_node.is_empty() && is_outbound(session);
        let received = !stuck && self.receive(local, buffer)?;
        Ok(sent || received)
    }

    /// Nothing is left to carry.
    pub(super) fn is_over(&self) -> bool {
        self.to_local.eof_sent || (self.to_local.ended && self.to_local.is_empty() && self.to_node.eof_sent)
    }

    /// The events of the local end that let it go on.
    pub(super) fn wanted(&self) -> PollFlags {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::POLLIN, self.to_node.is_empty() && !self.to_node.ended);
        wanted.set(PollFlags::POLLOUT, !self.to_local.is_empty());
        wanted
    }

    /// Data from the node lets it go on. With both directions full, a window adjustment may come.
    pub(super) fn listens(&self) -> bool {
        self.to_local.is_empty() || !self.to_node.is_empty()
    }

    /// libssh2 has already received what lets it go on. Needed where one session has several channels, since a call for
    /// one of them receives for all.
    pub(super) fn is_due(&self) -> bool {
        let readable = || self.channel.read_window().available > 0 || self.channel.eof();
        let incoming = self.to_local.is_empty() && !self.to_local.ended && readable();
        incoming || (!self.to_node.is_empty() && self.channel.write_window().remaining > 0)
    }

    fn send(&mut self, mut local: &UnixStream, buffer: &mut [u8]) -> Result<bool, Broken> {
        let half = &mut self.to_node;
        let mut moved = false;
        if half.is_empty() && !half.ended {
            match local.read(buffer) {
                Ok(0) => half.ended = true,
                Ok(count) => half.hold(&buffer[..count]),
                Err(error) if is_later(&error) => {}
                Err(_) => half.ended = true,
            }
            moved = half.ended || !half.is_empty();
        }
        if !half.is_empty() {
            match self.channel.write(half.rest()) {
                Ok(count) => {
                    half.sent += count;
                    moved |= count > 0;
                }
                Err(error) if is_later(&error) => return Ok(false),
                Err(error) => return Err(Broken::Session(error)),
            }
        }
        if half.must_send_eof() {
            match self.channel.send_eof() {
                Ok(()) => half.eof_sent = true,
                Err(error) => match io::Error::from(error) {
                    error if is_later(&error) => {}
                    error => return Err(Broken::Session(error)),
                },
            }
        }
        Ok(moved)
    }

    fn receive(&mut self, mut local: &UnixStream, buffer: &mut [u8]) -> Result<bool, Broken> {
        let half = &mut self.to_local;
        let mut moved = false;
        if half.is_empty() && !half.ended {
            match self.channel.read(buffer) {
                Ok(0) => half.ended = self.channel.eof(),
                Ok(count) => half.hold(&buffer[..count]),
                Err(error) if is_later(&error) => {}
                Err(error) => return Err(Broken::Session(error)),
            }
            moved = half.ended || !half.is_empty();
        }
        if !half.is_empty() {
            match local.write(half.rest()) {
                Ok(count) => {
                    half.sent += count;
                    moved |= count > 0;
                }
                Err(error) if is_later(&error) => return Ok(false),
                // The reader on this side is gone.
                Err(_) => {
                    half.sent = half.held.len();
                    half.ended = true;
                }
            }
        }
        half.eof_sent = half.must_send_eof();
        Ok(moved)
    }

    /// Closes the channel and keeps the session; waits for the peer's answer.
    pub(super) fn close(mut self, session: &Session, keepalive: &mut Keepalive) -> Result<(), Broken> {
        while !self.try_close()? {
            keepalive.wait(session)?;
        }
        Ok(())
    }

    /// False: call it again, and before that do not drop the channel, of which a packet may be half sent.
    pub(super) fn try_close(&mut self) -> Result<bool, Broken> {
        match self.channel.close() {
            Ok(()) => Ok(true),
            Err(error) => match io::Error::from(error) {
                error if is_later(&error) => Ok(false),
                error => Err(Broken::Session(error)),
            },
        }
    }
}

/// Nobody is at the local end.
pub(super) fn is_gone(woken: PollFlags) -> bool {
    woken.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL)
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

//! Keep-alives: waiting for the peer of a session, and detecting that it is lost.
//!
//! libssh2 sends keep-alives but does not count the answers, and TCP is acknowledged by a relay, a NAT box or a hung
//! kernel too. sshd answers each keep-alive, so that silence means a lost peer (as OpenSSH's client with
//! ServerAliveInterval 15 and ServerAliveCountMax 3).

use core::time::Duration;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ssh2::{BlockDirections, Session};

use super::connection::Socket;

/// How often a session that waits or idles checks for the peer.
pub(super) const SLICE: Duration = Duration::from_secs(5);
/// Slices of silence until a keep-alive is sent: 15 s, under the half minute after which NAT forgets a connection.
const KEEP_ALIVE: u32 = 3;
/// Slices of silence until the peer counts as lost: 45 s.
const GONE: u32 = 9;

/// No byte arrived for [`GONE`] slices, or `poll` failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerLost {
    #[error("no answer to keep-alives for {} s", (SLICE * GONE).as_secs())]
    Silent,
    #[error("{0}")]
    Poll(#[from] Errno),
}

pub(super) struct Keepalive {
    socket: Socket,
    silent: u32,
}

/// A descriptor that wakes a waiting session beside its own socket.
pub(super) struct Local<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) wanted: PollFlags,
}

impl Keepalive {
    pub(super) fn new(session: &Session, socket: Socket) -> Self {
        // The shortest interval, so that libssh2 never suppresses a keep-alive: when one is due is decided here.
        session.set_keepalive(true, 1);
        Self { socket, silent: 0 }
    }

    /// Waits until the socket is ready for libssh2.
    pub(super) fn wait(&mut self, session: &Session) -> Result<(), PeerLost> {
        self.wait_with(session, true, None).map(drop)
    }

    /// As [`Self::wait`], or until `local` is ready; returns its events. `listen`: whether there is room for incoming data.
    pub(super) fn wait_with(
        &mut self,
        session: &Session,
        listen: bool,
        local: Option<Local<'_>>,
    ) -> Result<PollFlags, PeerLost> {
        let locals: Vec<Local<'_>> = local.into_iter().collect();
        loop {
            if let Some((_, woken)) = self.wait_slice(session, wanted(session, listen), &locals)? {
                return Ok(woken.first().copied().unwrap_or(PollFlags::empty()));
            }
            // Back to `poll` and not to libssh2, which would consume a quick answer before it is counted here.
        }
    }

    /// Waits for these events of the socket or those of the locals, and returns what happened to each. `None`: nothing
    /// for a slice.
    pub(super) fn wait_slice(
        &mut self,
        session: &Session,
        wanted: PollFlags,
        locals: &[Local<'_>],
    ) -> Result<Option<(PollFlags, Vec<PollFlags>)>, PeerLost> {
        let slice = PollTimeout::try_from(SLICE).unwrap_or(PollTimeout::NONE);
        let mut fds: Vec<PollFd<'_>> = locals.iter().map(|local| PollFd::new(local.fd, local.wanted)).collect();
        let here = fds.len();
        // `poll` reports a reset connection even with no events requested, which would be a busy loop.
        fds.extend((!wanted.is_empty()).then(|| PollFd::new(self.socket.as_fd(), wanted)));
        let ready = match poll(&mut fds, slice) {
            Err(Errno::EINTR) => return Ok(Some((PollFlags::empty(), vec![PollFlags::empty(); here]))),
            ready => ready? > 0,
        };
        let mut happened: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
        drop(fds);
        let socket = happened.split_off(here).first().copied().unwrap_or(PollFlags::empty());
        // Unread data proves that the peer is alive, but where it takes nothing: what lies there may be old.
        let unread = || !wanted.intersects(PollFlags::POLLIN | PollFlags::POLLOUT) && self.is(PollFlags::POLLIN);
        if !socket.is_empty() || (!ready && unread()) {
            self.silent = 0;
        } else if !ready {
            self.one_slice(session)?;
        }
        Ok(ready.then_some((socket, happened)))
    }

    /// One slice of an idle session. True: there is data to read; otherwise libssh2 must not be called, for the same
    /// reason as above.
    pub(super) fn parked(&mut self, session: &Session) -> Result<bool, PeerLost> {
        if self.is(PollFlags::POLLIN) {
            self.silent = 0;
            return Ok(true);
        }
        self.one_slice(session).map(|()| false)
    }

    fn one_slice(&mut self, session: &Session) -> Result<(), PeerLost> {
        self.silent += 1;
        if self.silent >= GONE {
            return Err(PeerLost::Silent);
        }
        // Only while the socket is writable: half a packet would block everything sent after it.
        if self.silent.is_multiple_of(KEEP_ALIVE) && self.is(PollFlags::POLLOUT) {
            // The next read or write reports a broken socket.
            let _ = session.keepalive_send();
        }
        Ok(())
    }

    fn is(&self, ready: PollFlags) -> bool {
        let mut fds = [PollFd::new(self.socket.as_fd(), ready)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
    }
}

/// The events of a session's socket that let libssh2 go on.
pub(super) fn wanted(session: &Session, listen: bool) -> PollFlags {
    let mut wanted = PollFlags::empty();
    wanted.set(PollFlags::POLLIN, listen);
    wanted.set(PollFlags::POLLOUT, is_outbound(session));
    wanted
}

/// A packet is half sent. libssh2 must finish it before any other one.
pub(super) fn is_outbound(session: &Session) -> bool {
    matches!(session.block_directions(), BlockDirections::Outbound | BlockDirections::Both)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn a_reset_connection_does_not_wake_a_session_that_cannot_read() {
        let (socket, gone) = UnixStream::pair().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        drop(gone);
        let session = Session::new().unwrap();
        let mut keepalive = Keepalive::new(&session, Socket::Pipe(Arc::new(socket)));
        let later = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            far.write_all(b"x").unwrap();
            far
        });
        let local = Local { fd: near.as_fd(), wanted: PollFlags::POLLIN };
        assert_eq!(keepalive.wait_with(&session, false, Some(local)).unwrap(), PollFlags::POLLIN);
        later.join().unwrap();
    }
}

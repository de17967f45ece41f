//! Waiting for the other side of a session, and noticing that it is not there any more.
//!
//! libssh2 sends keep-alives and does not count the answers; a relay, a NAT box or a hung kernel acknowledges TCP all the
//! same. sshd answers each keep-alive, so that silence means that nobody is there (ServerAliveInterval 15,
//! ServerAliveCountMax 3 of OpenSSH's client).

use core::time::Duration;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ssh2::{BlockDirections, Session};

use super::line::Socket;

/// A waiting session looks up this often, and so does a parked one.
pub(super) const SLICE: Duration = Duration::from_secs(5);
/// Slices of silence until a keep-alive is sent: 15 s, under the half minute after which NAT forgets a connection.
const KEEP_ALIVE: u32 = 3;
/// Slices of silence until the other side is given up: 45 s.
const GONE: u32 = 9;

/// Nothing was heard for [`GONE`] slices, or this machine cannot wait.
#[derive(Debug, thiserror::Error)]
pub(super) enum Deaf {
    #[error("nothing was heard for {} s, keep-alives were not answered", (SLICE * GONE).as_secs())]
    Gone,
    #[error("{0}")]
    Poll(#[from] Errno),
}

pub(super) struct Ear {
    socket: Socket,
    silent: u32,
}

/// What a waiting session is woken by beside its own socket.
pub(super) struct Local<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) wanted: PollFlags,
}

impl Ear {
    pub(super) fn new(session: &Session, socket: Socket) -> Self {
        // The shortest: when a keep-alive is due is counted here, and libssh2 never holds it back.
        session.set_keepalive(true, 1);
        Self { socket, silent: 0 }
    }

    /// Until the socket is ready for what libssh2 waits for.
    pub(super) fn wait(&mut self, session: &Session) -> Result<(), Deaf> {
        self.wait_with(session, true, None).map(drop)
    }

    /// The same, or until `local` is ready, and for what. `listen`: whether the other side's words can be taken in.
    pub(super) fn wait_with(
        &mut self,
        session: &Session,
        listen: bool,
        local: Option<Local<'_>>,
    ) -> Result<PollFlags, Deaf> {
        let outbound = matches!(session.block_directions(), BlockDirections::Outbound | BlockDirections::Both);
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::POLLIN, listen);
        wanted.set(PollFlags::POLLOUT, outbound);
        let slice = PollTimeout::try_from(SLICE).unwrap_or(PollTimeout::NONE);
        loop {
            let mut fds: Vec<PollFd<'_>> = local.iter().map(|local| PollFd::new(local.fd, local.wanted)).collect();
            let here = fds.len();
            // A connection that was reset is told of whether it is asked for or not, and would wake us without end.
            fds.extend((!wanted.is_empty()).then(|| PollFd::new(self.socket.as_fd(), wanted)));
            let ready = match poll(&mut fds, slice) {
                Err(Errno::EINTR) => return Ok(PollFlags::empty()),
                ready => ready? > 0,
            };
            let happened = |at: usize| fds.get(at).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
            let heard = !happened(here).is_empty();
            let woken = if here == 0 { PollFlags::empty() } else { happened(0) };
            drop(fds);
            if heard {
                self.silent = 0;
            }
            if ready {
                return Ok(woken);
            }
            // What waits to be taken in is an answer, too.
            if !listen && self.is(PollFlags::POLLIN) {
                self.silent = 0;
                continue;
            }
            // Back to `poll`, and not to libssh2: that would take an answer which is quick before it was noticed here.
            self.one_slice(session)?;
        }
    }

    /// A parked session's turn, once a slice. True: there is something to take in; otherwise libssh2 is left alone, for
    /// the same reason.
    pub(super) fn parked(&mut self, session: &Session) -> Result<bool, Deaf> {
        if self.is(PollFlags::POLLIN) {
            self.silent = 0;
            return Ok(true);
        }
        self.one_slice(session).map(|()| false)
    }

    fn one_slice(&mut self, session: &Session) -> Result<(), Deaf> {
        self.silent += 1;
        if self.silent >= GONE {
            return Err(Deaf::Gone);
        }
        // Only where it is taken whole: half of one would block whatever is sent after it.
        if self.silent.is_multiple_of(KEEP_ALIVE) && self.is(PollFlags::POLLOUT) {
            // A socket that is broken shows at the next read or write.
            let _ = session.keepalive_send();
        }
        Ok(())
    }

    fn is(&self, ready: PollFlags) -> bool {
        let mut fds = [PollFd::new(self.socket.as_fd(), ready)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn a_connection_that_was_reset_wakes_nobody_who_cannot_take_in_what_it_said() {
        let (socket, gone) = UnixStream::pair().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        drop(gone);
        let session = Session::new().unwrap();
        let mut ear = Ear::new(&session, Socket::Pipe(Arc::new(socket)));
        let later = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            far.write_all(b"x").unwrap();
            far
        });
        let local = Local { fd: near.as_fd(), wanted: PollFlags::POLLIN };
        assert_eq!(ear.wait_with(&session, false, Some(local)).unwrap(), PollFlags::POLLIN);
        later.join().unwrap();
    }
}

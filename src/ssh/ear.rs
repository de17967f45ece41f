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

    /// Until the socket is ready for what libssh2 waits for, or for a slice.
    pub(super) fn wait(&mut self, session: &Session) -> Result<(), Deaf> {
        self.wait_with(session, true, None).map(drop)
    }

    /// The same, or until `local` is ready. `listen`: whether the other side's words can be taken in.
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
        let mut fds = vec![PollFd::new(self.socket.as_fd(), wanted)];
        fds.extend(local.map(|local| PollFd::new(local.fd, local.wanted)));
        let slice = PollTimeout::try_from(SLICE).unwrap_or(PollTimeout::NONE);
        let ready = match poll(&mut fds, slice) {
            Err(Errno::EINTR) => return Ok(PollFlags::empty()),
            ready => ready? > 0,
        };
        let happened = |at: usize| fds.get(at).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let (heard, local) = (!happened(0).is_empty(), happened(1));
        drop(fds);
        if heard {
            self.silent = 0;
        } else if !ready {
            self.one_slice(session)?;
        }
        Ok(local)
    }

    /// A parked session's turn, once a slice.
    pub(super) fn parked(&mut self, session: &Session) -> Result<(), Deaf> {
        if self.is(PollFlags::POLLIN) {
            self.silent = 0;
            return Ok(());
        }
        self.one_slice(session)
    }

    fn one_slice(&mut self, session: &Session) -> Result<(), Deaf> {
        self.silent += 1;
        if self.silent >= GONE {
            return Err(Deaf::Gone);
        }
        // Only where it is taken whole: half of one would block whatever is sent after it.
        if self.silent % KEEP_ALIVE == 0 && self.is(PollFlags::POLLOUT) {
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

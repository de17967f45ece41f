//! The connection under a session, shared by the thread that blocks on it and the task that waits: how to close it, and
//! what it was doing.

use core::time::Duration;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ssh2::Session;

use super::SshError;
use crate::cert::NodeName;
use crate::mutex::lock;
use crate::text::escape;

/// The socket under a session: a TCP connection, or a pair whose other end a jump host's thread serves.
#[derive(Clone)]
pub(super) enum Socket {
    Tcp(Arc<TcpStream>),
    Pipe(Arc<UnixStream>),
}

impl Socket {
    pub(super) fn shut(&self) {
        // An error means that it is closed already.
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Self::Pipe(socket) => socket.shutdown(Shutdown::Both),
        };
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Pipe(socket) => socket.as_fd(),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// A session and its socket.
pub(super) struct Open {
    pub(super) session: Session,
    pub(super) socket: Socket,
}

#[derive(Clone, Default)]
pub(super) struct Connection {
    state: Arc<Mutex<State>>,
    /// Notified when the connection is cancelled.
    cancelled: Arc<Condvar>,
    /// The jump host that this hop ends at.
    jump: Option<NodeName>,
}

#[derive(Default)]
struct State {
    /// Sockets of the session and of its jump hosts.
    sockets: Vec<Socket>,
    cancelled: bool,
    /// Connections closed before this one. A thread that still serves an earlier one must not close this one.
    epoch: u32,
    phase: String,
    /// Why one of our threads closed it.
    cause: Option<String>,
    /// The channel that carries it, where it leads by a jump host.
    hop: Option<Hop>,
}

/// A channel of a jump host, shared by the session that it carries and the thread that serves it.
#[derive(Clone, Default)]
pub(super) struct Hop(Arc<Mutex<Progress>>);

/// How far a channel is.
#[derive(Default)]
pub(super) enum Progress {
    #[default]
    Queued,
    /// The jump host is being logged in to.
    Behind(Connection),
    /// The jump host was asked for it and has not answered.
    Opening,
    Open,
    /// It could not be opened.
    Failed(Arc<SshError>),
    /// It ended with the connection to the jump host, for this reason.
    Lost(String),
}

impl Hop {
    pub(super) fn set(&self, progress: Progress) {
        *lock(&self.0) = progress;
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn is_opening(&self) -> bool {
        matches!(*lock(&self.0), Progress::Opening)
    }

    pub(super) fn failure(&self) -> Option<Arc<SshError>> {
        match &*lock(&self.0) {
            Progress::Failed(error) => Some(Arc::clone(error)),
            _ => None,
        }
    }

    fn loss(&self) -> Option<String> {
        match &*lock(&self.0) {
            Progress::Lost(why) => Some(why.clone()),
            _ => None,
        }
    }

    fn login(&self) -> Option<Connection> {
        match &*lock(&self.0) {
            Progress::Behind(login) => Some(login.clone()),
            _ => None,
        }
    }
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn of_jump(&self, jump: &NodeName) -> Self {
        Self { jump: Some(jump.clone()), ..self.clone() }
    }

    /// The caller is gone: every blocked call fails, now and later.
    pub(super) fn cancel(&self) {
        self.state().cancelled = true;
        self.cancelled.notify_all();
        self.close();
    }

    /// Waits, unless it is cancelled. False: it is no longer wanted.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let waited = self.cancelled.wait_timeout_while(self.state(), time, |state| !state.cancelled);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.cancelled
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.state().cancelled
    }

    /// Shuts this connection and those that carry it down: every blocked call fails.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.epoch += 1;
        state.sockets.drain(..).for_each(|socket| socket.shut());
    }

    /// Identifies the current connection, for [`Self::fail`].
    pub(super) fn epoch(&self) -> u32 {
        self.state().epoch
    }

    /// [`Self::close`] by a thread that served the connection of this epoch. The first reason is kept.
    pub(super) fn fail(&self, epoch: u32, why: Option<String>) {
        let mut state = self.state();
        if state.epoch == epoch {
            state.cause = state.cause.take().or(why);
            drop(state);
            self.close();
        }
    }

    pub(super) fn overdue(&self, node: &NodeName, after: Duration) -> SshError {
        // Before the thread that is shut out goes on to something else.
        let phase = self.current();
        self.cancel();
        SshError::Deadline { node: node.clone(), phase, after }
    }

    /// What it does, or what the login at the jump host does that it waits for.
    fn current(&self) -> String {
        let state = self.state();
        match state.hop.as_ref().and_then(Hop::login) {
            Some(login) => login.current(),
            None => state.phase.clone(),
        }
    }

    pub(super) fn is_carried_by(&self, hop: &Hop) {
        self.state().hop = Some(hop.clone());
    }

    pub(super) fn phase(&self, phase: &str) {
        self.state().phase = match &self.jump {
            Some(jump) => format!("{phase} ({jump})"),
            None => phase.to_owned(),
        };
    }

    pub(super) fn closed(&self, node: &NodeName, why: &dyn core::fmt::Display) -> SshError {
        let state = self.state();
        let lost = state.cause.clone().or_else(|| state.hop.as_ref().and_then(Hop::loss));
        let why = lost.unwrap_or_else(|| escape(&why.to_string(), 200));
        SshError::Closed { node: node.clone(), phase: state.phase.clone(), why }
    }

    /// # Errors
    /// The session was cancelled.
    pub(super) fn track(&self, socket: &Socket) -> io::Result<()> {
        let mut state = self.state();
        if state.cancelled {
            socket.shut();
            return Err(io::Error::other("no longer wanted"));
        }
        state.sockets.push(socket.clone());
        Ok(())
    }
}

/// Shuts the sockets down before the libssh2 session is dropped, whose disconnect message could block.
pub(super) struct CloseOnDrop<'a>(pub(super) &'a Connection);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Cancels the connection when its owner is dropped, by a deadline or an error, so that no thread stays blocked.
pub(super) struct CancelOnDrop(pub(super) Connection);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl core::fmt::Debug for CancelOnDrop {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CancelOnDrop")
    }
}

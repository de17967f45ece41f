//! What both sides of a session know of it: how to cut it, and what it was doing.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};

use core::time::Duration;

use super::SshError;
use crate::cert::NodeName;
use crate::mutex::lock;
use crate::text::escape;

/// What carries a session: a connection of its own, or the channel of a jump host, whose thread holds the other end.
#[derive(Clone)]
pub(super) enum Socket {
    Tcp(Arc<TcpStream>),
    Pipe(Arc<UnixStream>),
}

impl Socket {
    pub(super) fn shut(&self) {
        // It may be gone already, which is as good.
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

#[derive(Clone, Default)]
pub(super) struct Line {
    state: Arc<Mutex<State>>,
    /// The jump host that this part of the way leads to.
    jump: Option<NodeName>,
}

#[derive(Default)]
struct State {
    /// Of the session and of the jump hosts before it.
    sockets: Vec<Socket>,
    shut: bool,
    /// How many connections were hung up before this one: a thread that served one of those has no say any more.
    way: u32,
    phase: String,
    /// Why a thread of ours ended it.
    cause: Option<String>,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn of_jump(&self, jump: &NodeName) -> Self {
        Self { state: Arc::clone(&self.state), jump: Some(jump.clone()) }
    }

    /// Nobody wants the session any more: every waiting call fails, now and later.
    pub(super) fn shut(&self) {
        self.state().shut = true;
        self.hang_up();
    }

    /// Whether anybody waits for what is being done.
    pub(super) fn is_wanted(&self) -> bool {
        !self.state().shut
    }

    /// Ends this connection and those below it: every waiting call fails.
    pub(super) fn hang_up(&self) {
        let mut state = self.state();
        state.way += 1;
        state.sockets.drain(..).for_each(|socket| socket.shut());
    }

    /// The connection that there is now, for [`Self::end`].
    pub(super) fn way(&self) -> u32 {
        self.state().way
    }

    /// The same as [`Self::hang_up`], by a thread of that way, which may know why; the first reason stays.
    pub(super) fn end(&self, way: u32, why: Option<String>) {
        let mut state = self.state();
        if state.way == way {
            state.cause = state.cause.take().or(why);
            drop(state);
            self.hang_up();
        }
    }

    pub(super) fn overdue(&self, node: &NodeName, after: Duration) -> SshError {
        self.shut();
        SshError::Deadline { node: node.clone(), phase: self.state().phase.clone(), after }
    }

    pub(super) fn phase(&self, phase: &str) {
        self.state().phase = match &self.jump {
            Some(jump) => format!("{phase} ({jump})"),
            None => phase.to_owned(),
        };
    }

    pub(super) fn closed(&self, node: &NodeName, why: &dyn core::fmt::Display) -> SshError {
        let state = self.state();
        let why = state.cause.clone().unwrap_or_else(|| escape(&why.to_string(), 200));
        SshError::Closed { node: node.clone(), phase: state.phase.clone(), why }
    }

    /// # Errors
    /// Nobody wants this session any more.
    pub(super) fn hold(&self, socket: &Socket) -> io::Result<()> {
        let mut state = self.state();
        if state.shut {
            socket.shut();
            return Err(io::Error::other("no longer wanted"));
        }
        state.sockets.push(socket.clone());
        Ok(())
    }
}

/// Shuts the sockets before libssh2 is dropped, which would otherwise wait for the other side's farewell.
pub(super) struct Cut<'a>(pub(super) &'a Line);

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}

/// Whoever drops it, by a deadline or by an error, cuts the line: no thread waits on.
pub(super) struct Leash(pub(super) Line);

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.shut();
    }
}

impl core::fmt::Debug for Leash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Leash")
    }
}

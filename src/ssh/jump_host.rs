//! A jump host: the sessions that wait for a channel through it, and the connections that carry them.
//!
//! One connection carries all of them (MaxSessions does not count such channels, and MaxStartups counts connections).
//! libssh2 opens one channel of a connection at a time, and sshd answers only when the far side has: so a node that does
//! not answer would hold up those behind it. Then further connections are made.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use super::connect::{CONNECT, Open, authority, open};
use super::connection::{Connection, Hop, Socket};
use super::jump_connection::JumpConnection;
use super::pool::{Pool, WeakPool};
use super::thread::spawn;
use super::tunnel::pair;
use super::{Endpoint, SshError};
use crate::model::Advice;
use crate::mutex::lock;

/// How often a session that waits for its channel looks for what keeps it.
const SLICE: Duration = Duration::from_millis(250);
/// Slices of waiting for the next channel of an open connection after which another one is made.
const SLOW: u32 = 12;
/// The same, where no channel opens meanwhile.
const HELD_UP: u32 = 4;
/// Logins at once, where no channel opens.
const LOGINS: usize = 4;
/// Connections, where the far sides answer.
const MOST: usize = 4;
/// Connections, where channels do not open: each may be held up by a node that does not answer. As many as there are
/// sessions by default; each had a connection of its own otherwise.
const MOST_HELD_UP: usize = 64;
/// The byte that a session gets before its data: its channel is open.
pub(super) const OPEN: u8 = 1;

pub(super) struct JumpHost {
    /// Without a pool.
    pub(super) endpoint: Endpoint,
    pool: WeakPool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    /// The logins under way.
    logins: Vec<Connection>,
    open: Vec<Arc<UnixStream>>,
    /// Channels that were opened or refused.
    answered: u64,
    /// A login that only a person can mend, or that sshd punishes.
    refused: Option<Arc<SshError>>,
}

/// A session that waits for its channel.
pub(super) struct Request {
    pub(super) to: SocketAddr,
    pub(super) local: UnixStream,
    pub(super) hop: Hop,
    /// A connection ended while it opened the channel.
    pub(super) interrupted: bool,
}

impl Request {
    /// Nobody waits for it any more.
    pub(super) fn is_abandoned(&self) -> bool {
        !matches!((&self.local).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// The session sees its end of the pair close, and looks for the reason.
    pub(super) fn fail(self, error: &Arc<SshError>) {
        self.hop.fails(error);
    }
}

impl JumpHost {
    pub(super) fn new(endpoint: &Endpoint, pool: WeakPool) -> Self {
        Self { endpoint: without_pool(endpoint), pool, state: Mutex::default() }
    }

    pub(super) fn is_for(&self, endpoint: &Endpoint) -> bool {
        is_same_login(&self.endpoint, endpoint)
    }

    /// A channel to this address, as a socket.
    pub(super) fn reach(self: &Arc<Self>, to: SocketAddr, connection: &Connection) -> Result<Socket, Arc<SshError>> {
        let node = &self.endpoint.node;
        let (near, local) = pair(node)?;
        let gone = |source| SshError::Thread { node: node.clone(), source };
        near.set_nonblocking(false).and_then(|()| near.set_read_timeout(Some(SLICE))).map_err(gone)?;
        let (near, hop) = (Arc::new(near), Hop::default());
        let socket = Socket::Pipe(Arc::clone(&near));
        connection.is_carried_by(&hop);
        connection.of_jump(node).phase("connecting further");
        connection.track(&socket).map_err(|gone| connection.closed(node, &gone))?;
        self.ask(Request { to, local, hop: hop.clone(), interrupted: false })?;
        let opened = self.wait(&near, &hop, to);
        if let Err(error) = opened {
            self.leave(&hop, &near);
            // If the session was cancelled, nobody reads this.
            return Err(hop.failure().unwrap_or_else(|| Arc::new(connection.closed(node, &error))));
        }
        near.set_read_timeout(None).map_err(gone)?;
        Ok(socket)
    }

    fn wait(self: &Arc<Self>, mut near: &UnixStream, hop: &Hop, to: SocketAddr) -> std::io::Result<()> {
        let (mut opening, mut waiting, mut held_up, mut answered) = (Duration::ZERO, 0, 0, 0);
        let mut byte = [0];
        loop {
            match near.read(&mut byte) {
                Ok(1..) => return Ok(()),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if hop.is_opening() {
                opening += SLICE;
                if opening >= CONNECT {
                    hop.fails(&Arc::new(self.no_answer(to)));
                    return Err(ErrorKind::TimedOut.into());
                }
                continue;
            }
            let mut state = lock(&self.state);
            let progress = state.answered != answered || !state.logins.is_empty();
            waiting = if state.logins.is_empty() { waiting + 1 } else { 0 };
            held_up = if progress { 0 } else { held_up + 1 };
            answered = state.answered;
            if held_up >= HELD_UP && state.open.len() < MOST_HELD_UP {
                let count = state.waiting.len().min(LOGINS);
                self.log_in(&mut state, count);
            } else if waiting >= SLOW && state.open.len() < MOST {
                self.log_in(&mut state, 1);
            }
        }
    }

    fn no_answer(&self, to: SocketAddr) -> SshError {
        let (node, to) = (self.endpoint.node.clone(), authority(&to.ip().to_string(), to.port()));
        SshError::FarSide { node, to, why: format!("no answer within {} s", CONNECT.as_secs()) }
    }

    fn ask(self: &Arc<Self>, request: Request) -> Result<(), Arc<SshError>> {
        let mut state = lock(&self.state);
        if let Some(refused) = &state.refused {
            return Err(Arc::clone(refused));
        }
        if let Some(login) = state.logins.first() {
            request.hop.is_behind(login);
        }
        state.waiting.push_back(request);
        if state.open.is_empty() {
            self.log_in(&mut state, 1);
        }
        for wake in &state.open {
            // Full means that it will wake up anyway.
            let _ = (&**wake).write(&[OPEN]);
        }
        Ok(())
    }

    /// The session no longer waits. The last one that does takes the login with it.
    fn leave(&self, hop: &Hop, near: &UnixStream) {
        let _ = near.shutdown(std::net::Shutdown::Both);
        let mut state = lock(&self.state);
        state.waiting.retain(|request| !request.hop.is(hop));
        if state.waiting.is_empty() {
            state.logins.iter().for_each(Connection::cancel);
        }
    }

    /// Begins so many logins, where somebody waits and none is under way.
    fn log_in(self: &Arc<Self>, state: &mut State, count: usize) {
        if !state.logins.is_empty() || state.waiting.is_empty() {
            return;
        }
        for _ in 0..count {
            let connection = Connection::default().of_jump(&self.endpoint.node);
            state.logins.push(connection.clone());
            let host = Arc::clone(self);
            if let Err(error) = spawn(&self.endpoint.node, move || host.connect(&connection)) {
                state.logins.pop();
                if state.open.is_empty() && state.logins.is_empty() {
                    fail_all(state, &Arc::new(error));
                }
                return;
            }
        }
        if let Some(login) = state.logins.first() {
            state.waiting.iter().for_each(|request| request.hop.is_behind(login));
        }
    }

    fn connect(self: &Arc<Self>, connection: &Connection) {
        let endpoint = Endpoint { pool: self.pool.get(), ..self.endpoint.clone() };
        match open(&endpoint, connection) {
            Ok(open) => self.serve(open, connection),
            Err(error) => {
                let error = Arc::new(error);
                let mut state = lock(&self.state);
                state.logins.retain(|login| !login.is_same(connection));
                if error.advice() == Advice::Person || error.is_penalty() {
                    state.refused = Some(Arc::clone(&error));
                }
                if !state.open.is_empty() || !state.logins.is_empty() {
                    return;
                }
                if !connection.is_wanted() && state.refused.is_none() {
                    // Somebody may have come after the last one had left.
                    self.log_in(&mut state, 1);
                } else {
                    fail_all(&mut state, &error);
                }
            }
        }
    }

    fn serve(self: &Arc<Self>, open: Open, connection: &Connection) {
        let (wake, woken) = match pair(&self.endpoint.node) {
            Ok((wake, woken)) => (Arc::new(wake), woken),
            Err(error) => {
                connection.close();
                let mut state = lock(&self.state);
                state.logins.retain(|login| !login.is_same(connection));
                return fail_all(&mut state, &Arc::new(error));
            }
        };
        {
            let mut state = lock(&self.state);
            state.logins.retain(|login| !login.is_same(connection));
            state.open.push(Arc::clone(&wake));
            state.waiting.iter().for_each(|request| request.hop.is_queued());
        }
        connection.phase("connecting further");
        let mut served = JumpConnection::new(self, open, woken, wake);
        let end = served.run();
        // Before the session is dropped, as in `CloseOnDrop`.
        connection.close();
        let Err(broken) = end else { return };
        let why = format!("{}: {broken}", self.endpoint.node);
        let opened = served.opened;
        let (interrupted, wake) = served.end(&why);
        let mut state = lock(&self.state);
        state.open.retain(|other| !Arc::ptr_eq(other, &wake));
        let error = || Arc::new(connection.closed(&self.endpoint.node, &broken));
        let mut again = true;
        match interrupted {
            Some(request) if request.interrupted => {
                request.fail(&error());
                again = opened > 0;
            }
            Some(request) => state.waiting.push_front(Request { interrupted: true, ..request }),
            None => {}
        }
        if state.open.is_empty() && !state.waiting.is_empty() {
            if again {
                self.log_in(&mut state, 1);
            } else {
                fail_all(&mut state, &error());
            }
        }
    }

    /// The next session in the queue whose channel is to be opened.
    pub(super) fn next(&self) -> Option<Request> {
        let mut state = lock(&self.state);
        let request = state.waiting.pop_front()?;
        request.hop.opens();
        Some(request)
    }

    pub(super) fn answered(&self) {
        lock(&self.state).answered += 1;
    }

    /// A connection opens no more channels.
    pub(super) fn withdraw(&self, wake: &Arc<UnixStream>) {
        lock(&self.state).open.retain(|other| !Arc::ptr_eq(other, wake));
    }

    /// An idle connection wants to end. False: there is something to do.
    pub(super) fn retire(&self, wake: &Arc<UnixStream>) -> bool {
        let mut state = lock(&self.state);
        let may = state.waiting.is_empty();
        if may {
            state.open.retain(|other| !Arc::ptr_eq(other, wake));
        }
        may
    }
}

/// It would keep the pool that keeps it.
fn without_pool(endpoint: &Endpoint) -> Endpoint {
    let jump = endpoint.jump.as_deref().map(|jump| Box::new(without_pool(jump)));
    Endpoint { jump, pool: Pool::default(), ..endpoint.clone() }
}

fn fail_all(state: &mut State, error: &Arc<SshError>) {
    state.waiting.drain(..).for_each(|request| request.fail(error));
}

/// Whether one connection may stand for both.
fn is_same_login(one: &Endpoint, other: &Endpoint) -> bool {
    let jump = match (&one.jump, &other.jump) {
        (None, None) => true,
        (Some(one), Some(other)) => is_same_login(one, other),
        _ => false,
    };
    jump && one.node == other.node
        && (one.address, &one.others, &one.user) == (other.address, &other.others, &other.user)
        && (&one.host_keys, &one.revoked, &one.agent) == (&other.host_keys, &other.revoked, &other.agent)
        && one.identities == other.identities
}

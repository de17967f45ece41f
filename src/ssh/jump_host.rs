//! A jump host: the sessions that wait for a channel through it, and the connections that carry them.
//!
//! One connection carries all of them (MaxSessions does not count such channels, and MaxStartups counts connections).
//! libssh2 opens one channel of a connection at a time, and sshd answers only when the far side has: so a node that does
//! not answer would hold up those behind it. Then further connections are made.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use super::connection::{Connection, Hop, Open, Progress, Socket};
use super::forward::{CONNECT, authority};
use super::jump_connection::JumpConnection;
use super::pump::pair;
use super::thread::{gone, spawn_or};
use super::{Endpoint, SshError};
use crate::model::Advice;
use crate::mutex::lock;

/// How often a session that waits for its channel looks for what keeps it.
const SLICE: Duration = Duration::from_millis(250);
/// Slices of waiting for a connection that opens channels for others, after which another one is made.
const SLOW: u32 = 12;
/// The same, where no channel opens meanwhile.
const HELD_UP: u32 = 4;
/// Slices after which a login that leads to nothing is given up: less than a session waits, and more than a name server
/// that does not answer costs sshd.
const HUNG: u32 = 100;
/// Logins at once, where no channel opens.
const LOGINS: usize = 4;
/// Connections, where the far sides answer.
const MOST: usize = 4;
/// Connections, where they do not. As many as there are sessions by default.
const MOST_HELD_UP: usize = 64;
/// The byte that a session gets before its data: its channel is open.
pub(super) const OPEN: u8 = 1;

/// Connects to the jump host and logs in.
pub(super) type LogIn = Box<dyn Fn(&Connection) -> Result<Open, SshError> + Send + Sync>;

pub(super) struct JumpHost {
    pub(super) endpoint: Endpoint,
    log_in: LogIn,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    /// The logins under way, each with the slices for which it was waited for.
    logins: Vec<(Connection, u32)>,
    /// The connections that open channels, each by what wakes it up.
    open: Vec<Arc<UnixStream>>,
    /// Channels that were opened or refused.
    answered: u64,
    /// A login that only a person can mend, or that sshd punishes: no other one is tried.
    refused: Option<Arc<SshError>>,
}

/// A session that waits for its channel.
pub(super) struct Request {
    pub(super) to: SocketAddr,
    pub(super) local: UnixStream,
    pub(super) hop: Hop,
    /// A connection ended while it opened the channel.
    interrupted: bool,
}

impl Request {
    /// Nobody waits for it any more.
    pub(super) fn is_abandoned(&self) -> bool {
        !matches!((&self.local).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// The session sees its end of the pair close, and looks for the reason.
    pub(super) fn fail(self, error: &Arc<SshError>) {
        self.hop.set(Progress::Failed(Arc::clone(error)));
    }
}

/// What a waiting session has seen, in slices.
#[derive(Default)]
struct Patience {
    opening: u32,
    waiting: u32,
    held_up: u32,
    answered: u64,
}

impl JumpHost {
    pub(super) fn new(endpoint: Endpoint, log_in: LogIn) -> Self {
        Self { endpoint, log_in, state: Mutex::default() }
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
        if let Err(error) = self.wait(&near, &hop, to) {
            socket.shut();
            self.leave(&hop);
            // If the session was cancelled, nobody reads this.
            return Err(hop.failure().unwrap_or_else(|| Arc::new(connection.closed(node, &error))));
        }
        near.set_read_timeout(None).map_err(gone)?;
        Ok(socket)
    }

    fn ask(self: &Arc<Self>, request: Request) -> Result<(), Arc<SshError>> {
        let mut state = lock(&self.state);
        if let (true, Some(refused)) = (state.open.is_empty(), &state.refused) {
            return Err(Arc::clone(refused));
        }
        if let Some((login, _)) = state.logins.first() {
            request.hop.set(Progress::Behind(login.clone()));
        }
        state.waiting.push_back(request);
        if state.open.is_empty() {
            self.log_in(&mut state, 1);
        }
        state.wake();
        Ok(())
    }

    /// Until the channel is open.
    fn wait(self: &Arc<Self>, mut near: &UnixStream, hop: &Hop, to: SocketAddr) -> io::Result<()> {
        let mut patience = Patience::default();
        loop {
            match near.read(&mut [0]) {
                Ok(1..) => return Ok(()),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if hop.is_opening() {
                patience.opening += 1;
                if SLICE * patience.opening >= CONNECT {
                    hop.set(Progress::Failed(Arc::new(self.no_answer(to))));
                    return Err(ErrorKind::TimedOut.into());
                }
                continue;
            }
            let mut state = lock(&self.state);
            if state.open.is_empty()
                && state.logins.is_empty()
                && let Some(refused) = &state.refused
            {
                hop.set(Progress::Failed(Arc::clone(refused)));
                return Err(ErrorKind::NotConnected.into());
            }
            // One session counts for all, since each may wait for less than a login that hangs.
            let is_first = state.waiting.front().is_some_and(|request| request.hop.is(hop));
            let count = patience.lost(&mut state, is_first);
            self.log_in(&mut state, count);
        }
    }

    fn no_answer(&self, to: SocketAddr) -> SshError {
        let (node, to) = (self.endpoint.node.clone(), authority(&to.ip().to_string(), to.port()));
        SshError::FarSide { node, to, why: format!("no answer within {} s", CONNECT.as_secs()) }
    }

    /// The session no longer waits. The last one that does takes the login with it.
    fn leave(&self, hop: &Hop) {
        let mut state = lock(&self.state);
        state.waiting.retain(|request| !request.hop.is(hop));
        if state.waiting.is_empty() {
            // Nobody who comes now waits for it to end.
            state.logins.drain(..).for_each(|(login, _)| login.cancel());
        }
        // The connection that opens its channel.
        state.wake();
    }

    /// Begins so many logins, where somebody waits and none is under way.
    fn log_in(self: &Arc<Self>, state: &mut State, count: usize) {
        if !state.logins.is_empty() || state.waiting.is_empty() || state.refused.is_some() {
            return;
        }
        for _ in 0..count {
            let connection = Connection::default().of_jump(&self.endpoint.node);
            state.logins.push((connection.clone(), 0));
            let (host, panicked) = (Arc::clone(self), (Arc::clone(self), connection.clone()));
            let (work, lost) = (move || host.connect(&connection), move || panicked.0.lost(&panicked.1));
            if let Err(error) = spawn_or(&self.endpoint.node, work, lost) {
                state.logins.pop();
                state.fail_if_alone(&Arc::new(error));
                break;
            }
        }
        if let Some((login, _)) = state.logins.first() {
            state.waiting.iter().for_each(|request| request.hop.set(Progress::Behind(login.clone())));
        }
    }

    /// The login's thread panicked: nobody need wait for it.
    fn lost(&self, connection: &Connection) {
        let mut state = lock(&self.state);
        state.logins.retain(|(login, _)| !login.is_same(connection));
        state.fail_if_alone(&Arc::new(gone(&self.endpoint.node)));
    }

    fn connect(self: &Arc<Self>, connection: &Connection) {
        let opened = (self.log_in)(connection);
        let opened = opened.and_then(|open| Ok((open, pair(&self.endpoint.node).inspect_err(|_| connection.close())?)));
        let mut state = lock(&self.state);
        state.logins.retain(|(login, _)| !login.is_same(connection));
        match opened {
            Ok((open, (wake, woken))) => {
                let wake = Arc::new(wake);
                state.open.push(Arc::clone(&wake));
                state.waiting.iter().for_each(|request| request.hop.set(Progress::Queued));
                drop(state);
                self.serve(JumpConnection::new(self, open, woken, wake), connection);
            }
            // Somebody may have come after the last one had left.
            Err(_) if !connection.is_wanted() && state.open.is_empty() => self.log_in(&mut state, 1),
            Err(error) => {
                let error = Arc::new(error);
                // What is cancelled in the middle may look refused.
                if connection.is_wanted() && (error.advice() == Advice::Person || error.is_penalty()) {
                    state.refused = Some(Arc::clone(&error));
                }
                state.fail_if_alone(&error);
            }
        }
    }

    fn serve(self: &Arc<Self>, mut served: JumpConnection<'_>, connection: &Connection) {
        connection.phase("connecting further");
        let end = served.run();
        // Before the session is dropped, as in `CloseOnDrop`.
        connection.close();
        let Err(broken) = end else { return };
        let opened = served.opened;
        let (interrupted, wake) = served.end(&format!("{}: {broken}", self.endpoint.node));
        let mut state = lock(&self.state);
        state.open.retain(|other| !Arc::ptr_eq(other, &wake));
        let error = Arc::new(connection.closed(&self.endpoint.node, &broken));
        match interrupted {
            // It took two connections with it.
            Some(request) if request.interrupted => {
                request.fail(&error);
                if opened == 0 {
                    state.fail_if_alone(&error);
                }
            }
            Some(request) if !request.is_abandoned() => {
                request.hop.set(Progress::Queued);
                state.waiting.push_front(Request { interrupted: true, ..request });
                state.wake();
            }
            _ => {}
        }
        if state.open.is_empty() {
            self.log_in(&mut state, 1);
        }
    }

    /// The next session in the queue whose channel is to be opened.
    pub(super) fn next(&self) -> Option<Request> {
        let request = lock(&self.state).waiting.pop_front()?;
        request.hop.set(Progress::Opening);
        Some(request)
    }

    pub(super) fn answered(&self) {
        lock(&self.state).answered += 1;
    }

    /// This connection opens no more channels.
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

impl State {
    /// A login or a connection failed: so have all that wait, unless another one may serve them.
    fn fail_if_alone(&mut self, error: &Arc<SshError>) {
        if self.open.is_empty() && self.logins.is_empty() {
            self.waiting.drain(..).for_each(|request| request.fail(error));
        }
    }

    fn wake(&self) {
        for wake in &self.open {
            // Full means that it will wake up anyway.
            let _ = (&**wake).write(&[OPEN]);
        }
    }
}

impl Patience {
    /// Another slice has passed; `is_first`: of the one that waits longest. Returns how many more connections are wanted.
    fn lost(&mut self, state: &mut State, is_first: bool) -> usize {
        if !state.logins.is_empty() {
            state.logins.retain_mut(|(login, slices)| {
                *slices += u32::from(is_first);
                let hangs = *slices >= HUNG;
                if hangs {
                    login.cancel();
                }
                !hangs
            });
            (self.waiting, self.held_up) = (0, 0);
            return 0;
        }
        self.waiting += 1;
        self.held_up = if state.answered == self.answered { self.held_up + 1 } else { 0 };
        self.answered = state.answered;
        match state.open.len() {
            0 => 1,
            open if self.held_up >= HELD_UP && open < MOST_HELD_UP => state.waiting.len().min(LOGINS),
            open if self.waiting >= SLOW && open < MOST => 1,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(connections: usize, waiting: usize) -> State {
        let end = || UnixStream::pair().unwrap().0;
        let request =
            || Request { to: ([192, 0, 2, 1], 22).into(), local: end(), hop: Hop::default(), interrupted: false };
        State {
            waiting: std::iter::repeat_with(request).take(waiting).collect(),
            open: std::iter::repeat_with(|| Arc::new(end())).take(connections).collect(),
            ..State::default()
        }
    }

    /// Connections wanted, after each slice in which something was wanted.
    fn wanted(state: &mut State, slices: u32, progress: bool) -> Vec<(u32, usize)> {
        let mut patience = Patience::default();
        let step = |slice| {
            state.answered += u64::from(progress);
            (slice, patience.lost(state, true))
        };
        (1..=slices).map(step).filter(|(_, count)| *count > 0).take(1).collect()
    }

    #[test]
    fn further_connections_are_made_where_channels_are_held_up_or_slow() {
        assert_eq!(wanted(&mut state(0, 1), 1, false), [(1, 1)], "the last one ended");
        assert_eq!(wanted(&mut state(1, 20), 99, false), [(HELD_UP, LOGINS)]);
        assert_eq!(wanted(&mut state(MOST, 2), 99, false), [(HELD_UP, 2)]);
        assert_eq!(wanted(&mut state(MOST_HELD_UP, 20), 99, false), []);
        assert_eq!(wanted(&mut state(1, 20), 99, true), [(SLOW, 1)]);
        assert_eq!(wanted(&mut state(MOST, 20), 99, true), []);
    }

    #[test]
    fn a_login_whose_thread_panics_is_waited_for_by_nobody() {
        let node = crate::cert::NodeName::parse("jump").unwrap();
        let endpoint = Endpoint::new(node, ([192, 0, 2, 1], 22).into(), "certd".to_owned(), Vec::new(), Vec::new());
        let host = Arc::new(JumpHost::new(endpoint, Box::new(|_| panic!("for this test"))));
        let error = host.reach(([192, 0, 2, 2], 22).into(), &Connection::default()).err().expect("no channel");
        assert_eq!(error.to_string(), gone(&host.endpoint.node).to_string(), "at once, and not when the login hangs");
        assert!(lock(&host.state).logins.is_empty());
    }

    #[test]
    fn a_login_that_hangs_is_given_up_and_then_there_is_another_one() {
        let (login, mut state) = (Connection::default(), state(0, 1));
        state.logins.push((login.clone(), 0));
        // Two sessions, neither of which waits long enough alone; one that is not the first does not count.
        assert_eq!(wanted(&mut state, HUNG / 2, false), []);
        assert_eq!(Patience::default().lost(&mut state, false), 0);
        assert_eq!(wanted(&mut state, HUNG / 2 - 1, false), []);
        assert!(login.is_wanted());
        assert_eq!(wanted(&mut state, 2, false), [(2, 1)]);
        assert!(!login.is_wanted());
    }
}

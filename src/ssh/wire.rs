//! The blocking side: everything that calls libssh2, on the one thread that owns the session.
//!
//! No call of libssh2 is bounded in time here. A deadline, or nobody wanting the answer any more, shuts the socket down
//! from outside, and whatever call is waiting fails at once; so does the farewell that libssh2 says when it is dropped.

use core::time::Duration;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ssh2::{MethodType, Session};

use super::host_key::{algorithms, fingerprint};
use super::{Endpoint, SshError};
use crate::cert::NodeName;
use crate::config::HostKey;
use crate::report::escape;

/// A SYN that nobody answers is given up then: three retransmissions of Linux (1, 3 and 7 s).
const CONNECT: Duration = Duration::from_secs(10);
/// A waiting read looks up this often, to empty the node's stderr: a full window there would stop its stdout too.
const SLICE_MS: u32 = 1000;
/// Seconds between keep-alives of a parked session: under the half minute after which NAT forgets a connection.
const KEEP_ALIVE: u32 = 15;
/// How much of stderr is kept for an error text, bytes.
const WORDS: usize = 1024;

/// What both sides know of a session: how to cut it, and what it was doing.
#[derive(Clone, Default)]
pub(super) struct Line(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    socket: Option<TcpStream>,
    shut: bool,
    phase: &'static str,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody wants the session any more: every waiting call fails, now and later.
    pub(super) fn shut(&self) {
        self.state().shut = true;
        self.hang_up();
    }

    /// Ends this connection: every waiting call fails.
    pub(super) fn hang_up(&self) {
        if let Some(socket) = self.state().socket.take() {
            // It may be gone already, which is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn overdue(&self, node: &NodeName, after: Duration) -> SshError {
        self.shut();
        SshError::Deadline { node: node.clone(), phase: self.state().phase, after }
    }

    pub(super) fn phase(&self, phase: &'static str) {
        self.state().phase = phase;
    }

    pub(super) fn closed(&self, node: &NodeName, why: &dyn core::fmt::Display) -> SshError {
        SshError::Closed { node: node.clone(), phase: self.state().phase, why: escape(&why.to_string(), 200) }
    }

    /// False: nobody wants this session any more.
    fn hold(&self, socket: &TcpStream) -> io::Result<bool> {
        let mut state = self.state();
        state.socket = Some(socket.try_clone()?);
        Ok(!state.shut)
    }
}

/// Shuts the socket before libssh2 is dropped, which would otherwise wait for the other side's farewell.
struct Cut<'a>(&'a Line);

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}

/// TCP and key exchange; `host_key_algorithms`: all that libssh2 has.
pub(super) fn handshake(
    endpoint: &Endpoint,
    host_key_algorithms: Option<&str>,
    line: &Line,
) -> Result<Session, SshError> {
    let (node, address) = (endpoint.node.clone(), endpoint.address);
    line.phase("connecting");
    let socket = match TcpStream::connect_timeout(&address, CONNECT) {
        Ok(socket) => socket,
        Err(error) => {
            return Err(match error.kind() {
                ErrorKind::ConnectionRefused => SshError::Refused { node, address },
                ErrorKind::TimedOut => SshError::NoAnswer { node, address, after: CONNECT },
                _ => SshError::Unreachable { node, address, source: error },
            });
        }
    };
    // Nagle's algorithm holds back the second small packet of each step: a tenth of a session at 150 ms.
    let wanted = socket.set_nodelay(true).and_then(|()| line.hold(&socket));
    match wanted {
        Ok(true) => {}
        Ok(false) => return Err(line.closed(&node, &"no longer wanted")),
        Err(source) => return Err(SshError::Unreachable { node, address, source }),
    }
    line.phase("exchanging keys");
    let failed =
        |error: ssh2::Error| SshError::Handshake { node: node.clone(), address, why: escape(error.message(), 200) };
    let mut session = Session::new().map_err(failed)?;
    let done = {
        if let Some(algorithms) = host_key_algorithms {
            session.method_pref(MethodType::HostKey, algorithms).map_err(failed)?;
        }
        session.set_tcp_stream(socket);
        session.handshake()
    };
    if let Err(error) = done {
        line.hang_up();
        return Err(failed(error));
    }
    Ok(session)
}

pub(super) fn host_key(session: &Session) -> Option<HostKey> {
    let (blob, _) = session.host_key()?;
    // RFC 4253 section 6.6: a key's blob begins with its kind, as a string with its length.
    let length = usize::try_from(u32::from_be_bytes(blob.get(..4)?.try_into().ok()?)).ok()?;
    let algorithm = core::str::from_utf8(blob.get(4..4 + length.min(64))?).ok()?;
    Some(HostKey { algorithm: escape(algorithm, 64), blob: blob.to_vec() })
}

/// A session with a host that shows a pinned key and lets us in. Whoever drops it hangs the line up first.
pub(super) fn logged_in(endpoint: &Endpoint, line: &Line) -> Result<Session, SshError> {
    let session = pinned(endpoint, line)?;
    let cut = Cut(line);
    line.phase("logging in");
    log_in(endpoint, &session, line)?;
    core::mem::forget(cut);
    Ok(session)
}

/// A program that was started on a node.
pub(super) struct Wire {
    // Dropped in this order.
    channel: ssh2::Channel,
    session: Session,
    node: NodeName,
    line: Line,
    /// What came while nobody was reading.
    early: Vec<u8>,
    words: Vec<u8>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.line.hang_up();
    }
}

impl Wire {
    /// Twelve round trips with the first write and its answer, on a node that pins one kind of key.
    pub(super) fn open(endpoint: &Endpoint, command: &str, line: &Line) -> Result<Self, SshError> {
        let session = pinned(endpoint, line)?;
        let cut = Cut(line);
        line.phase("logging in");
        log_in(endpoint, &session, line)?;
        line.phase("starting the program");
        let exec =
            |error: ssh2::Error| SshError::Exec { node: endpoint.node.clone(), why: escape(error.message(), 200) };
        let mut channel = session.channel_session().map_err(exec)?;
        if let Err(error) = channel.exec(command) {
            // The socket goes before the channel, for the same reason as in `Cut`.
            line.hang_up();
            return Err(exec(error));
        }
        session.set_keepalive(true, KEEP_ALIVE);
        core::mem::forget(cut);
        let (node, line) = (endpoint.node.clone(), line.clone());
        Ok(Self { channel, session, node, line, early: Vec::new(), words: Vec::new() })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), SshError> {
        self.line.phase("sending");
        self.session.set_timeout(0);
        self.channel.write_all(bytes).map_err(|error| self.line.closed(&self.node, &error))
    }

    /// The next bytes of the program's stdout; never empty.
    pub(super) fn read(&mut self) -> Result<Vec<u8>, SshError> {
        self.line.phase("waiting for the answer");
        if !self.early.is_empty() {
            return Ok(core::mem::take(&mut self.early));
        }
        let mut buffer = vec![0; 16 * 1024];
        loop {
            self.session.set_timeout(SLICE_MS);
            match self.channel.read(&mut buffer) {
                Ok(0) if self.channel.eof() => return Err(self.ended()),
                Ok(0) => self.drain(),
                Ok(count) => {
                    buffer.truncate(count);
                    return Ok(buffer);
                }
                Err(error) if error.kind() == ErrorKind::TimedOut => self.drain(),
                Err(error) => return Err(self.line.closed(&self.node, &error)),
            }
        }
    }

    /// While the session is parked: keep-alives are answered and sent, and early words are kept.
    pub(super) fn idle(&mut self) {
        self.session.set_blocking(false);
        let mut buffer = [0; 4096];
        if self.early.len() < 64 * 1024
            && let Ok(count) = self.channel.read(&mut buffer)
        {
            self.early.extend_from_slice(&buffer[..count]);
        }
        // A wire that is broken shows at the next read or write.
        let _ = self.session.keepalive_send();
        self.session.set_blocking(true);
        self.drain();
    }

    fn drain(&mut self) {
        self.session.set_blocking(false);
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.channel.stderr().read(&mut buffer) {
            let room = WORDS.saturating_sub(self.words.len());
            self.words.extend_from_slice(&buffer[..count.min(room)]);
        }
        self.session.set_blocking(true);
    }

    /// The channel ended. A status is told after that, if at all, and libssh2 says 0 when none was.
    fn ended(&mut self) -> SshError {
        self.drain();
        self.session.set_timeout(SLICE_MS);
        let status = match self.channel.wait_close().and_then(|()| self.channel.exit_status()) {
            Ok(0) | Err(_) => None,
            Ok(status) => Some(status),
        };
        let words = escape(String::from_utf8_lossy(&self.words).trim_end(), WORDS);
        SshError::Ended { node: self.node.clone(), status, words }
    }
}

/// A session with a host that shows a pinned key, or the reason why it is not one.
fn pinned(endpoint: &Endpoint, line: &Line) -> Result<Session, SshError> {
    let (node, address) = (endpoint.node.clone(), endpoint.address);
    let pinned = &endpoint.host_keys;
    let wanted = (!pinned.is_empty()).then(|| algorithms(pinned));
    let session = match handshake(endpoint, wanted.as_deref(), line) {
        // No key of a pinned kind? Then it is another key, and the operator wants to see which.
        Err(error @ SshError::Handshake { .. }) if wanted.is_some() => {
            handshake(endpoint, None, line).map_err(|_| error)?
        }
        session => session?,
    };
    let key = host_key(&session);
    if key.as_ref().is_some_and(|key| pinned.iter().any(|pin| pin.blob == key.blob)) {
        return Ok(session);
    }
    // Before the session is dropped, as in `Cut`.
    line.hang_up();
    let offered = key.as_ref().map_or("none".to_owned(), fingerprint);
    Err(if pinned.is_empty() {
        SshError::HostKeyUnknown { node, address, offered }
    } else {
        SshError::HostKeyChanged { node, address, offered, pinned: pinned.iter().map(fingerprint).collect() }
    })
}

/// With each identity in turn. The server is not asked which methods it has: that costs a round trip.
fn log_in(endpoint: &Endpoint, session: &Session, line: &Line) -> Result<(), SshError> {
    let mut tried = Vec::new();
    for identity in &endpoint.identities {
        match session.userauth_pubkey_memory(&endpoint.user, None, &identity.pem, None) {
            Ok(()) => return Ok(()),
            Err(error) => {
                let why = match error.code() {
                    ssh2::ErrorCode::Session(AUTHENTICATION_FAILED | PUBLICKEY_UNVERIFIED) => "refused by the node",
                    ssh2::ErrorCode::Session(SOCKET_SEND | SOCKET_DISCONNECT | SOCKET_RECV | BAD_SOCKET) => {
                        return Err(line.closed(&endpoint.node, &error.message()));
                    }
                    _ => error.message(),
                };
                tried.push(format!("{} ({})", identity.file.display(), escape(why, 100)));
            }
        }
    }
    Err(SshError::Login { node: endpoint.node.clone(), user: endpoint.user.clone(), tried })
}

// libssh2.h
const SOCKET_SEND: i32 = -7;
const SOCKET_DISCONNECT: i32 = -13;
const AUTHENTICATION_FAILED: i32 = -18;
const PUBLICKEY_UNVERIFIED: i32 = -19;
const SOCKET_RECV: i32 = -43;
const BAD_SOCKET: i32 = -45;

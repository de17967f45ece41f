//! An SSH agent, spoken to by ourselves (draft-ietf-sshm-ssh-agent): each message is bounded in size and time.
//!
//! libssh2 speaks with an agent over a socket of its own that nobody can shut from outside, and waits there for ever: one
//! that hangs would keep a thread and a descriptor of each login. It is given a socket whose other end is ours, and an
//! answer to everything it asks: the agent's, or that the agent failed.

use core::time::Duration;
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::mkdtemp;
use socket2::{Domain, SockAddr, Socket, Type};

use super::connection::Connection;
use super::thread::spawn;
use crate::cert::NodeName;

/// An agent lists its keys at once; one that is forwarded over SSH takes its round trip.
const PATIENCE: Duration = Duration::from_secs(5);
/// It may ask somebody before it signs; the login ends before that somebody has gone for coffee.
const PATIENCE_TO_SIGN: Duration = Duration::from_secs(20);
/// How often it is looked whether anybody wants the answer still.
const SLICE: Duration = Duration::from_millis(250);
/// Parts in which an answer may come. It is one write of the agent's; who sends a byte now and then is not waited for.
const PARTS: u32 = 64;

/// Section 3.5 and 3.6, and the answers to them.
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const FAILURE: &[u8] = &[5];

/// Bytes; libssh2 and OpenSSH take no longer answer (AGENT_MAX_LEN of its sources).
const LONGEST: usize = 256 * 1024 - 4;

/// An agent that has answered.
pub(super) struct Agent {
    socket: Socket,
    /// Its keys, as it tells them.
    keys: Vec<u8>,
}

impl Agent {
    /// # Errors
    /// Nobody is there, or the keys are not listed in time.
    pub(super) fn ask(path: &Path, connection: &Connection) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Holds for connecting, too, which waits where an agent that hangs has too many to accept.
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(&SockAddr::unix(path)?)?;
        socket.set_read_timeout(Some(SLICE))?;
        let mut agent = Self { socket, keys: Vec::new() };
        agent.keys = agent.answer(&[REQUEST_IDENTITIES], IDENTITIES_ANSWER, PATIENCE, connection)?;
        Ok(agent)
    }

    /// libssh2's end of a conversation with this agent.
    ///
    /// # Errors
    /// This machine has no room for a socket or a thread.
    pub(super) fn lend(
        self,
        session: &ssh2::Session,
        node: &NodeName,
        connection: &Connection,
    ) -> io::Result<ssh2::Agent> {
        let place = Place::make()?;
        let listener = UnixListener::bind(&place.socket)?;
        listener.set_nonblocking(true)?;
        let mut agent = session.agent()?;
        agent.set_identity_path(&place.socket)?;
        agent.connect()?;
        // Ours is in the queue. Others in it, whom nobody accepts, are turned away when the listener is dropped.
        let (near, _) = listener.accept()?;
        near.set_nonblocking(false)?;
        let connection = connection.clone();
        spawn(node, move || self.serve(&near, &connection)).map_err(io::Error::other)?;
        Ok(agent)
    }

    /// Until libssh2 lets go of its end: it does so when the login is over, however that ends.
    fn serve(mut self, mut near: &UnixStream, connection: &Connection) {
        while let Ok(request) = message(near) {
            let answer = match request.first() {
                Some(&REQUEST_IDENTITIES) => Ok(self.keys.clone()),
                Some(&SIGN_REQUEST) => self.answer(&request, SIGN_RESPONSE, PATIENCE_TO_SIGN, connection),
                _ => Ok(FAILURE.to_vec()),
            };
            // After a failure the next answer could be the one that came too late.
            let (answer, over) = match answer {
                Ok(answer) => (answer, false),
                Err(_) => (FAILURE.to_vec(), true),
            };
            if near.write_all(&framed(&answer)).is_err() || over {
                return;
            }
        }
    }

    fn answer(
        &mut self,
        request: &[u8],
        wanted: u8,
        patience: Duration,
        connection: &Connection,
    ) -> io::Result<Vec<u8>> {
        self.socket.write_all(&framed(request))?;
        let mut turns = Turns { slices: (patience.as_millis() / SLICE.as_millis()) as u32, parts: PARTS, connection };
        let mut length = [0; 4];
        turns.fill(&mut self.socket, &mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if !(1..=LONGEST).contains(&length) {
            return Err(io::Error::other(format!("its answer has {length} bytes")));
        }
        let mut answer = vec![0; length];
        turns.fill(&mut self.socket, &mut answer)?;
        match answer.first() {
            Some(kind) if *kind == wanted => Ok(answer),
            // It has the key no more, or somebody said no: the next key may do.
            Some(_) if wanted == SIGN_RESPONSE => Ok(FAILURE.to_vec()),
            _ => Err(io::Error::other("does not tell its keys")),
        }
    }
}

/// What is left of the time and of the parts for one answer.
struct Turns<'a> {
    slices: u32,
    parts: u32,
    connection: &'a Connection,
}

impl Turns<'_> {
    fn fill(&mut self, socket: &mut Socket, mut room: &mut [u8]) -> io::Result<()> {
        while !room.is_empty() {
            let left = match socket.read(room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    room = &mut room[count..];
                    &mut self.parts
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => &mut self.slices,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            *left = left.saturating_sub(1);
            if *left == 0 && !room.is_empty() || !self.connection.is_wanted() {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

/// A request of libssh2's.
fn message(mut from: &UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message)?;
    Ok(message)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], message].concat()
}

/// A folder that nobody else may enter, for as long as it takes to connect: libssh2 knows agents by a path alone.
struct Place {
    folder: PathBuf,
    socket: PathBuf,
}

impl Place {
    fn make() -> io::Result<Self> {
        let folder = mkdtemp(&std::env::temp_dir().join("certd-agent-XXXXXX"))?;
        let socket = folder.join("s");
        Ok(Self { folder, socket })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Of what stays behind nobody is harmed: nobody listens there any more.
        let _ = fs::remove_file(&self.socket).and_then(|()| fs::remove_dir(&self.folder));
    }
}

/// In words: the operating system says "Resource temporarily unavailable" of a socket that is waited for in vain.
pub(super) fn why(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("did not answer within {} s", PATIENCE.as_secs())
        }
        _ => error.to_string(),
    }
}

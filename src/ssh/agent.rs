//! A proxy between libssh2 and an SSH agent (draft-ietf-sshm-ssh-agent) that bounds each message in size and time.
//!
//! libssh2 waits without limit for an agent, on a socket that cannot be shut down from outside: an agent that hangs would
//! cost a thread and a descriptor for each login. So libssh2 connects to a socket of ours and always gets an answer: the
//! agent's, or a failure.

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
/// An agent may ask its user before it signs.
const PATIENCE_TO_SIGN: Duration = Duration::from_secs(20);
/// How often a wait checks whether the login was cancelled.
const SLICE: Duration = Duration::from_millis(250);
/// Reads that one answer may take. An agent writes it at once; one that sends single bytes is given up.
const PARTS: u32 = 64;

/// Section 3.5 and 3.6, and the answers to them.
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const FAILURE: &[u8] = &[5];

/// Bytes; libssh2 and OpenSSH accept no longer answer (AGENT_MAX_LEN in OpenSSH's sources).
const LONGEST: usize = 256 * 1024 - 4;

/// An agent that has listed its keys.
pub(super) struct Agent {
    socket: Socket,
    /// Its answer to REQUEST_IDENTITIES.
    keys: Vec<u8>,
}

impl Agent {
    /// # Errors
    /// No agent listens there, or it does not list its keys in time.
    pub(super) fn ask(path: &Path, connection: &Connection) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Bounds connecting, too, which blocks while the accept queue of a hung agent is full.
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(&SockAddr::unix(path)?)?;
        socket.set_read_timeout(Some(SLICE))?;
        let mut agent = Self { socket, keys: Vec::new() };
        agent.keys = agent.answer(&[REQUEST_IDENTITIES], IDENTITIES_ANSWER, PATIENCE, connection)?;
        Ok(agent)
    }

    /// Connects libssh2 to this agent, through a thread that relays the messages.
    ///
    /// # Errors
    /// This machine cannot create a socket or a thread.
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
        // libssh2's connection is first in the queue; any other is refused when the listener is dropped.
        let (near, _) = listener.accept()?;
        near.set_nonblocking(false)?;
        let connection = connection.clone();
        spawn(node, move || self.serve(&near, &connection)).map_err(io::Error::other)?;
        Ok(agent)
    }

    /// Relays until libssh2 closes its end, which it does after the login, successful or not.
    fn serve(mut self, mut near: &UnixStream, connection: &Connection) {
        while let Ok(request) = message(near) {
            let answer = match request.first() {
                Some(&REQUEST_IDENTITIES) => Ok(self.keys.clone()),
                Some(&SIGN_REQUEST) => self.answer(&request, SIGN_RESPONSE, PATIENCE_TO_SIGN, connection),
                _ => Ok(FAILURE.to_vec()),
            };
            // After a failure the next answer could be a late one to this request.
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
            // The agent no longer has the key, or its user refused: the next key may succeed.
            Some(_) if wanted == SIGN_RESPONSE => Ok(FAILURE.to_vec()),
            _ => Err(io::Error::other("does not list its keys")),
        }
    }
}

/// The time and the reads left for one answer.
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

/// Reads one request of libssh2.
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

/// A private folder for the time of connecting, since libssh2 takes an agent by path only.
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
        // A folder that cannot be removed is harmless: nothing listens there any more.
        let _ = fs::remove_file(&self.socket).and_then(|()| fs::remove_dir(&self.folder));
    }
}

/// The error's text; the operating system calls an expired timeout "Resource temporarily unavailable".
pub(super) fn why(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("did not answer within {} s", PATIENCE.as_secs())
        }
        _ => error.to_string(),
    }
}

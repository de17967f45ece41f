//! Whether an SSH agent is there and answers. libssh2 waits for an agent for ever, on a socket of its own that nobody can
//! shut from outside: one that hangs would keep a thread of each login.

use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

/// An agent answers at once; one that is forwarded over SSH takes its round trip.
const PATIENCE: Duration = Duration::from_secs(5);

/// draft-ietf-sshm-ssh-agent section 3.5: SSH_AGENTC_REQUEST_IDENTITIES, with its length.
const WHICH_KEYS: &[u8] = &[0, 0, 0, 1, 11];

/// OpenSSH takes no longer answer (AGENT_MAX_LEN of its sources is this).
const LONGEST: u64 = 256 * 1024;

/// # Errors
/// Nobody is there, or nothing is said in time.
pub(super) fn answers(path: &Path) -> io::Result<()> {
    let mut socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The first holds for connecting, too, which waits where an agent that hangs has too many to accept.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.write_all(WHICH_KEYS)?;
    // All of it: ssh-agent complains of whoever leaves in the middle.
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    io::copy(&mut socket.take(u64::from(u32::from_be_bytes(length)).min(LONGEST)), &mut io::sink()).map(drop)
}

/// In words: the operating system says "Resource temporarily unavailable" of a socket that is waited for in vain.
pub(super) fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("did not answer within {} s", PATIENCE.as_secs())
        }
        _ => error.to_string(),
    }
}

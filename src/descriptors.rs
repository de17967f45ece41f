//! Open files: how many this process may have, and how many handshakes and sessions at once that allows. Where they run
//! out it is this machine that cannot ask, and no node is at fault.

use core::time::Duration;
use std::io;
use std::sync::LazyLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Raised to no more: a program that a DNS provider is may close every number up to its limit when it starts.
const MOST_FILES: u64 = 16 * 1024;
/// The runtime, the state directory, the clients of the CA and of the DNS provider, questions to name servers.
const RESERVED: u64 = 28;
/// A connection, a pair of sockets for each channel, the agent's socket.
const OF_A_SESSION: u64 = 6;
/// A handshake has three sockets at most: TCP, and two while it asks whether HTTP/3 is offered.
const OF_A_HANDSHAKE: u64 = 3;
/// Handshakes at once, however many files there may be: their memory, and the state that a router at home keeps of them.
const MOST_HANDSHAKES: u64 = 512;

/// How often a call is made while this process, or the whole system, has no more files, and others may close theirs …
pub const ATTEMPTS: u32 = 100;
/// … with this pause between two.
pub const PAUSE: Duration = Duration::from_millis(50);

/// What may be open at once.
#[derive(Debug, PartialEq, Eq)]
struct Room {
    handshakes: usize,
    sessions: usize,
}

impl Room {
    /// Half each, since a session waits for handshakes while it proves what is served.
    fn within(files: u64) -> Self {
        let half = files.saturating_sub(RESERVED) / 2;
        let count = |files: u64| usize::try_from(files.max(1)).unwrap_or(usize::MAX);
        Self { handshakes: count((half / OF_A_HANDSHAKE).min(MOST_HANDSHAKES)), sessions: count(half / OF_A_SESSION) }
    }
}

static ROOM: LazyLock<Room> =
    LazyLock::new(|| Room::within(getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)));

static HANDSHAKES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(ROOM.handshakes));

/// Raises the limit of this process as far as it may (setrlimit(2): the soft limit up to the hard one). The usual soft
/// limit, 1,024, is for programs that use select(2).
pub fn raise() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = hard.min(MOST_FILES);
    if soft < wanted {
        // What is refused stays as it was; the room follows from what is so in the end.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
    }
}

/// Room for one handshake; it must not be held while another is waited for.
pub async fn for_a_handshake() -> Option<SemaphorePermit<'static>> {
    for_handshakes(1).await
}

/// Room for this many at once, or for all that there may be.
pub async fn for_handshakes(count: usize) -> Option<SemaphorePermit<'static>> {
    let count = u32::try_from(count.min(ROOM.handshakes)).unwrap_or(1);
    // An error means that the semaphore was closed, which nothing does.
    HANDSHAKES.acquire_many(count).await.ok()
}

/// Sessions at once: as configured, as far as there is room.
pub fn sessions(configured: usize) -> usize {
    configured.min(ROOM.sessions)
}

/// EMFILE or ENFILE.
pub fn ran_out(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_one_of_each_however_few_files_there_may_be() {
        for files in [0, 1, RESERVED, 32] {
            assert_eq!(Room::within(files), Room { handshakes: 1, sessions: 1 }, "{files}");
        }
    }

    #[test]
    fn what_may_be_open_at_once_stays_within_the_limit() {
        for files in [40, 64, 256, 1024, 4096, MOST_FILES, u64::MAX] {
            let Room { handshakes, sessions } = Room::within(files);
            let handshakes = handshakes as u64 * OF_A_HANDSHAKE;
            assert!(handshakes.saturating_add((sessions as u64).saturating_mul(OF_A_SESSION)) <= files - RESERVED);
        }
        assert_eq!(Room::within(1024).handshakes, 166);
        assert_eq!(Room::within(MOST_FILES).handshakes, 512);
    }

    #[test]
    fn only_a_lack_of_descriptors_is_one() {
        assert!(ran_out(&io::Error::from(nix::errno::Errno::EMFILE)));
        assert!(ran_out(&io::Error::from(nix::errno::Errno::ENFILE)));
        assert!(!ran_out(&io::Error::from(nix::errno::Errno::ECONNREFUSED)));
        assert!(!ran_out(&io::Error::other("no number")));
    }
}

//! Between certd and a node's sshd: counts the bytes of both ways, and strikes at one of them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// From certd to the node.
    Up,
    Down,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Strike {
    /// The connection is cut: both ends see its end.
    Cut,
    /// The sshd of the session is killed, and with it the connection.
    KillSshd,
}

#[derive(Default)]
struct Counts {
    up: usize,
    down: usize,
    at: Option<(Way, usize)>,
    struck: bool,
}

type Hit = Box<dyn Fn(Strike) + Send + Sync>;

pub(crate) struct Relay {
    pub(crate) at: SocketAddr,
    counts: Arc<Mutex<Counts>>,
    strike: Arc<Mutex<Strike>>,
}

impl Relay {
    /// `kill`: ends the sshd processes of the node's sessions.
    pub(crate) fn open(to: SocketAddr, kill: impl Fn() + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((to.ip(), 0)).expect("the lab's address is ours");
        let at = listener.local_addr().expect("it is bound");
        let (counts, strike) = (Arc::<Mutex<Counts>>::default(), Arc::new(Mutex::new(Strike::Cut)));
        let (counted, how) = (Arc::clone(&counts), Arc::clone(&strike));
        let hit: Arc<Hit> = Arc::new(Box::new(move |strike| {
            if matches!(strike, Strike::KillSshd) {
                kill();
            }
        }));
        // It ends with the process, as nobody connects any more.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).expect("a socket option can be set");
                }
                for way in [Way::Up, Way::Down] {
                    let (client, server) = (client.try_clone(), server.try_clone());
                    let (client, server) =
                        (client.expect("a socket can be cloned"), server.expect("a socket can be cloned"));
                    let (from, to) = if way == Way::Up { (client, server) } else { (server, client) };
                    let (counted, how, hit) = (Arc::clone(&counted), Arc::clone(&how), Arc::clone(&hit));
                    thread::spawn(move || carry(way, from, to, &counted, &how, &hit));
                }
            }
        });
        Self { at, counts, strike }
    }

    /// From now on, strikes behind so many bytes of that way.
    pub(crate) fn strike(&self, strike: Strike, at: Option<(Way, usize)>) {
        *lock(&self.strike) = strike;
        *lock(&self.counts) = Counts { at, ..Counts::default() };
    }

    /// Bytes up and down since then, and whether it struck.
    pub(crate) fn counted(&self) -> (usize, usize, bool) {
        let counts = lock(&self.counts);
        (counts.up, counts.down, counts.struck)
    }
}

fn carry(way: Way, mut from: TcpStream, mut to: TcpStream, counts: &Mutex<Counts>, how: &Mutex<Strike>, hit: &Hit) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let (passes, struck) = {
            let mut counts = lock(counts);
            let at = counts.at.filter(|(of, _)| *of == way && !counts.struck).map(|(_, at)| at);
            let sum = if way == Way::Up { &mut counts.up } else { &mut counts.down };
            let room = at.map_or(count, |at| at.saturating_sub(*sum).min(count));
            *sum += room;
            let struck = at.is_some_and(|at| *sum >= at);
            counts.struck |= struck;
            (room, struck)
        };
        if to.write_all(&buffer[..passes]).is_err() {
            break;
        }
        if struck {
            hit(*lock(how));
            break;
        }
    }
    // What was sent last goes on its way; a strike ends both.
    let struck = lock(counts).struck;
    for stream in [&from, &to] {
        let _ = stream.shutdown(if struck { Shutdown::Both } else { Shutdown::Write });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A relay in front of a server that becomes slow, or silent, after so many bytes. TCP goes on acknowledging.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What becomes of a connection after its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// All data is swallowed, both ways.
    Silence,
    /// The connection ends.
    #[allow(dead_code, reason = "each test that has a relay uses a part of it")]
    End,
    /// A byte at a time.
    Drip(Duration),
}

pub(crate) struct Throttle {
    #[allow(dead_code, reason = "the same")]
    pub(crate) at: SocketAddr,
    heard: Arc<AtomicUsize>,
    lifted: Arc<AtomicBool>,
    silenced: Arc<AtomicBool>,
}

#[allow(dead_code, reason = "each test that has a relay uses a part of it")]
impl Throttle {
    /// `free`: bytes of what the server says that pass unhindered.
    pub(crate) fn start(at: SocketAddr, server: SocketAddr, free: usize, then: Then) -> Self {
        let listener = TcpListener::bind(at).expect("the address is free");
        let throttle = Self { at, heard: Arc::default(), lifted: Arc::default(), silenced: Arc::default() };
        let silenced = Arc::clone(&throttle.silenced);
        let (heard, lifted) = (Arc::clone(&throttle.heard), Arc::clone(&throttle.lifted));
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let (heard, lifted) = (Arc::clone(&heard), Arc::clone(&lifted));
                let (from, to) = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
                // A connection of its own is silent by itself; all are when it is asked for.
                let mute = if then == Then::Silence { Arc::clone(&silenced) } else { Arc::default() };
                let (lifted_too, mute_too) = (Arc::clone(&lifted), Arc::clone(&mute));
                std::thread::spawn(move || {
                    Gate { free, then, heard: &heard, lifted: &lifted, mute: &mute }.pass(&from, &to);
                });
                std::thread::spawn(move || {
                    // The client's side is as slow where it drips; where it is silent, the server's bytes count alone.
                    let free = if matches!(then, Then::Drip(_)) { free } else { usize::MAX };
                    let heard = AtomicUsize::new(0);
                    Gate { free, then, heard: &heard, lifted: &lifted_too, mute: &mute_too }.pass(&client, &server);
                });
            }
        });
        throttle
    }

    /// Bytes of the server that were passed on.
    pub(crate) fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }

    /// From now on nothing passes.
    pub(crate) fn silence(&self) {
        self.silenced.store(true, Ordering::SeqCst);
    }

    /// From now on everything passes.
    pub(crate) fn lift(&self) {
        self.lifted.store(true, Ordering::SeqCst);
    }
}

struct Gate<'a> {
    free: usize,
    then: Then,
    heard: &'a AtomicUsize,
    lifted: &'a AtomicBool,
    /// Of the whole connection.
    mute: &'a AtomicBool,
}

impl Gate<'_> {
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buffer = [0; 4096];
        let mut passed = 0;
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut rest = &buffer[..count];
            while !rest.is_empty() && !self.mute.load(Ordering::SeqCst) {
                let free =
                    if self.lifted.load(Ordering::SeqCst) { rest.len() } else { self.free.saturating_sub(passed) };
                let next = match (free, self.then) {
                    (0, Then::Silence) => {
                        self.mute.store(true, Ordering::SeqCst);
                        break;
                    }
                    (0, Then::End) => {
                        let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
                        return;
                    }
                    (0, Then::Drip(pause)) => {
                        std::thread::sleep(pause);
                        1
                    }
                    (free, _) => free.min(rest.len()),
                };
                self.heard.fetch_add(next, Ordering::SeqCst);
                if to.write_all(&rest[..next]).is_err() {
                    return;
                }
                rest = &rest[next..];
                passed += next;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    }
}

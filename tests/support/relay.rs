//! Ports of the lab's own addresses that lead to a server elsewhere, and ports where packets vanish.
//!
//! A node's TLS port counts connections this way, and named, which listens at addresses of interfaces alone, gets one of the
//! lab's. An error means that a port was taken, which is nobody else's to take.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::process::wait_until;

/// A server that takes longer for a datagram has lost it.
const DATAGRAM_PATIENCE: Duration = Duration::from_secs(5);

pub struct Relay {
    pub at: SocketAddr,
    to: SocketAddr,
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    task: Option<JoinHandle<()>>,
}

impl Relay {
    pub fn new(runtime: Handle, at: SocketAddr, to: SocketAddr) -> Self {
        Self { at, to, runtime, connections: Arc::default(), task: None }
    }

    /// TCP connections since the beginning.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn open(&mut self) {
        self.close();
        let (at, to, connections) = (self.at, self.to, Arc::clone(&self.connections));
        let listener = on(&self.runtime, move || listener(at, 128));
        self.task = Some(self.runtime.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut server = tokio::net::TcpStream::connect(to).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        }));
    }

    pub fn close(&mut self) {
        let Some(task) = self.task.take() else { return };
        task.abort();
        wait_until(|| task.is_finished());
    }
}

/// The same for questions and answers over UDP.
pub struct Datagrams(Arc<AtomicBool>);

impl Datagrams {
    pub fn open(runtime: &Handle, at: SocketAddr, to: SocketAddr) -> Self {
        let socket = std::net::UdpSocket::bind(at).unwrap_or_else(|error| panic!("{at} cannot be had: {error}"));
        socket.set_nonblocking(true).expect("a socket option can be set");
        let socket = Arc::new(on(runtime, || UdpSocket::from_std(socket).expect("it does not block")));
        let lost = Arc::new(AtomicBool::new(false));
        let lose = Arc::clone(&lost);
        runtime.spawn(async move {
            let mut buffer = vec![0; 65_535];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                if !lose.load(Ordering::SeqCst) {
                    tokio::spawn(exchange(Arc::clone(&socket), client, to, buffer[..length].to_vec()));
                }
            }
        });
        Self(lost)
    }

    /// From now on every datagram is lost, or none.
    pub fn lose(&self, all: bool) {
        self.0.store(all, Ordering::SeqCst);
    }
}

async fn exchange(
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    to: SocketAddr,
    question: Vec<u8>,
) -> std::io::Result<()> {
    let upstream = UdpSocket::bind((to.ip(), 0)).await?;
    upstream.connect(to).await?;
    upstream.send(&question).await?;
    let mut answer = vec![0; 65_535];
    let length = timeout(DATAGRAM_PATIENCE, upstream.recv(&mut answer)).await??;
    socket.send_to(&answer[..length], client).await.map(drop)
}

/// A port whose queue of connections is full: the kernel drops each further SYN, as a firewall does.
pub struct Blackhole {
    _listener: tokio::net::TcpListener,
    _queue: Vec<TcpStream>,
}

impl Blackhole {
    pub fn at(runtime: &Handle, at: SocketAddr) -> Self {
        let listener = on(runtime, move || listener(at, 1));
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(100)) {
            queue.push(stream);
            assert!(queue.len() < 64, "the kernel lets more into the queue than its limit");
        }
        Self { _listener: listener, _queue: queue }
    }
}

fn listener(at: SocketAddr, backlog: u32) -> tokio::net::TcpListener {
    let mut listener = None;
    // A child that another thread has just forked holds the socket by which the port was found free, until its exec.
    wait_until(|| {
        let socket = TcpSocket::new_v4().expect("a socket can be had");
        socket.set_reuseaddr(true).expect("a socket option can be set");
        listener = Some(socket.bind(at).and_then(|()| socket.listen(backlog)));
        listener.as_ref().is_some_and(|bound| !matches!(bound, Err(error) if error.kind() == ErrorKind::AddrInUse))
    });
    let listener = listener.expect("it was tried");
    listener.unwrap_or_else(|error| panic!("{at} cannot be listened at: {error}"))
}

fn on<T>(runtime: &Handle, make: impl FnOnce() -> T) -> T {
    let _inside = runtime.enter();
    make()
}

//! Ten ways for a node to be dead, each made by the real thing.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::lab::node::Node;
use crate::lab::process::{as_root, output};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Dead {
    Refuses,
    Blackhole,
    HostKey,
    Login,
    NoShell,
    Garbage,
    Hangs,
    FullDisk,
    ReadOnly,
    Broken,
}

pub(crate) const WAYS: [Dead; 10] = [
    Dead::Refuses,
    Dead::Blackhole,
    Dead::HostKey,
    Dead::Login,
    Dead::NoShell,
    Dead::Garbage,
    Dead::Hangs,
    Dead::FullDisk,
    Dead::ReadOnly,
    Dead::Broken,
];

impl Dead {
    pub(crate) fn befall(self, node: &mut Node) -> Option<Peer> {
        match self {
            Self::Refuses => node.stop_sshd(),
            Self::Blackhole => node.blackhole_ssh(),
            Self::HostKey => node.change_host_key(),
            Self::Login => sshd_of(node, &|config| format!("DenyUsers *\n{config}")),
            Self::NoShell => sshd_of(node, &|config| {
                let force = "ForceCommand echo This account is currently not available. >&2; exit 1\n";
                format!("{force}{config}")
            }),
            Self::Garbage | Self::Hangs => {
                node.stop_sshd();
                return Some(Peer::at(node.ssh, matches!(self, Self::Garbage)));
            }
            Self::FullDisk => node.fill_disk(),
            Self::ReadOnly => {
                let ssl = node.folder.join("conf/ssl");
                output(as_root("mount").args(["--bind"]).arg(&ssl).arg(&ssl));
                output(as_root("mount").args(["-o", "remount,ro,bind"]).arg(&ssl));
            }
            Self::Broken => node.break_nginx_config(),
        }
        None
    }

    /// What the report says of it, and of no other.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Refuses => "refuses the connection",
            Self::Blackhole => "did not answer within",
            Self::HostKey => "shows the host key",
            Self::Login => "no login as",
            Self::NoShell => "This account is currently not available",
            Self::Garbage => "no SSH session with",
            Self::Hangs => "while exchanging keys",
            Self::FullDisk => "No space left",
            Self::ReadOnly => "Read-only",
            Self::Broken => "unknown directive",
        }
    }
}

fn sshd_of(node: &mut Node, change: &dyn Fn(&str) -> String) {
    let path = node.folder.join("sshd_config");
    let config = std::fs::read_to_string(&path).expect("the lab wrote it");
    std::fs::write(&path, change(&config)).expect("the lab's folder is ours");
    node.start_sshd();
}

/// Takes connections in sshd's place: says what no SSH server says, or nothing, for ever.
pub(crate) struct Peer {
    at: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Peer {
    fn at(at: SocketAddr, speaks: bool) -> Self {
        let listener = TcpListener::bind(at).expect("sshd has left");
        let over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                if speaks {
                    // Who hangs up meanwhile has heard enough.
                    let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>\r\n");
                } else {
                    open.push(stream);
                }
            }
        });
        Self { at, over, thread: Some(thread) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // It looks up when somebody comes.
        drop(TcpStream::connect(self.at));
        self.thread.take().into_iter().for_each(|thread| thread.join().expect("it does not panic"));
    }
}

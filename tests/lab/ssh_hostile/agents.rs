//! An agent that hangs, drips or lies at each point of its conversation.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use certd::ssh::Endpoint;

use crate::lab::alone::ran_elsewhere;

use super::sshd::Sshd;
use super::{LIMIT, descriptors, login, threads, waited_for};

/// What an agent does when it is asked for its keys (`List`) or for a signature (`Sign`).
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Well,
    Hangs,
    StopsInTheMiddle,
    Drips,
    Ends,
    HasNoEnd,
    Refuses,
}

/// ssh-agent itself.
struct Real {
    child: Child,
    socket: PathBuf,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn real(sshd: &Sshd) -> Real {
    let socket = sshd.dir.path().join("real.sock");
    let child = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let real = Real { child, socket };
    waited_for("no agent", || UnixStream::connect(&real.socket).is_ok()).await;
    let mut add = Command::new("ssh-add");
    add.arg("-q").arg(sshd.dir.path().join("login")).env("SSH_AUTH_SOCK", &real.socket).stdin(Stdio::null());
    assert!(add.status().unwrap().success());
    real
}

fn message(from: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut message).ok()?;
    Some([&length[..], &message].concat())
}

/// Serves one connection; the receiver hears when the other side has let go of it.
fn scripted(path: &Path, real: &Path, list: How, sign: How) -> Receiver<()> {
    let listener = UnixListener::bind(path).unwrap();
    let mut real = UnixStream::connect(real).unwrap();
    let (tell, reply) = channel();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        while let Some(request) = message(&mut client) {
            let how = if request[4] == 11 { list } else { sign };
            real.write_all(&request).unwrap();
            let answer = message(&mut real).unwrap();
            let _ = match how {
                How::Well => client.write_all(&answer),
                How::Hangs => Ok(()),
                How::StopsInTheMiddle => client.write_all(&answer[..answer.len() / 2]),
                How::Ends => break,
                How::HasNoEnd => client.write_all(&[0xff; 4]),
                How::Refuses => client.write_all(&[0, 0, 0, 1, 5]),
                How::Drips => answer.iter().try_for_each(|byte| {
                    std::thread::sleep(Duration::from_millis(100));
                    client.write_all(&[*byte])
                }),
            };
        }
        drop(client);
        let _ = tell.send(());
    });
    reply
}

#[tokio::test]
async fn an_agent_that_hangs_anywhere_keeps_neither_thread_nor_descriptor_after_the_deadline() {
    if ran_elsewhere(|| ()) {
        return;
    }
    let sshd = Sshd::start(None);
    let real = real(&sshd).await;
    waited_for("threads are left", || threads() == 0).await;
    let before = descriptors();
    let limit = Duration::from_secs(2);
    for (list, sign) in [
        (How::Well, How::Well),
        (How::Hangs, How::Well),
        (How::StopsInTheMiddle, How::Well),
        (How::Drips, How::Well),
        (How::Ends, How::Well),
        (How::HasNoEnd, How::Well),
        (How::Refuses, How::Well),
        (How::Well, How::Hangs),
        (How::Well, How::StopsInTheMiddle),
        (How::Well, How::Drips),
        (How::Well, How::Ends),
        (How::Well, How::HasNoEnd),
        (How::Well, How::Refuses),
    ] {
        let path = sshd.dir.path().join(format!("{list:?}-{sign:?}.sock"));
        let closed = scripted(&path, &real.socket, list, sign);
        let end = login(Endpoint { identities: vec![], agent: Some(path), ..sshd.endpoint() }, limit).await;
        assert_eq!(end.is_ok(), (list, sign) == (How::Well, How::Well), "{list:?} {sign:?}: {end:?}");
        closed.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{list:?} {sign:?}: it is still held"));
        waited_for("threads are left", || threads() == 0).await;
        waited_for("descriptors are left", || descriptors() <= before).await;
    }
    // Connecting waits where the agent has more callers than it listens for.
    let path = sshd.dir.path().join("full.sock");
    let full = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let address = socket2::SockAddr::unix(&path).unwrap();
    full.bind(&address).unwrap();
    full.listen(0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let before = descriptors();
    let end = login(Endpoint { identities: vec![], agent: Some(path), ..sshd.endpoint() }, limit).await;
    assert!(end.is_err());
    waited_for("threads are left", || threads() == 0).await;
    waited_for("descriptors are left", || descriptors() <= before).await;
    let left = fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("certd-agent-")).count();
    assert_eq!(left, 0, "folders of sockets");
}

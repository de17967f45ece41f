//! A connection through a node's sshd, to a port that the node sees.

use crate::lab::plain_sshd as sshd;

use std::time::Duration;

use certd::ssh::{self, SshError};
use sshd::{Sshd, free_address};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const LIMIT: Duration = Duration::from_secs(20);

/// Says back what it hears, once, and tells when the connection has ended.
async fn echo() -> (u16, oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, ended) = oneshot::channel();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut read, mut write) = socket.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = tell.send(());
    });
    (port, ended)
}

#[tokio::test]
async fn a_tunnel_carries_both_ways_and_its_session_ends_with_it() {
    let sshd = Sshd::start(None);
    let (port, ended) = echo().await;
    let tunnel = ssh::tunnel(sshd.endpoint(), "127.0.0.1", port).await.unwrap();
    let (mut read, mut write) = tokio::io::split(tunnel);
    // Far more than any buffer on the way holds: writer and reader must wait for each other.
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let copy = sent.clone();
    let writing = tokio::spawn(async move {
        write.write_all(&copy).await.unwrap();
        write
    });
    let mut heard = vec![0; sent.len()];
    tokio::time::timeout(LIMIT, read.read_exact(&mut heard)).await.expect("in time").unwrap();
    assert!(heard == sent, "every byte in its place");
    let write = writing.await.unwrap();
    drop((read, write));
    tokio::time::timeout(LIMIT, ended).await.expect("the far side hears of the end").unwrap();
}

#[tokio::test]
async fn the_end_of_the_far_side_is_the_end_of_the_tunnel_and_what_it_said_last_arrives() {
    let sshd = Sshd::start(None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(&vec![7; 500_000]).await.unwrap();
    });
    let mut tunnel = ssh::tunnel(sshd.endpoint(), "127.0.0.1", port).await.unwrap();
    let mut heard = Vec::new();
    tokio::time::timeout(LIMIT, tunnel.read_to_end(&mut heard)).await.expect("in time").unwrap();
    assert_eq!(heard.len(), 500_000);
}

#[tokio::test]
async fn a_closed_port_behind_the_node_and_a_node_that_does_not_forward_are_told_apart() {
    let sshd = Sshd::start(None);
    let closed = free_address();
    let error = ssh::tunnel(sshd.endpoint(), &closed.ip().to_string(), closed.port()).await.unwrap_err();
    assert!(matches!(error, SshError::FarSide { .. }), "{error}");
    assert_eq!(error.to_string(), format!("上海: no connection from there to {closed}: connect failed"));

    let (port, _ended) = echo().await;
    let sshd = Sshd::with(free_address(), "AllowTcpForwarding no\n");
    let error = ssh::tunnel(sshd.endpoint(), "127.0.0.1", port).await.unwrap_err();
    assert!(matches!(error, SshError::Forwarding { .. }), "{error}");
    let why = "administratively prohibited";
    assert_eq!(error.to_string(), format!("上海: sshd there does not forward to 127.0.0.1:{port}: {why}"));
    assert!(error.next().contains(&format!("permitopen=\"127.0.0.1:{port}\"")), "{}", error.next());
}

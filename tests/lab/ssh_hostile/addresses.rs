//! A name with several addresses.

use std::net::TcpListener;

use certd::cert::NodeName;
use certd::ssh::{Endpoint, host_keys};

use crate::lab::alone::ran_elsewhere;

use super::sshd::{Sshd, free_address};
use super::{LIMIT, login, threads, waited_for};

#[tokio::test]
async fn the_next_address_is_tried_where_one_refuses_is_silent_talks_nonsense_or_is_another_machine() {
    if ran_elsewhere(|| ()) {
        return;
    }
    let (node, other) = (Sshd::start(None), Sshd::with(free_address(), "LogLevel VERBOSE\n"));
    let silent = TcpListener::bind(free_address()).unwrap();
    let nonsense = TcpListener::bind(free_address()).unwrap();
    let at = nonsense.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in nonsense.incoming().flatten().take(2) {
            let _ = std::io::Write::write_all(&mut client, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    for first in [free_address(), silent.local_addr().unwrap(), at, other.address] {
        let endpoint = Endpoint { address: first, others: vec![node.address], ..node.endpoint() };
        login(endpoint.clone(), LIMIT).await.unwrap_or_else(|error| panic!("{first}: {error}"));
        let turned = Endpoint { address: node.address, others: vec![first], ..endpoint };
        login(turned, LIMIT).await.unwrap();
    }
    let log = std::fs::read_to_string(other.dir.path().join("log")).unwrap();
    assert!(log.contains("Connection from") && !log.contains("root"), "who is not pinned hears no login: {log}");
    waited_for("threads are left", || threads() == 0).await;
}

#[tokio::test]
async fn where_none_leads_there_each_is_named_with_its_reason_and_somebody_else_at_one_counts_most() {
    if ran_elsewhere(|| ()) {
        return;
    }
    let (node, other) = (Sshd::start(None), Sshd::start(None));
    let (one, two) = (free_address(), free_address());
    let dead = Endpoint { address: one, others: vec![two], ..node.endpoint() };
    let error = login(dead.clone(), LIMIT).await.unwrap_err();
    assert_eq!(error.to_string(), format!("上海: {one} refuses the connection; {two} refuses the connection"));
    assert_eq!(error.code().as_str(), "ssh-refused");
    let error = login(Endpoint { others: vec![other.address], ..dead.clone() }, LIMIT).await.unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("上海: {one} refuses the connection; {} shows", other.address)),
        "{error}"
    );
    assert_eq!(error.code().as_str(), "ssh-host-key-changed");
    assert!(error.next().contains("somebody else answers"), "{}", error.next());
    // As many as somebody's zone may have.
    let many: Vec<_> = (0..1000).map(|_| one).collect();
    let error = login(Endpoint { others: many, ..dead }, LIMIT).await.unwrap_err();
    assert_eq!(error.to_string().matches("refuses").count(), 8);
}

#[tokio::test]
async fn a_jump_host_and_a_node_behind_it_may_have_several_addresses_too() {
    if ran_elsewhere(|| ()) {
        return;
    }
    let (jump, node) = (Sshd::start(None), Sshd::start(None));
    let by = Endpoint {
        node: NodeName::parse("jump host one").unwrap(),
        address: free_address(),
        others: vec![jump.address],
        ..jump.endpoint()
    };
    let behind =
        Endpoint { address: free_address(), others: vec![node.address], jump: Some(Box::new(by)), ..node.endpoint() };
    login(behind.clone(), LIMIT).await.unwrap();
    assert_eq!(host_keys(behind.clone(), LIMIT).await.unwrap().keys, [node.host_key("host")]);
    let error = login(Endpoint { others: vec![free_address()], ..behind }, LIMIT).await.unwrap_err();
    assert_eq!(error.to_string().matches("no connection from there to").count(), 2, "{error}");
    waited_for("threads are left", || threads() == 0).await;
}

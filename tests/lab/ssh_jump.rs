//! A node behind one jump host or two, each with its own sshd, host key and login.

use crate::lab::plain_sshd as sshd;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use certd::cert::NodeName;
use certd::ssh::{Endpoint, Session, SshError, fingerprint, host_keys};
use sshd::{Sshd, free_address, identity};
use zeroize::Zeroizing;

const LIMIT: Duration = Duration::from_secs(20);

fn by(jump: Endpoint, to: Endpoint) -> Endpoint {
    Endpoint { jump: Some(Box::new(jump)), ..to }
}

fn jump_host(sshd: &Sshd, name: &str) -> Endpoint {
    Endpoint { node: NodeName::parse(name).unwrap(), ..sshd.endpoint() }
}

/// Logs in, has a program echo its input, and ends.
async fn said_back(endpoint: Endpoint, text: &str) -> Result<String, SshError> {
    let mut session = Session::start(endpoint, "cat").unwrap();
    let talk = async {
        session.ready().await?;
        session.write(Zeroizing::new(text.as_bytes().to_vec())).await?;
        let mut heard = Vec::new();
        while heard.len() < text.len() {
            heard.extend(session.read().await?);
        }
        Ok(String::from_utf8(heard).unwrap())
    };
    match tokio::time::timeout(LIMIT, talk).await {
        Ok(printed) => printed,
        Err(_) => Err(session.overdue(LIMIT)),
    }
}

#[tokio::test]
async fn a_node_is_reached_by_one_jump_host_and_by_two() {
    let (first, second, node) = (Sshd::start(None), Sshd::start(None), Sshd::start(None));
    // Far more than the buffers of the way hold.
    let text = "0123456789".repeat(60_000);
    let by_one = by(jump_host(&first, "jump host one"), node.endpoint());
    assert!(said_back(by_one, &text).await.unwrap() == text);
    let by_two = by(by(jump_host(&first, "jump host one"), jump_host(&second, "jump host two")), node.endpoint());
    assert!(said_back(by_two.clone(), &text).await.unwrap() == text);
    assert_eq!(host_keys(by_two, LIMIT).await.unwrap().keys, [node.host_key("host")]);
}

#[tokio::test]
async fn what_fails_at_a_jump_host_is_told_with_its_name_and_the_node_it_leads_to() {
    let (first, second, node) = (Sshd::start(None), Sshd::start(None), Sshd::start(None));
    let one = || jump_host(&first, "jump host one");
    let two = || jump_host(&second, "jump host two");
    let printed = async |endpoint| said_back(endpoint, "x").await.unwrap_err().to_string();

    let gone = free_address();
    let error = printed(by(Endpoint { address: gone, ..one() }, node.endpoint())).await;
    assert_eq!(error, format!("上海: jump host one: {gone} refuses the connection"));

    let error = printed(by(one(), Endpoint { address: gone, ..node.endpoint() })).await;
    assert_eq!(error, format!("上海: jump host one: no connection from there to {gone}: connect failed"));

    let wrong = Endpoint { host_keys: vec![first.host_key("wrong")], ..one() };
    let error = said_back(by(by(wrong, two()), node.endpoint()), "x").await.unwrap_err();
    let (shown, pinned) = (fingerprint(&first.host_key("host")), fingerprint(&first.host_key("wrong")));
    let text = format!("jump host one: {} shows the host key {shown}, and pinned is {pinned}", first.address);
    assert_eq!(error.to_string(), format!("上海: jump host two: {text}"));
    assert!(error.next().contains("ssh.jump"), "{}", error.next());

    let unknown = Endpoint { host_keys: vec![], ..two() };
    let error = printed(by(by(one(), unknown), node.endpoint())).await;
    assert!(
        error.starts_with(&format!("上海: jump host two: the host key of {} is not known", second.address)),
        "{error}"
    );

    let stranger = Endpoint { identities: vec![identity(&second.dir.path().join("wrong"))], ..two() };
    let error = printed(by(by(one(), stranger), node.endpoint())).await;
    assert!(error.starts_with("上海: jump host two: no login as root: "), "{error}");

    // The node's own fault stays the node's.
    let error = printed(by(one(), Endpoint { host_keys: vec![], ..node.endpoint() })).await;
    assert!(error.starts_with(&format!("上海: the host key of {} is not known", node.address)), "{error}");

    let narrow = Sshd::with(free_address(), "AllowTcpForwarding no\n");
    let error = said_back(by(jump_host(&narrow, "jump host one"), node.endpoint()), "x").await.unwrap_err();
    assert!(
        matches!(&error, SshError::Jump { source, .. } if matches!(**source, SshError::Forwarding { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_deadline_holds_over_a_jump_host_and_names_what_was_waited_for() {
    let (first, node) = (Sshd::start(None), Sshd::start(None));
    let silent = TcpListener::bind(free_address()).unwrap();
    let silent_at = silent.local_addr().unwrap();
    let limit = Duration::from_millis(1500);
    let overdue = async |endpoint| {
        let mut session = Session::start(endpoint, "cat").unwrap();
        // A busy machine takes longer to come to the one that is silent.
        for _ in 0..20 {
            assert!(tokio::time::timeout(limit, session.ready()).await.is_err(), "it says nothing");
            if session.overdue(limit).to_string().contains("exchanging keys") {
                break;
            }
        }
        session.overdue(limit).to_string()
    };
    let mute = Endpoint { address: silent_at, ..jump_host(&first, "jump host one") };
    assert_eq!(
        overdue(by(mute, node.endpoint())).await,
        "上海: not done after 1 s, while exchanging keys (jump host one)"
    );
    let mute = Endpoint { address: silent_at, ..node.endpoint() };
    let text = "上海: not done after 1 s, while exchanging keys";
    assert_eq!(overdue(by(jump_host(&first, "jump host one"), mute)).await, text);
    // Both connections were let go.
    for _ in 0..2 {
        let (mut socket, _) = silent.accept().unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        std::io::Read::read_to_end(&mut socket, &mut Vec::new()).expect("the end, not a timeout");
    }
}

#[tokio::test]
async fn a_jump_host_that_dies_ends_the_session_behind_it_at_once() {
    let (first, node) = (Sshd::start(None), Sshd::start(None));
    let mut session = Session::start(by(jump_host(&first, "jump host one"), node.endpoint()), "cat").unwrap();
    session.ready().await.unwrap();
    first.end_sessions();
    let error = tokio::time::timeout(LIMIT, session.read()).await.expect("in time").unwrap_err();
    assert!(matches!(error, SshError::Closed { .. }), "{error}");
}

/// One sshd that is at every loopback address, so that there are many nodes.
fn everywhere() -> Sshd {
    let any = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap();
    Sshd::with(any, "MaxStartups 500\nSetEnv SHLVL=2\n")
}

fn node_at(sshd: &Sshd, jump: &Endpoint, number: u8) -> Endpoint {
    let address = SocketAddr::from(([127, 101, 7, number], sshd.address.port()));
    let node = NodeName::parse(&format!("node-{number}")).unwrap();
    by(jump.clone(), Endpoint { node, address, pool: jump.pool.clone(), ..sshd.endpoint() })
}

fn logins(sshd: &Sshd) -> usize {
    let log = fs::read_to_string(sshd.dir.path().join("log")).unwrap();
    log.matches("Accepted publickey").count()
}

#[tokio::test]
async fn thirty_nodes_share_one_connection_to_a_jump_host_with_defaults_and_its_death_ends_all_at_once() {
    let (first, nodes) = (Sshd::with(free_address(), "LogLevel VERBOSE\n"), everywhere());
    let jump = jump_host(&first, "jump host one");
    let sessions = (1..=30).map(|number| {
        let endpoint = node_at(&nodes, &jump, number);
        async move {
            let mut session = Session::start(endpoint, "cat").unwrap();
            tokio::time::timeout(LIMIT, session.ready()).await.unwrap().unwrap();
            session
        }
    });
    let sessions = futures_util::future::join_all(sessions).await;
    // More than one where this machine is slow to answer.
    assert!((1..5).contains(&logins(&first)), "{}", logins(&first));
    let talks = sessions.iter().map(async |session| {
        session.write(Zeroizing::new(b"x".to_vec())).await.unwrap();
        assert_eq!(session.read().await.unwrap(), b"x");
    });
    futures_util::future::join_all(talks).await;
    first.end_sessions();
    let ends = sessions.iter().map(async |session| session.read().await.unwrap_err().to_string());
    let ends = tokio::time::timeout(LIMIT, futures_util::future::join_all(ends)).await.expect("at once");
    for (end, number) in ends.iter().zip(1..) {
        let text = format!("node-{number}: the connection ended while waiting for the answer: jump host one: ");
        assert!(end.starts_with(&text), "{end}");
    }
}

#[tokio::test]
async fn a_login_that_a_jump_host_refuses_is_not_tried_again_for_each_node_behind_it() {
    let (first, nodes) = (Sshd::with(free_address(), "LogLevel VERBOSE\n"), everywhere());
    let stranger = vec![identity(&first.dir.path().join("wrong"))];
    let jump = Endpoint { identities: stranger, ..jump_host(&first, "jump host one") };
    for number in 1..=3 {
        let error = said_back(node_at(&nodes, &jump, number), "x").await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("node-{number}: jump host one: no login as root: ")), "{error}");
    }
    let log = fs::read_to_string(first.dir.path().join("log")).unwrap();
    assert_eq!(log.matches("Connection from").count(), 2, "the lab's own and one: {log}");
}

#[tokio::test]
async fn a_node_that_does_not_answer_does_not_hold_up_the_others_behind_its_jump_host() {
    let (first, nodes) = (Sshd::with(free_address(), "LogLevel VERBOSE\n"), everywhere());
    let jump = jump_host(&first, "jump host one");
    // Its queue is full, so that the kernel drops what comes.
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    silent.bind(&free_address().into()).unwrap();
    silent.listen(0).unwrap();
    let address = silent.local_addr().unwrap().as_socket().unwrap();
    let _queued = std::net::TcpStream::connect(address).unwrap();
    let dead: Vec<Session> = (1..=3)
        .map(|number| Session::start(Endpoint { address, ..node_at(&nodes, &jump, number) }, "cat").unwrap())
        .collect();
    let rest = (11..=20).map(|number| said_back(node_at(&nodes, &jump, number), "x"));
    for end in futures_util::future::join_all(rest).await {
        assert_eq!(end.unwrap(), "x");
    }
    assert!(logins(&first) < 10, "{} connections for 13 nodes", logins(&first));
    drop(dead);
}

#[tokio::test]
async fn a_session_that_reads_nothing_does_not_hold_up_the_others_behind_its_jump_host() {
    let (first, nodes) = (Sshd::with(free_address(), "LogLevel VERBOSE\n"), everywhere());
    let jump = jump_host(&first, "jump host one");
    let mut deaf = Session::start(node_at(&nodes, &jump, 1), "yes").unwrap();
    tokio::time::timeout(LIMIT, deaf.ready()).await.unwrap().unwrap();
    let text = "x".repeat(1 << 20);
    let talks = (2..=4).map(|number| said_back(node_at(&nodes, &jump, number), &text));
    for end in futures_util::future::join_all(talks).await {
        assert!(end.unwrap() == text);
    }
    assert!(deaf.read().await.unwrap().starts_with(b"y\n"));
    assert_eq!(logins(&first), 1);
}

#[tokio::test]
async fn a_connection_that_hangs_costs_its_sessions_their_deadlines_and_one_more_session() {
    let (first, nodes) = (Sshd::with(free_address(), "LogLevel VERBOSE\n"), everywhere());
    let jump = jump_host(&first, "jump host one");
    let open = (1..=5).map(|number| {
        let (nodes, jump) = (&nodes, &jump);
        async move {
            let mut session = Session::start(node_at(nodes, jump, number), "cat").unwrap();
            tokio::time::timeout(LIMIT, session.ready()).await.unwrap().unwrap();
            session
        }
    });
    let open = futures_util::future::join_all(open).await;
    first.signal_sessions("-STOP");
    let limit = Duration::from_millis(500);
    for (session, number) in open.iter().zip(1..) {
        assert!(tokio::time::timeout(limit, session.read()).await.is_err());
        let text = format!("node-{number}: not done after 0 s, while waiting for the answer");
        assert_eq!(session.overdue(limit).to_string(), text);
    }
    let more = (6..=9).map(|number| said_back(node_at(&nodes, &jump, number), "x"));
    let ends = futures_util::future::join_all(more).await;
    let lost: Vec<String> = ends.iter().filter_map(|end| end.as_ref().err()).map(ToString::to_string).collect();
    assert!(lost.len() == 1 && lost[0].ends_with(": no answer within 10 s"), "{lost:?}");
    first.signal_sessions("-KILL");
}

//! Two hundred nodes behind one jump host whose sshd has everybody's defaults: none is lost.

use crate::lab::plain_sshd as sshd;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::lab::alone::ran_elsewhere;
use certd::cert::NodeName;
use certd::ssh::{Endpoint, Pool, Session, SshError};
use futures_util::{StreamExt as _, stream};
use sshd::{Sshd, free_address};

const NODES: u8 = 200;
const RUNS: usize = 100;
/// As many as `sessions` of the configuration lets log in at once.
const AT_ONCE: usize = 64;
/// A delivery's limit for a login.
const LOGIN: Duration = Duration::from_secs(30);

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the time of a run is shown")]
async fn no_node_of_two_hundred_behind_a_jump_host_with_defaults_is_lost_in_a_hundred_runs() {
    if ran_elsewhere(|| ()) {
        return;
    }
    let runs = std::env::var("RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
    let jump_host = Sshd::with(free_address(), "LogLevel VERBOSE\nSetEnv SHLVL=2\n");
    // One sshd is all of the nodes, and so has to take all of their logins.
    let any = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap();
    let nodes = Sshd::with(any, "MaxStartups 1000\nSetEnv SHLVL=2\n");
    let mut lost = Vec::new();
    for run in 0..runs {
        let (began, pool) = (Instant::now(), Pool::default());
        let jump = Endpoint { node: NodeName::parse("jump host").unwrap(), pool: pool.clone(), ..jump_host.endpoint() };
        let open = |number: u8| {
            let endpoint = Endpoint {
                node: NodeName::parse(&format!("node-{number}")).unwrap(),
                address: SocketAddr::from(([127, 102, 0, number], nodes.address.port())),
                jump: Some(Box::new(jump.clone())),
                pool: pool.clone(),
                ..nodes.endpoint()
            };
            async move {
                let mut session = Session::start(endpoint, "echo x; exec cat").unwrap();
                let ready = tokio::time::timeout(LOGIN, async {
                    session.ready().await?;
                    session.read().await
                });
                match ready.await {
                    Ok(Ok(_)) => Ok(session),
                    Ok(Err(error)) => Err(error),
                    Err(_) => Err(session.overdue(LOGIN)),
                }
            }
        };
        // They stay until all are there, as those that wait for the canary do.
        let ends: Vec<Result<Session, SshError>> =
            stream::iter(1..=NODES).map(open).buffer_unordered(AT_ONCE).collect().await;
        let errors = ends.iter().filter_map(|end| end.as_ref().err()).map(|error| format!("run {run}: {error}"));
        lost.extend(errors);
        let logins = fs::read_to_string(jump_host.dir.path().join("log")).unwrap();
        let logins = logins.matches("Accepted publickey").count();
        println!("run {run}: {} nodes in {:?}, {logins} logins at the jump host so far", ends.len(), began.elapsed());
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

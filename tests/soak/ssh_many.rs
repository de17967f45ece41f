//! A thousand sessions at once, parked, in the memory that they may cost.

use crate::lab::plain_sshd as sshd;

use std::fs;
use std::time::Duration;

use crate::lab::alone::ran_elsewhere;
use certd::ssh::Session;
use futures_util::{StreamExt as _, stream};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sshd::{Sshd, free_address};
use zeroize::Zeroizing;

const SESSIONS: usize = 1000;
/// As many as `sessions` of the configuration lets log in at once.
const AT_ONCE: usize = 64;
const MEBIBYTES: usize = 200;

fn status(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[tokio::test]
async fn a_thousand_parked_sessions_cost_less_than_200_mib_and_each_still_answers() {
    if ran_elsewhere(|| ()) {
        return;
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    // bash reads no start files where it is not the first shell: a thousand times those of the user who runs this can take
    // minutes (Debian's bash takes sshd for rshd).
    let extra = "MaxStartups 2000\nMaxSessions 1\nClientAliveInterval 0\nSetEnv SHLVL=2\n";
    let nodes: Vec<Sshd> = (0..4).map(|_| Sshd::with(free_address(), extra)).collect();
    let before = status("VmRSS");
    let open = |number: usize| {
        let endpoint = nodes[number % nodes.len()].endpoint();
        async move {
            let mut session = Session::start(endpoint, "echo; exec cat").unwrap();
            session.ready().await.unwrap();
            // sshd says so before the shell has begun: without this, all shells start at once.
            assert_eq!(session.read().await.unwrap(), b"\n");
            session
        }
    };
    let sessions: Vec<Session> = stream::iter(0..SESSIONS).map(open).buffer_unordered(AT_ONCE).collect().await;
    let parked = status("VmRSS");
    // Everyone is asked at once, as a gate that opens does.
    let asked = sessions.iter().map(async |session| {
        session.write(Zeroizing::new(b"commit\n".to_vec())).await?;
        session.read().await
    });
    let answers = tokio::time::timeout(Duration::from_secs(120), futures_util::future::join_all(asked)).await.unwrap();
    assert!(answers.into_iter().all(|answer| answer.unwrap() == b"commit\n"));
    let most = status("VmHWM");
    println!("{SESSIONS} sessions: {before} MiB before, {parked} MiB parked, {most} MiB at most");
    assert!(most < MEBIBYTES, "{most} MiB");
}

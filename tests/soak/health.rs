//! What health checks of a thousand nodes cost.

use std::fs::{self, File};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::lab::pki::Authority;
use crate::lab::process::signal;

const NODES: usize = 1_000;
/// The first rounds, the first time that they are written, and what a start costs.
const WARM_UP: Duration = Duration::from_secs(90);
const MINUTE: Duration = Duration::from_secs(60);
const NAME: &str = "service.example.test";

/// One server at every address of loopback; counts the requests.
async fn serve(authority: &Authority) -> (u16, Arc<AtomicUsize>) {
    let mut config = (*authority.server_config(&[NAME.to_owned()])).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = vec![0; 4096];
                if stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                    count.fetch_add(1, Ordering::Relaxed);
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    (port, asked)
}

/// CPU seconds since its start, and resident memory in MiB.
fn usage(child: &Child) -> (f64, f64) {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: f64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    (ticks / 100.0, kib / 1024.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_nodes_every_thirty_seconds_cost_little_and_nothing_grows() {
    let authority = Authority::new("root");
    let (port, asked) = serve(&authority).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("root.pem"), authority.pem()).unwrap();
    fs::write(path("dns"), "#!/bin/sh\nexit 1\n").unwrap();
    let key =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path("id")).status().unwrap();
    assert!(key.success());
    // Nothing is ever issued: neither the CA nor a name server is there.
    let mut config = format!(
        "state_dir = {:?}\n[acme]\ndirectory = \"https://127.0.0.1:1/directory\"\nissuer_root_file = {:?}\n\
         [dns]\nprovider = \"exec\"\ncommand = [\"/bin/false\"]\nresolvers = [\"127.0.0.1:1\"]\n\
         [run]\ncheck_every = \"24h\"\nschedule = \"0 0 1 1 *\"\n[ssh]\nidentity_files = [{:?}]\n\
         [probe]\nport = {port}\nquic = false\n[health]\npath = \"/health\"\ninterval = \"30s\"\n\
         [install]\nfullchain = \"/f\"\nkey = \"/k\"\ntest = [\"true\"]\nreload = [\"true\"]\n\
         [[certificate]]\ndomains = [{NAME:?}]\nnodes = [\"*\"]\ninventory = false\n",
        path("state"),
        path("root.pem"),
        path("id"),
    );
    for number in 0..NODES {
        let address = format!("127.77.{}.{}", number / 250, 1 + number % 250);
        config += &format!("[[node]]\nname = \"n{number}\"\naddress = \"{address}\"\n");
    }
    fs::write(path("certd.toml"), config).unwrap();
    // `CERTD=target/release/certd` measures what people run.
    let optimised = std::env::var_os("CERTD");
    let program = optimised.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_certd").into());
    let mut command = Command::new(program);
    command.args(["run", "--config"]).arg(path("certd.toml"));
    command.stdout(File::create(path("stdout")).unwrap()).stderr(File::create(path("stderr")).unwrap());
    let mut child = command.spawn().unwrap();
    let journal = || fs::read_to_string(path("stderr")).unwrap();

    tokio::time::sleep(WARM_UP).await;
    assert!(child.try_wait().unwrap().is_none(), "{}", journal());
    #[expect(clippy::disallowed_methods, reason = "what is measured is a share of wall time")]
    let begun = Instant::now();
    let ((cpu, memory), requests) = (usage(&child), asked.load(Ordering::Relaxed));
    // `MINUTES=30` looks longer.
    let minutes = std::env::var("MINUTES").map_or(2, |minutes| minutes.parse().unwrap());
    for minute in 1..=minutes {
        tokio::time::sleep(MINUTE).await;
        let (cpu_now, memory_now) = usage(&child);
        println!("after {minute} min: {memory_now:.1} MiB, {:.1} s of CPU time", cpu_now - cpu);
    }
    let ((cpu_then, memory_then), passed) = (usage(&child), begun.elapsed().as_secs_f64());
    let rate = (asked.load(Ordering::Relaxed) - requests) as f64 / passed;
    let share = (cpu_then - cpu) / passed * 100.0;
    println!(
        "health of {NODES} nodes every 30 s: {rate:.1} requests a second, {share:.1} % of a core, \
         {memory:.1} MiB, then {memory_then:.1} MiB"
    );
    signal("TERM", &[child.id()]);
    assert!(child.wait().unwrap().success(), "{}", journal());
    assert!(!journal().contains("health of"), "every node is well: {}", journal());
    assert!((rate - NODES as f64 / 30.0).abs() < 1.0, "no drift");
    assert!(memory_then - memory < 4.0, "nothing grows");
    // Without optimisation, cryptography in Rust costs several times as much.
    let most = if optimised.is_some() || !cfg!(debug_assertions) { 5.0 } else { 40.0 };
    assert!(share < most, "{share}");
}

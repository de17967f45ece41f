//! Failover by `certd run`: what a visitor sees who resolves, connects and asks for a page, and what moves nothing.

use crate::lab;
use crate::run::Running;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use lab::config::ConfigText;
use lab::node::NodeOptions;
use lab::printed::{exits, stdout};
use lab::process::wait_until;
use lab::script::Point;
use lab::{Lab, Options, SERVICE};
use reqwest::Certificate;

/// As short as they can be.
const FAILOVER: &str = "mode = \"act\"\nafter = \"1s\"\nrestore_after = \"1s\"\ninterval = \"1s\"\n";
/// And the same for health checks, of `/health` at first.
const HEALTH: &str = "path = \"/health\"\ninterval = \"1s\"\ntimeout = \"1s\"\nrise = 1\nfall = 1\n";
/// For a check that fails, the second that it is given, and a round; on a busy machine. It takes two seconds on an idle one.
const SOON: Duration = Duration::from_secs(20);
const MARKERS: &str = "_certd-withdrawn.newapi.example.test";

/// What takes connections, is no node, and so tells whether this machine reaches anything.
struct Witness {
    at: SocketAddr,
    listener: Option<TcpListener>,
}

impl Witness {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self { at: listener.local_addr().unwrap(), listener: Some(listener) }
    }

    fn stop(&mut self) {
        self.listener = None;
    }

    fn start_again(&mut self) {
        self.listener = Some(TcpListener::bind(self.at).unwrap());
    }
}

struct Scene {
    lab: Lab,
    witness: Witness,
    roots: Vec<Certificate>,
    /// Lines of `[dns]`; empty: Cloudflare's.
    dns: String,
}

impl Scene {
    /// Three nodes with the certificate. Behind `/backend` nothing is there.
    fn start(dns: impl FnOnce(&Lab) -> String) -> Self {
        let nginx = "location = /backend { proxy_pass http://127.0.0.1:1; } if ($uri = /backend) { break; }";
        let node = |number| NodeOptions { nginx: nginx.to_owned(), ..NodeOptions::new(&format!("node-{number}")) };
        let lab = Lab::start(Options { nodes: (1..=3).map(node).collect(), ..Options::default() });
        let dns = dns(&lab);
        let roots = Certificate::from_pem_bundle(lab.pebble.roots_pem().as_bytes()).unwrap();
        let scene = Self { witness: Witness::start(), roots, dns, lab };
        scene.configure(HEALTH, FAILOVER);
        exits(&scene.lab.certd(&["renew"]), 0);
        scene
    }

    /// BIND is changed by RFC 2136.
    fn with_bind() -> Self {
        Self::start(|lab| {
            let key = lab.folder.join("tsig.key");
            fs::copy(lab.folder.join("dns/update.key"), &key).unwrap();
            fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            format!("provider = \"rfc2136\"\nserver = \"{}\"\nkey_file = {key:?}", lab.dns.at)
        })
    }

    fn with_cloudflare() -> Self {
        Self::start(|lab| {
            lab.nodes.iter().for_each(|node| lab.cloudflare.add_address(SERVICE, node.tls.ip(), false));
            String::new()
        })
    }

    fn configure(&self, health: &str, failover: &str) {
        let end = format!(
            "[run]\ncheck_every = \"1h\"\n[health]\n{health}\n[failover]\n{failover}witness = [\"{}\"]\n",
            self.witness.at
        );
        self.lab.write_config_with(&ConfigText { dns: self.dns.clone(), end, ..ConfigText::default() });
        if !self.dns.is_empty() {
            let of_cloudflare = ["provider = \"cloudflare\"", "token_file", "api_base"];
            of_cloudflare.iter().for_each(|key| self.lab.replace_line(key, ""));
        }
    }

    fn ip(&self, node: usize) -> IpAddr {
        self.lab.nodes[node].tls.ip()
    }

    fn ips<const N: usize>(&self, nodes: [usize; N]) -> BTreeSet<IpAddr> {
        nodes.map(|node| self.ip(node)).into()
    }

    fn stop(&mut self, node: usize) {
        self.lab.nodes[node].stop_nginx();
    }

    fn start_node(&mut self, node: usize) {
        self.lab.nodes[node].start_nginx();
    }

    /// What DNS answers.
    fn shown(&self) -> BTreeSet<IpAddr> {
        let answer = self.lab.dns.dig(&[SERVICE, "A", "+short"]);
        answer.lines().map(|line| line.parse().unwrap()).collect()
    }

    #[track_caller]
    fn shows(&self, addresses: &BTreeSet<IpAddr>) {
        assert!(wait_until(|| self.shown() == *addresses), "{:?} and not {addresses:?}", self.shown());
    }

    /// Changes of the zone so far.
    fn serial(&self) -> String {
        self.lab.dns.dig(&["example.test", "SOA", "+short"])
    }

    /// Resolves the name, and asks each address for the page. Returns those that answered, and those that did not.
    fn visit(&self) -> [BTreeSet<IpAddr>; 2] {
        let (well, hurt) = self.shown().into_iter().partition(|ip| self.page(*ip));
        [well, hurt]
    }

    fn page(&self, ip: IpAddr) -> bool {
        let Some(node) = self.lab.nodes.iter().find(|node| node.tls.ip() == ip) else { return false };
        let client =
            reqwest::Client::builder().tls_certs_only(self.roots.clone()).no_proxy().resolve(SERVICE, node.tls);
        let client = client.build().unwrap();
        let url = format!("https://{SERVICE}:{}/", node.tls.port());
        let body = async move { client.get(url).send().await?.error_for_status()?.text().await };
        self.lab.client.wait(body).is_ok_and(|body| body.contains(SERVICE))
    }

    /// Returns when each of these nodes had several health checks, which is longer than a failing one is given.
    fn wait_for_checks<const N: usize>(&self, nodes: [usize; N]) {
        let seen = nodes.map(|node| self.lab.nodes[node].tls_connections());
        let more = |(node, seen): (usize, usize)| self.lab.nodes[node].tls_connections() >= seen + 5;
        assert!(wait_until(|| nodes.into_iter().zip(seen).all(more)));
    }

    fn run(&self) -> Running {
        let mut running = Running::start(&self.lab, &[]);
        running.hear("READY=1");
        running
    }

    fn markers(&self) -> Vec<String> {
        self.lab.dns.txt(MARKERS)
    }
}

#[test]
fn a_visitor_sees_a_dead_node_leave_dns_and_come_back_and_what_people_change_stays() {
    let mut scene = Scene::with_bind();
    let mut running = scene.run();
    assert_eq!(scene.visit(), [scene.ips([0, 1, 2]), scene.ips([])]);
    let begin = Instant::now();
    scene.stop(1);
    scene.shows(&scene.ips([0, 2]));
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert_eq!(scene.visit(), [scene.ips([0, 2]), scene.ips([])]);
    let (dead, third) = (scene.ip(1), scene.ip(2));
    running.wait_for_line(&format!("failover: {dead} of {SERVICE} is withdrawn from DNS: node-2: connection refused"));
    let markers = scene.markers();
    assert!(markers.len() == 1 && markers[0].starts_with(&format!("certd1,{dead},1,")), "{markers:?}");
    let output = scene.lab.certd(&["dns", "status"]);
    let text = exits(&output, 3);
    for words in ["withdrawn 2", "in DNS", "1 record withdrawn (exit 3)", "certd run` brings the record back"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    exits(&scene.lab.certd(&["check"]), 4);
    // Somebody takes another out, gives the rest a TTL, and adds one that is no node's.
    scene.lab.dns.update(&format!("delete {SERVICE}. A {third}"));
    scene.lab.dns.update(&format!("add {SERVICE}. 7 A 192.0.2.77"));
    let begin = Instant::now();
    scene.start_node(1);
    running.wait_for_line(&format!("failover: {dead} of {SERVICE} is in DNS again: node-2 is well"));
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let with_stranger: BTreeSet<IpAddr> = [scene.ip(0), dead, [192, 0, 2, 77].into()].into();
    assert_eq!(scene.shown(), with_stranger);
    let answer = scene.lab.dns.dig(&[SERVICE, "A", "+noall", "+answer"]);
    assert!(answer.lines().all(|line| line.split_whitespace().nth(1) == Some("7")), "{answer}");
    assert!(wait_until(|| scene.markers().is_empty()));
    scene.wait_for_checks([0, 1, 2]);
    assert_eq!(scene.shown(), with_stranger, "what a person took out is a person's to bring back");
    running.ends(0);
}

#[test]
fn neither_a_dead_backend_nor_a_controller_that_is_cut_off_moves_anything_and_more_than_half_stay() {
    let mut scene = Scene::with_bind();
    let mut running = scene.run();
    let before = scene.serial();
    // The backend is down: each node says 502.
    scene.configure(&HEALTH.replace("/health", "/backend"), FAILOVER);
    running.hang_up();
    running.wait_for_line("every node that answers says 502");
    scene.wait_for_checks([0, 1, 2]);
    scene.configure(HEALTH, FAILOVER);
    running.hang_up();
    running.wait_for_line("the backend answers again");
    // This machine is cut off.
    scene.witness.stop();
    scene.stop(0);
    running.wait_for_line("stays in DNS, though its node fails: this machine may be what is cut off");
    scene.wait_for_checks([1, 2]);
    assert_eq!(scene.serial(), before, "{}", running.stderr());
    let output = scene.lab.certd(&["dns", "status"]);
    assert!(stdout(&output).contains("no witness answers"), "{}", stdout(&output));
    scene.witness.start_again();
    scene.shows(&scene.ips([1, 2]));
    // Of three, two stay, whatever fails.
    scene.stop(1);
    running.wait_for_line("stays in DNS, though its node fails: 1 of its kind would stay, and 2 have to");
    scene.wait_for_checks([2]);
    assert_eq!(scene.shown(), scene.ips([1, 2]));
    scene.stop(2);
    running.wait_for_line("no node whose address would stay is known to be well");
    assert_eq!(scene.shown(), scene.ips([1, 2]));
    for node in [0, 1, 2] {
        scene.start_node(node);
    }
    scene.shows(&scene.ips([0, 1, 2]));
    assert_eq!(scene.visit(), [scene.ips([0, 1, 2]), scene.ips([])]);
    running.ends(0);
}

#[test]
fn c23_what_is_withdrawn_survives_a_kill_and_an_empty_state_directory_and_comes_back_by_hand() {
    let mut scene = Scene::with_cloudflare();
    let address = scene.ip(0).to_string();
    scene.lab.cloudflare.with(|account| {
        let record = account.records.iter_mut().find(|record| record.content == address).unwrap();
        (record.ttl, record.comment) = (120, Some("left rack".to_owned()));
        record.tags = vec!["owner:ops".to_owned()];
    });
    let running = scene.run();
    scene.stop(0);
    scene.shows(&scene.ips([1, 2]));
    running.kill();
    let output = scene.lab.certd(&["dns", "status"]);
    assert!(exits(&output, 3).contains("its node is not known to be well"), "{}", stdout(&output));
    scene.start_node(0);
    let mut running = scene.run();
    running.wait_for_line("is in DNS again: node-1 is well");
    scene.shows(&scene.ips([0, 1, 2]));
    let mut back = scene.lab.cloudflare.records();
    back.retain(|record| record.content == address);
    assert_eq!(back.len(), 1);
    let had = (back[0].ttl, back[0].comment.as_deref(), back[0].tags.join(" "));
    assert_eq!(had, (120, Some("left rack"), "owner:ops".to_owned()));
    assert!(wait_until(|| scene.markers().is_empty()));
    // Killed after the record was removed and before the API's answer; and then all is lost but DNS.
    let held = scene.lab.cloudflare.script.hold("delete", 1, Point::After);
    scene.stop(0);
    held.wait();
    running.kill();
    held.release();
    fs::remove_dir_all(scene.lab.state_dir()).unwrap();
    let output = scene.lab.certd(&["dns", "status"]);
    assert!(exits(&output, 3).contains("known by its marker in DNS alone"), "{}", stdout(&output));
    // By hand, though its node is dead.
    let output = scene.lab.certd(&["dns", "restore", SERVICE]);
    let text = exits(&output, 0);
    assert!(text.contains(&format!("{SERVICE} {address}: is in DNS again, with a TTL of 120 s")), "{text}");
    assert_eq!(scene.shown(), scene.ips([0, 1, 2]));
    assert_eq!(scene.markers(), [""; 0]);
    // By the service, which has never seen it.
    let running = scene.run();
    scene.shows(&scene.ips([1, 2]));
    running.kill();
    fs::remove_dir_all(scene.lab.state_dir()).unwrap();
    scene.start_node(0);
    let mut running = scene.run();
    running.wait_for_line("is in DNS again: node-1 is well");
    assert_eq!(scene.shown(), scene.ips([0, 1, 2]));
    running.ends(0);
}

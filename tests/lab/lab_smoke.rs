//! The lab itself works: what the other tests stand on.

use crate::lab;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use instant_acme::{
    Account, BodyWrapper, BytesResponse, CertificateIdentifier, ChallengeType, HttpClient, Identifier, NewAccount,
    NewOrder, RetryPolicy,
};

use lab::cloudflare::Cloudflare;
use lab::config::ConfigText;
use lab::http::Client;
use lab::nginx::NginxCommand;
use lab::node::{NodeOptions, Old};
use lab::pebble::PebbleOptions;
use lab::process::{is_alive, output, wait_until};
use lab::script::{Answer, Point};
use lab::{Lab, Options, SERVICE, Service};

const CHALLENGE: &str = "_acme-challenge.newapi.example.test";

#[test]
fn two_labs_side_by_side_leave_no_process_and_no_folder() {
    let (one, two) = (Lab::start(Options::nodes(2)), Lab::start(Options::nodes(1)));
    assert_ne!(one.dns.at, two.dns.at);
    let (ones, twos) = (one.pids(), two.pids());
    assert!(ones.len() >= 2 + 2 * 3, "named, Pebble, and on each node sshd, nginx and its worker: {ones:?}");
    let folder = one.folder.clone();
    drop(one);
    assert!(ones.iter().all(|pid| !is_alive(*pid)));
    assert!(!folder.exists());
    assert!(twos.iter().all(|pid| is_alive(*pid)), "the end of a lab is not the end of another");
}

#[test]
fn a_lab_ends_though_its_process_is_killed() {
    if std::env::var_os("CERTD_LAB_VICTIM").is_some() {
        let lab = Lab::start(Options::nodes(1));
        let held = lab.nodes[0].hold_command(NginxCommand::Test);
        let mut ssh = ssh(&lab, 0, &lab.nodes[0].test_command().join(" "));
        std::thread::spawn(move || ssh.status());
        held.wait();
        let pids = lab.pids().iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        fs::write(
            std::env::var_os("CERTD_LAB_VICTIM").expect("it is set"),
            format!("{}\n{pids}\n", lab.folder.display()),
        )
        .expect("the other test waits for it");
        loop {
            std::thread::park();
        }
    }
    let note = tempfile::NamedTempFile::new().expect("the temporary folder can be written");
    let mut victim = Command::new(std::env::current_exe().expect("Linux knows it"))
        .args(["--exact", "lab_smoke::a_lab_ends_though_its_process_is_killed"])
        .env("CERTD_LAB_VICTIM", note.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("this program starts");
    let read = || fs::read_to_string(note.path()).unwrap_or_default();
    assert!(wait_until(|| read().lines().count() == 2));
    victim.kill().expect("it is ours");
    victim.wait().expect("it is ours");
    let text = read();
    let (folder, pids) = text.split_once('\n').expect("two lines");
    let pids: Vec<u32> = pids.split_whitespace().map(|pid| pid.parse().expect("a number")).collect();
    assert!(pids.len() >= 7, "the held command and its session too: {pids:?}");
    assert!(wait_until(|| pids.iter().all(|pid| !is_alive(*pid))), "alive: {pids:?}");
    assert!(wait_until(|| !std::path::Path::new(folder).exists()), "{folder} is still there");
}

#[test]
fn dns_answers_with_authority_over_udp_and_tcp() {
    let lab = Lab::start(Options::nodes(2));
    for transport in ["+notcp", "+tcp"] {
        let answer = lab.dns.dig(&[SERVICE, "A", transport, "+noall", "+comments", "+answer"]);
        assert!(answer.contains("flags: qr aa"), "{answer}");
        assert_eq!(answer.matches("IN\tA\t127.").count(), 2, "{answer}");
    }
    let zone_cut = lab.dns.dig(&["example.test", "SOA", "+short"]);
    assert!(zone_cut.starts_with("ns1.example.test."), "{zone_cut}");
    assert!(lab.dns.dig(&["example.test", "NS", "+short"]).contains("ns1.example.test."));
    lab.dns.datagrams.lose(true);
    assert!(!lab.dns.dig(&[SERVICE, "A", "+tcp", "+short"]).is_empty());
    lab.dns.datagrams.lose(false);
    lab.dns.hold();
    lab.dns.add_txt(CHALLENGE, "late");
    assert!(lab.dns.txt(CHALLENGE).is_empty());
    lab.dns.release();
    assert_eq!(lab.dns.txt(CHALLENGE), ["late"]);
}

#[test]
fn the_api_double_publishes_removes_pages_and_refuses() {
    let lab = Lab::start(Options::nodes(0));
    (0..60).for_each(|n| _ = lab.cloudflare.add_zone(&format!("dummy-{n}.test")));
    let bearer = format!("Bearer {}", lab.token);
    let call = |method: &str, path: &str, body: &str| {
        let url = format!("{}{path}", lab.cloudflare.base());
        let reply = lab.client.send_with(method, &url, &[("authorization", &bearer)], Some(body.into()));
        (reply.status, serde_json::from_str::<serde_json::Value>(&reply.body).unwrap_or_default())
    };
    let (status, zones) = call("GET", "/zones?name=example.test", "");
    assert_eq!((status, &zones["result_info"]["total_count"]), (200, &1.into()));
    let (_, last) = call("GET", "/zones?page=4&per_page=20", "");
    assert_eq!((&last["result_info"]["count"], &last["result_info"]["total_pages"]), (&1.into(), &4.into()));

    let records = format!("/zones/{}/dns_records", zones["result"][0]["id"].as_str().expect("an id"));
    let body = format!(r#"{{"type":"TXT","name":"{CHALLENGE}","content":"\"abc\"","ttl":60,"comment":"certd"}}"#);
    let (status, made) = call("POST", &records, &body);
    assert_eq!((status, &made["success"]), (200, &true.into()), "{made}");
    assert_eq!(lab.dns.txt(CHALLENGE), ["abc"]);
    let (status, again) = call("POST", &records, &body);
    assert_eq!((status, &again["errors"][0]["code"]), (400, &81058.into()));
    assert_eq!(call("GET", &format!("{records}?type=TXT&comment=certd"), "").1["result_info"]["count"], 1);

    let one = format!("{records}/{}", made["result"]["id"].as_str().expect("an id"));
    assert_eq!(call("DELETE", &one, "").0, 200);
    assert!(lab.dns.txt(CHALLENGE).is_empty() && lab.cloudflare.records().is_empty());
    let (status, gone) = call("DELETE", &one, "");
    assert_eq!((status, &gone["errors"][0]["code"]), (404, &81044.into()));

    lab.cloudflare.script.fail("zones", 1, &Answer::api_error(500, 1, "down"));
    assert_eq!((call("GET", "/zones", "").0, call("GET", "/zones", "").0), (500, 200));
    lab.cloudflare.with(|account| account.calls_left = Some(0));
    assert_eq!(call("GET", "/zones", "").0, 429);
    lab.cloudflare.with(|account| account.calls_left = None);
    lab.cloudflare.with(|account| account.token = "another".into());
    assert_eq!(call("GET", "/user/tokens/verify", "").1["errors"][0]["code"], 1000);
    assert_eq!(call("GET", "/zones", "").1["errors"][0]["code"], 9109);
}

#[test]
fn its_configuration_is_one_that_certd_takes() {
    let lab = Lab::start(Options::default());
    let more = vec![("广州".to_string(), "paused_until = \"2026-12-01\"".to_string())];
    let path = lab.write_config_with(&ConfigText { nodes: more, ..ConfigText::default() });
    let text = fs::read_to_string(path).expect("it is written");
    let config = certd::config::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"));
    let names: Vec<_> = config.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["cn2-shanghai", "广州", "shenzhen"]);
    assert_eq!(config.certificates.len(), 1);
    let mode = fs::metadata(lab.folder.join("cloudflare.token")).expect("a file").mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_node_takes_ssh_by_key_and_serves_new_files_after_a_reload() {
    let mut lab = Lab::start(Options::nodes(1));
    let authority = lab::pki::Authority::new("another");
    let node = &lab.nodes[0];
    let old = node.served(SERVICE).expect("it serves the old certificate");
    assert_eq!(old.names, [SERVICE]);
    assert_eq!(node.pair(SERVICE).expect("a pair"), old);
    node.install(&authority, &Old::Days(90));
    assert_eq!(node.served(SERVICE).expect("nobody reloaded"), old);

    let run = |words: Vec<String>| ssh(&lab, 0, &words.join(" ")).status().expect("ssh starts").success();
    node.break_nginx_config();
    assert!(!run(node.test_command()) && !run(node.reload_command()));
    node.mend_nginx_config();
    assert!(run(node.test_command()) && run(node.reload_command()));
    let new = node.pair(SERVICE).expect("a pair");
    assert!(new != old && wait_until(|| node.served(SERVICE).as_ref() == Ok(&new)));
    assert_eq!((node.ssh_connections(), node.calls(NginxCommand::Test), node.calls(NginxCommand::Reload)), (4, 2, 2));
    assert_eq!(node.tls_connections(), 0, "looking behind the relay does not count");
    lab::pki::handshake(node.tls, SERVICE).expect("the public port answers");
    assert_eq!(node.tls_connections(), 1);

    let node = &mut lab.nodes[0];
    node.stop_nginx();
    assert!(TcpStream::connect(node.tls).is_err());
    node.start_nginx();
    node.blackhole_ssh();
    let silence = TcpStream::connect_timeout(&node.ssh, Duration::from_millis(200)).expect_err("packets vanish");
    assert_eq!(silence.kind(), std::io::ErrorKind::TimedOut);
    node.change_host_key();
    assert!(TcpStream::connect(node.ssh).is_ok());
}

#[test]
fn a_node_serves_several_certificates_one_of_them_with_a_wildcard() {
    let services = vec![Service::new(&[SERVICE]), Service::new(&["example.test", "*.example.test"])];
    let lab = Lab::start(Options { services, ..Options::nodes(1) });
    let node = &lab.nodes[0];
    assert_eq!(node.served(SERVICE).expect("the first").names, [SERVICE]);
    let wildcard = node.served("www.example.test").expect("the second");
    assert_eq!(wildcard.names, ["example.test", "*.example.test"]);
    assert_eq!(node.pair("example.test"), Ok(wildcard));
    assert_eq!(lab.dns.dig(&["www.example.test", "A", "+short"]).trim(), node.ssh.ip().to_string());
}

#[test]
fn a_nodes_disk_can_be_full_and_is_unmounted_at_the_end() {
    let lab = Lab::start(Options::nodes(1));
    let (node, folder) = (&lab.nodes[0], lab.folder.display().to_string());
    let old = node.pair(SERVICE);
    let other = node.fullchain(SERVICE).with_extension("new");
    node.fill_disk();
    let error = fs::write(&other, "x".repeat(5000)).expect_err("no byte is free");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    node.free_disk();
    fs::write(&other, "x".repeat(5000)).expect("there is room again");
    assert!(old.is_ok() && node.pair(SERVICE) == old, "what was there is there");
    let mounted = || fs::read_to_string("/proc/mounts").expect("Linux has it").contains(&folder);
    assert!(mounted());
    drop(lab);
    assert!(!mounted());
}

#[test]
fn a_node_may_serve_an_expired_or_a_foreign_certificate_or_none() {
    let node = |name: &str, old| NodeOptions { old, ..NodeOptions::new(name) };
    let nodes = vec![
        node("expired", Old::Days(-3)),
        node("foreign", Old::OtherName("other.example.test".into())),
        node("empty", Old::Nothing),
    ];
    let lab = Lab::start(Options { nodes, ..Options::default() });
    let ends = |n: usize| lab.nodes[n].served(SERVICE).map(|leaf| leaf.not_after);
    assert!(ends(0).expect("an expired one is served") < ends(1).expect("a foreign one is served"));
    assert_eq!(lab.nodes[1].served(SERVICE).expect("it is served").names, ["other.example.test"]);
    assert!(lab.nodes[2].served(SERVICE).is_err() && !lab.nodes[2].fullchain(SERVICE).exists());
}

#[test]
fn pebble_is_reached_through_the_proxy_which_counts_holds_and_spoils() {
    let lab = Lab::start(Options::nodes(0));
    let url = lab.proxy.directory();
    let directory = lab.client.send("GET", &url, None);
    let directory: serde_json::Value = serde_json::from_str(&directory.body).expect("a directory");
    let nonce = directory["newNonce"].as_str().expect("an URL");
    assert!(nonce.starts_with(&format!("https://{}/", lab.proxy.at)), "Pebble's URLs lead to the proxy: {nonce}");
    assert!(directory["renewalInfo"].is_string() && directory["meta"]["profiles"].is_object(), "{directory}");

    lab.proxy.script.answer("nonce", 2, Point::Before, Answer::new(429, "").header("retry-after", "7"));
    assert_eq!((lab.client.send("HEAD", nonce, None).status, lab.client.send("HEAD", nonce, None).status), (200, 429));
    let held = lab.proxy.script.hold("directory", 1, Point::After);
    let client = lab.client.clone();
    let asking = std::thread::spawn(move || client.send("GET", &url, None).status);
    held.wait();
    assert!(!asking.is_finished());
    held.release();
    assert_eq!(asking.join().expect("the thread ends"), 200);
    lab.proxy.script.rewrite("directory", 1, |body| body.replace("newNonce", "oldNonce"));
    assert!(lab.client.send("GET", &lab.proxy.directory(), None).body.contains("oldNonce"));
    lab.proxy.script.cut("directory", 1, Point::After);
    assert!(lab.client.try_send("GET", &lab.proxy.directory(), &[], None).is_err(), "no byte of an answer");
    assert_eq!((lab.proxy.script.count("directory"), lab.proxy.script.count("nonce"), lab.pebble.issued()), (4, 2, 0));
}

#[test]
fn a_certificate_is_issued_by_hand_from_the_ca_over_the_double_and_dns() {
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let lab = Lab::start(Options { pebble, ..Options::nodes(0) });
    let (client, directory, double) = (lab.client.clone(), lab.proxy.directory(), lab.cloudflare.clone());
    let chain = lab.client.wait(async move { issue(client, directory, &double).await.expect("Pebble issues") });
    let leaf = lab::pki::parse(&chain).expect("a chain");
    assert_eq!((leaf.names.as_slice(), lab.pebble.issued()), ([SERVICE.to_string()].as_slice(), 1));
    assert!(lab.pebble.status(&leaf.serial).body.contains("Valid"));
    assert_eq!((lab.proxy.script.count("finalize"), lab.cloudflare.records().len()), (1, 1));
    let window = r#"{"suggestedWindow":{"start":"2020-01-01T00:00:00Z","end":"2020-01-02T00:00:00Z"}}"#;
    lab.pebble.set_renewal_info(&chain, window);
    let directory: serde_json::Value =
        serde_json::from_str(&lab.client.send("GET", &lab.proxy.directory(), None).body).expect("a directory");
    let id = CertificateIdentifier::try_from(&leaf.der.clone().into()).expect("it names its issuer's key");
    let url = format!("{}/{id}", directory["renewalInfo"].as_str().expect("an URL"));
    let answer = lab.client.send("GET", &url, None);
    assert!(answer.status == 200 && answer.body.contains("2020-01-02"), "{}", answer.body);
}

async fn issue(client: Client, directory: String, double: &Cloudflare) -> Result<String, instant_acme::Error> {
    let new = NewAccount { contact: &[], terms_of_service_agreed: true, only_return_existing: false };
    let (account, _) = Account::builder_with_http(Box::new(Http(client))).create(&new, directory, None).await?;
    let mut order = account.new_order(&NewOrder::new(&[Identifier::Dns(SERVICE.into())])).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let mut challenge = authorization.challenge(ChallengeType::Dns01).expect("Pebble offers it");
        double.add_txt(CHALLENGE, &challenge.key_authorization().dns_value(), None);
        challenge.set_ready().await?;
    }
    order.poll_ready(&RetryPolicy::default()).await?;
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let mut params = rcgen::CertificateParams::new([SERVICE.to_string()]).expect("a valid name");
    params.distinguished_name = rcgen::DistinguishedName::new();
    order.finalize_csr(params.serialize_request(&key).expect("a request").der()).await?;
    order.poll_certificate(&RetryPolicy::default()).await
}

struct Http(Client);

impl HttpClient for Http {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let client = self.0.inner.clone();
        Box::pin(async move {
            let other = |error: reqwest::Error| instant_acme::Error::Other(Box::new(error));
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("a body in memory").to_bytes();
            let request = client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
            let answer = request.send().await.map_err(other)?;
            let mut response = http::Response::builder().status(answer.status());
            *response.headers_mut().expect("no header is wrong yet") = answer.headers().clone();
            let (parts, ()) = response.body(()).expect("what was a response is one").into_parts();
            Ok(BytesResponse { parts, body: Box::new(answer.bytes().await.map_err(other)?) })
        })
    }
}

/// OpenSSH's own client on the lab's key, with the node's key pinned.
fn ssh(lab: &Lab, node: usize, command: &str) -> Command {
    let at = lab.nodes[node].ssh;
    let known = lab.folder.join(format!("known_hosts.{node}"));
    fs::write(&known, format!("[{}]:{} {}\n", at.ip(), at.port(), lab.nodes[node].host_key()))
        .expect("the folder is ours");
    let user = output(Command::new("id").arg("-un"));
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"])
        .args(["-o", &format!("UserKnownHostsFile={}", known.display()), "-p", &at.port().to_string(), "-i"])
        .arg(lab.folder.join("id_ed25519"))
        .arg(format!("{}@{}", user.trim(), at.ip()))
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    ssh
}

//! HTTP/3 as servers of Debian 13 and sid do it: nginx 1.26 and newer, HAProxy 3, Caddy 2.11, reloaded as their manuals
//! say. The packages are unpacked below `lab/debian/` and run with their own libraries.

use crate::lab;

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use lab::nginx::NginxCommand;
use lab::node::NodeOptions;
use lab::printed::exits;
use lab::process::wait_until;
use lab::{Lab, Options, SERVICE, free_ports};

/// A suite and what is taken from it.
const SUITES: [(&str, &[&str]); 2] = [("trixie", &["nginx", "haproxy"]), ("sid", &["nginx", "haproxy", "caddy"])];

/// Where the suite's packages are, unpacked on demand.
fn unpacked(suite: &str) -> PathBuf {
    let (_, packages) = SUITES.iter().find(|(name, _)| *name == suite).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("lab/debian").join(suite);
    let script = root.join("tests/soak/unpack.sh");
    let status = Command::new(script).arg(suite).arg(&folder).args(*packages).status().unwrap();
    assert!(status.success(), "{suite} could not be unpacked");
    folder.join("root")
}

/// A node whose server is another than its nginx.
struct Edge {
    lab: Lab,
    folder: PathBuf,
    at: SocketAddr,
}

impl Edge {
    fn new() -> Self {
        let lab = Lab::start(Options { nodes: vec![NodeOptions::new("edge")], ..Options::default() });
        let node = &lab.nodes[0];
        let folder = node.folder.join("other");
        fs::create_dir_all(&folder).unwrap();
        let [at] = free_ports::<1>(node.ssh.ip());
        lab.write_config("");
        lab.replace_line("probe = ", &format!("probe = {{ port = {} }}", at.port()));
        Self { folder, at, lab }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn pair(&self) -> [String; 2] {
        let node = &self.lab.nodes[0];
        [node.fullchain(SERVICE), node.key(SERVICE)].map(|path| path.display().to_string())
    }

    /// A program of another suite, which runs with that suite's libraries, again when it starts itself anew.
    fn program(&self, root: &Path, path: &str) -> String {
        let script = self.folder.join(path.rsplit('/').next().unwrap());
        let find = |pattern: &str| {
            let found = Command::new("find").arg(root.join("usr")).args(["-path", pattern]).output().unwrap();
            String::from_utf8(found.stdout).unwrap().lines().next().expect("libc6 was unpacked").to_owned()
        };
        let (loader, libc) = (find("*/lib*/ld-linux*"), find("*/libc.so.6"));
        let libraries = Path::new(&libc).parent().unwrap().display().to_string();
        let text = format!(
            "#!/bin/sh\nexec {loader} --argv0 {script} --library-path {libraries} {program} \"$@\"\n",
            script = script.display(),
            program = root.join(path).display()
        );
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        script.display().to_string()
    }

    /// Starts the server, which certd tests and reloads by these commands from now on.
    fn start(&self, command: &str, test: &str, reload: &str) {
        let mut start = Command::new("sh");
        start.args(["-c", &format!("cd {}; exec {command} >log 2>&1", self.folder.display())]);
        // The lab's end ends it.
        #[allow(clippy::zombie_processes, reason = "its end is the lab's")]
        let _server = self.lab.spawn(start);
        let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        assert!(wait_until(|| TcpStream::connect(self.at).is_ok()), "it does not start:\n{}", log());
        let node = &self.lab.nodes[0];
        let inside = |command: &str| format!("cd {}; {command}\n", self.folder.display());
        node.replace_command(NginxCommand::Test, Some(&inside(test)));
        node.replace_command(NginxCommand::Reload, Some(&inside(reload)));
    }

    /// What each handshake showed; none is a reason for another exit code.
    fn look(&self) -> Vec<Value> {
        let output = self.lab.certd(&["check", "--output", "json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["exit"], 0, "{report}");
        report["certificates"][0]["nodes"][0]["served"].as_array().unwrap().clone()
    }

    /// Renews twice, and finds what is new at once over both protocols.
    fn renews(&self) {
        for arguments in [&["renew"][..], &["renew", "--force"]] {
            let text = exits(&self.lab.certd(arguments), 0);
            assert!(text.contains("over QUIC"), "{text}");
            let served = self.look();
            let ok =
                served.iter().map(|served| (served["over"].as_str().unwrap(), served["verdict"].as_str().unwrap()));
            assert_eq!(ok.collect::<Vec<_>>(), [("tcp", "ok"), ("quic", "ok")], "{served:?}");
        }
    }
}

/// Requests that last until they are dropped.
struct Long(#[allow(dead_code, reason = "they end with it")] Vec<(TcpStream, TcpStream)>);

impl Long {
    /// `at`: a plain port of the server, which passes requests on to `behind`.
    fn begin(count: usize, at: SocketAddr, behind: &TcpListener) -> Self {
        let one = |_| {
            let mut asking = TcpStream::connect(at).unwrap();
            asking.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            (asking, behind.accept().unwrap().0)
        };
        Self((0..count).map(one).collect())
    }
}

fn nginx(suite: &str) {
    let edge = Edge::new();
    let root = unpacked(suite);
    let program = edge.program(&root, "usr/sbin/nginx");
    let ([chain, key], at) = (edge.pair(), edge.at);
    let behind = TcpListener::bind((at.ip(), 0)).unwrap();
    let [plain] = free_ports::<1>(at.ip());
    let configure = |main: &str| {
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path temp;\n"));
        let text = format!(
            "{main}\nuser root; daemon off; worker_processes 2; pid {pid}; error_log {log} info;\nevents {{}}\n\
             http {{\naccess_log off; proxy_read_timeout 600s;\n{temp}\
             server {{\n listen {at} quic reuseport; listen {at} ssl; server_name {SERVICE};\n\
             ssl_certificate {chain}; ssl_certificate_key {key};\n\
             add_header Alt-Svc 'h3=\":{port}\"; ma=60'; location / {{ return 200 here; }}\n}}\n\
             server {{ listen {plain}; location / {{ proxy_pass http://{behind}; }} }}\n}}\n",
            pid = edge.file("pid"),
            log = edge.file("error.log"),
            temp = temp.concat(),
            port = at.port(),
            behind = behind.local_addr().unwrap(),
        );
        fs::write(edge.folder.join("nginx.conf"), text).unwrap();
    };
    configure("");
    let command = format!("{program} -p {folder} -e {folder}/error.log -c nginx.conf", folder = edge.folder.display());
    edge.start(&command, &format!("{command} -t"), &format!("{command} -s reload"));
    edge.renews();

    // So many that each worker has one. With `quic = true` a missing answer could be a warning.
    edge.lab.replace_line("probe = ", &format!("probe = {{ port = {}, quic = true }}", at.port()));
    let long = Long::begin(12, plain, &behind);
    exits(&edge.lab.certd(&["renew", "--force"]), 0);
    let mut shares = Vec::new();
    while shares.len() < 8 {
        let served = edge.look();
        let over: Vec<&str> = served.iter().map(|served| served["over"].as_str().unwrap()).collect();
        assert_eq!(over, ["tcp", "quic"], "a row for each protocol: {served:?}");
        assert!(served[0]["verdict"] == "ok", "{served:?}");
        let (asked, answered) = (&served[1]["handshakes"]["asked"], &served[1]["handshakes"]["answered"]);
        let (asked, answered) = (asked.as_u64().unwrap(), answered.as_u64().unwrap());
        assert_eq!(served[1]["verdict"], if answered > 0 { "ok" } else { "no-quic" }, "{served:?}");
        shares.push((asked, answered));
        let text = exits(&edge.lab.certd(&["check"]), 0);
        assert!(!text.contains("is UDP open"), "{text}");
        if text.contains("had no answer") {
            assert!(text.contains("old workers hold them until long requests end"), "{text}");
        }
    }
    println!("nginx of {suite}: handshakes and answers while each old worker has a request: {shares:?}");
    assert!(shares.iter().any(|(asked, answered)| answered < asked), "{shares:?}");
    drop(long);
    let settled = || edge.look()[1]["handshakes"]["answered"] == 5;
    assert!(wait_until(settled), "{:?}", edge.look());

    let node = &edge.lab.nodes[0];
    fs::write(node.folder.join("hooks/other"), format!("cd {}; exec {command} -T\n", edge.folder.display())).unwrap();
    let doctor = || String::from_utf8(edge.lab.certd(&["doctor"]).stdout).unwrap();
    let text = doctor();
    assert!(text.contains("without worker_shutdown_timeout"), "{text}");
    configure("worker_shutdown_timeout 3s;");
    let text = doctor();
    assert!(!text.contains("worker_shutdown_timeout"), "{text}");

    // It bounds what the requests would hold.
    let reload = || {
        let command = format!("cd {}; {command} -s reload", edge.folder.display());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    };
    reload();
    assert!(wait_until(settled), "{:?}", edge.look());
    let _long = Long::begin(12, plain, &behind);
    reload();
    assert!(wait_until(settled), "{:?}", edge.look());
}

#[test]
fn n09_nginx_of_debian_13_swallows_new_quic_handshakes_while_old_workers_have_requests() {
    nginx("trixie");
}

#[test]
fn n09_nginx_of_sid_swallows_new_quic_handshakes_while_old_workers_have_requests() {
    nginx("sid");
}

#[test]
fn haproxy_3_serves_the_new_certificate_over_both_protocols_at_once() {
    for (suite, global) in [("trixie", "limited-quic"), ("sid", "")] {
        let edge = Edge::new();
        let program = edge.program(&unpacked(suite), "usr/sbin/haproxy");
        let [chain, key] = edge.pair();
        // The key of a certificate's file is the file of that name with `.key`.
        std::os::unix::fs::symlink(&key, format!("{chain}.key")).unwrap();
        let text = format!(
            "global\n  {global}\ndefaults\n  mode http\n  timeout client 5s\n  timeout server 5s\n  timeout connect 5s\n\
             frontend f\n  bind {at} ssl crt {chain} alpn h2,http/1.1\n  bind quic4@{at} ssl crt {chain} alpn h3\n\
             http-request return status 200\n",
            at = edge.at
        );
        fs::write(edge.folder.join("haproxy.cfg"), text).unwrap();
        edge.start(
            &format!("{program} -W -f haproxy.cfg -p pid"),
            &format!("{program} -c -f haproxy.cfg"),
            "kill -USR2 $(cat pid)",
        );
        edge.renews();
    }
}

#[test]
fn caddy_of_sid_serves_the_new_certificate_over_both_protocols_after_a_reload() {
    let edge = Edge::new();
    let program = unpacked("sid").join("usr/bin/caddy").display().to_string();
    let ([chain, key], IpAddr::V4(ip)) = (edge.pair(), edge.at.ip()) else { panic!("the lab is in 127.0.0.0/8") };
    let text = format!(
        "{{\n  admin unix/{admin}\n  auto_https disable_redirects\n  skip_install_trust\n}}\n\
         https://{SERVICE}:{port} {{\n  bind {ip}\n  tls {chain} {key}\n  respond \"here\"\n}}\n",
        admin = edge.file("admin"),
        port = edge.at.port(),
    );
    fs::write(edge.folder.join("Caddyfile"), text).unwrap();
    let home = format!("env HOME={0} XDG_DATA_HOME={0} XDG_CONFIG_HOME={0}", edge.folder.display());
    edge.start(
        &format!("{home} {program} run --config Caddyfile"),
        &format!("{home} {program} validate --config Caddyfile"),
        &format!("{home} {program} reload --force --config Caddyfile"),
    );
    edge.renews();
}

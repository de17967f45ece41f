//! What real servers answer to UPDATEs that are not as they should be: each has its own way, and certd's advice must allow
//! for it. BIND 9.18 and 9.20, Knot 3.2 to 3.5, PowerDNS 4.7 to 5, NSD, from three releases of Debian.

mod addresses;

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use certd::config;
use certd::context::clock;
use certd::dns::{Provider, Rfc2136, TxtRecord};
use jiff::Timestamp;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::lab::process::{Process, Reaper, output, wait_until};
use crate::lab::{free_ports, run_id};

const SUITES: [&str; 3] = ["bookworm", "trixie", "sid"];
const GOOD: &str = "Z29vZGdvb2Rnb29kZ29vZA==";
const OTHER: &str = "b3RoZXJvdGhlcm90aGVyb3Q=";
/// The zone of a primary that is allowed, one that is not, and one whose secondary is asked.
const ZONES: [&str; 3] = ["example.test", "other.test", "second.test"];

/// What the client is told, by the code of the error; "" where the record is made.
struct Expected {
    wrong_secret: &'static str,
    unknown_key: &'static str,
    not_permitted: &'static str,
    not_served: &'static str,
    clock: &'static str,
    at_a_secondary: &'static str,
}

const BIND: Expected = Expected {
    wrong_secret: "dns-update-wrong-secret",
    unknown_key: "dns-update-unknown-key",
    not_permitted: "dns-update-refused",
    not_served: "dns-update-not-primary",
    clock: "dns-update-clock",
    at_a_secondary: "dns-update-refused",
};
const POWERDNS: Expected = Expected {
    wrong_secret: "dns-update-unsigned",
    unknown_key: "dns-update-unsigned",
    not_permitted: "dns-update-refused",
    not_served: "dns-update-not-primary",
    clock: "dns-update-unsigned",
    at_a_secondary: "",
};
const KNOT_3_2: Expected = Expected {
    wrong_secret: "dns-update-wrong-secret",
    unknown_key: "dns-update-unknown-key",
    not_permitted: "dns-update-unknown-key",
    not_served: "dns-update-unsigned",
    clock: "dns-update-clock",
    at_a_secondary: "",
};
const KNOT: Expected = Expected {
    unknown_key: "dns-update-unsigned",
    not_permitted: "dns-update-unsigned",
    at_a_secondary: "dns-update-not-primary",
    ..KNOT_3_2
};

struct Servers {
    root: PathBuf,
    folder: tempfile::TempDir,
    reaper: Reaper,
    primary: SocketAddr,
    secondary: SocketAddr,
    runtime: Runtime,
    processes: Vec<Process>,
}

impl Servers {
    fn of(suite: &str) -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let status = Command::new(repository.join("tests/update_servers.sh")).arg(suite).status().unwrap();
        assert!(status.success(), "update_servers.sh {suite}");
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let [primary] = free_ports(Ipv4Addr::LOCALHOST.into());
        let [secondary] = free_ports(IpAddr::from([127, 0, 0, 2]));
        let reaper = Reaper::start(folder.path());
        let root = repository.join("lab/update-servers").join(suite);
        Self { root, folder, reaper, primary, secondary, runtime, processes: Vec::new() }
    }

    /// A program of the release, with the release's own loader and libraries.
    fn program(&self, path: &str) -> Command {
        let library = self.root.join("usr/lib/x86_64-linux-gnu");
        let old = self.root.join("lib/x86_64-linux-gnu");
        let loader = [&library, &old].map(|it| it.join("ld-linux-x86-64.so.2")).into_iter().find(|it| it.exists());
        let mut command = Command::new(loader.expect("libc6 brings it"));
        command.arg("--library-path").arg(format!("{}:{}", library.display(), old.display()));
        command.arg(self.root.join(path));
        command
    }

    /// A folder with the zones' files. The primary that the SOA records name is at 127.0.0.1.
    fn zones(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(format!("{name}-{}", run_id()));
        fs::create_dir_all(&folder).unwrap();
        for zone in ZONES {
            let text = "$TTL 60\n@ SOA localhost. admin 1 60 60 600 60\n@ NS ns1\nns1 A 127.0.0.1\n";
            fs::write(folder.join(format!("{zone}.zone")), text).unwrap();
        }
        folder
    }

    fn spawn(&mut self, name: &str, command: Command, at: SocketAddr) {
        self.processes.push(self.reaper.spawn(name, command));
        let zone = if at == self.secondary { "second.test" } else { "example.test" };
        let dig =
            ["+short", "+tries=1", "+time=1", zone, "SOA", &format!("@{}", at.ip()), "-p", &at.port().to_string()]
                .map(str::to_owned);
        let shows = || {
            let answer = Command::new("dig").args(&dig).stderr(Stdio::null()).output().unwrap().stdout;
            String::from_utf8_lossy(&answer).contains("localhost.")
        };
        assert!(wait_until(shows), "{name}: {}", self.processes.last().unwrap().log());
    }

    fn bind(&mut self) {
        // It listens at addresses of an interface alone, and 127.0.0.2 is none.
        let [secondary] = free_ports(Ipv6Addr::LOCALHOST.into());
        self.secondary = secondary;
        let old = output(self.program("usr/sbin/named").arg("-v")).contains("9.18");
        for (name, at) in [("named", self.primary), ("named-secondary", self.secondary)] {
            let folder = self.zones(name);
            let family = if at.is_ipv6() { "-v6" } else { "" };
            let none = if at.is_ipv6() { "listen-on { none; }" } else { "listen-on-v6 { none; }" };
            let (dir, no_lock) = (folder.display(), if old { "lock-file none;" } else { "" });
            let mut text = format!(
                "key good {{ algorithm hmac-sha256; secret \"{GOOD}\"; }};\nkey idle {{ algorithm hmac-sha256; secret \"{OTHER}\"; }};\n\
                 options {{ directory \"{dir}\"; listen-on{family} port {} {{ {}; }}; {none}; recursion no; {no_lock}\n\
                 pid-file none; session-keyfile none; dnssec-validation no; notify no; managed-keys-directory \"{dir}\";\n\
                 allow-transfer {{ any; }}; }};\ncontrols {{ }};\n",
                at.port(),
                at.ip()
            );
            if at == self.secondary {
                let port = self.primary.port();
                let primaries = format!("primaries {{ 127.0.0.1 port {port}; }}");
                writeln!(text, "zone second.test {{ type secondary; {primaries}; file \"second\"; }};").unwrap();
            } else {
                for zone in ZONES {
                    let allowed = if zone == "other.test" { "none" } else { "key good" };
                    writeln!(
                        text,
                        "zone {zone} {{ type primary; file \"{zone}.zone\"; allow-update {{ {allowed}; }}; }};"
                    )
                    .unwrap();
                }
            }
            fs::write(folder.join("named.conf"), text).unwrap();
            let mut command = self.program("usr/sbin/named");
            command.args(["-g", "-n", "1", "-c"]).arg(folder.join("named.conf"));
            self.spawn(name, command, at);
        }
    }

    fn knot(&mut self) {
        for (name, at) in [("knot", self.primary), ("knot-secondary", self.secondary)] {
            let folder = self.zones(name);
            let dir = folder.display();
            let mut text = format!(
                "server:\n    rundir: {dir}\n    listen: {}@{}\ndatabase:\n    storage: {dir}\nlog:\n  - target: stderr\n    any: info\n\
                 key:\n  - id: good\n    algorithm: hmac-sha256\n    secret: {GOOD}\n  - id: idle\n    algorithm: hmac-sha256\n    secret: {OTHER}\n\
                 remote:\n  - id: up\n    address: 127.0.0.1@{}\n\
                 acl:\n  - id: update\n    key: good\n    action: update\n  - id: transfer\n    address: [127.0.0.1, 127.0.0.2]\n    action: transfer\n\
                 zone:\n",
                at.ip(),
                at.port(),
                self.primary.port()
            );
            if at == self.secondary {
                text += &format!("  - domain: second.test\n    storage: {dir}\n    master: up\n    acl: update\n");
            } else {
                for zone in ZONES {
                    let acl = if zone == "other.test" { "transfer" } else { "[update, transfer]" };
                    let file = format!("    storage: {dir}\n    file: {zone}.zone\n    acl: {acl}\n");
                    text += &format!("  - domain: {zone}\n{file}");
                }
            }
            fs::write(folder.join("knot.conf"), text).unwrap();
            let mut command = self.program("usr/sbin/knotd");
            command.arg("-c").arg(folder.join("knot.conf"));
            self.spawn(name, command, at);
        }
    }

    fn powerdns(&mut self) {
        let old = self.root.ends_with("bookworm");
        let (primary, secondary) = if old { ("master", "slave") } else { ("primary", "secondary") };
        for (name, at) in [("pdns", self.primary), ("pdns-secondary", self.secondary)] {
            let folder = self.zones(name);
            let dir = folder.display();
            let schema = self.root.join("usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql");
            let mut sql = fs::read_to_string(schema).unwrap();
            for (key, secret) in [("good", GOOD), ("idle", OTHER)] {
                writeln!(sql, "insert into tsigkeys(name,algorithm,secret) values('{key}','hmac-sha256','{secret}');")
                    .unwrap();
            }
            for (id, zone) in ZONES.iter().enumerate() {
                let id = id + 1;
                let key = if *zone == "other.test" { "idle-no-more" } else { "good" };
                if at == self.secondary {
                    let up = format!("127.0.0.1:{}", self.primary.port());
                    writeln!(sql, "insert into domains(id,name,type,master) values({id},'{zone}','SLAVE','{up}');")
                        .unwrap();
                } else {
                    writeln!(sql, "insert into domains(id,name,type) values({id},'{zone}','MASTER');").unwrap();
                    let soa = "localhost admin.localhost 1 60 60 600 60".to_owned();
                    for (kind, content) in [("SOA", soa), ("NS", format!("ns1.{zone}"))] {
                        writeln!(
                            sql,
                            "insert into records(domain_id,name,type,content,ttl,auth) values({id},'{zone}','{kind}','{content}',60,1);"
                        )
                        .unwrap();
                    }
                }
                for (kind, content) in [("TSIG-ALLOW-DNSUPDATE", key), ("ALLOW-AXFR-FROM", "127.0.0.0/8")] {
                    writeln!(
                        sql,
                        "insert into domainmetadata(domain_id,kind,content) values({id},'{kind}','{content}');"
                    )
                    .unwrap();
                }
            }
            fs::write(folder.join("zones.sql"), sql).unwrap();
            let mut command = self.program("usr/bin/sqlite3");
            output(command.arg(folder.join("db")).arg(format!(".read {dir}/zones.sql")));
            let modules = self.root.join("usr/lib/x86_64-linux-gnu/pdns");
            let text = format!(
                "launch=gsqlite3\ngsqlite3-database={dir}/db\nlocal-address={}\nlocal-port={}\ndnsupdate=yes\n\
                 allow-dnsupdate-from=127.0.0.0/8\nsocket-dir={dir}\nmodule-dir={}\n{primary}=yes\n{secondary}=yes\n\
                 daemon=no\nguardian=no\nquery-local-address=127.0.0.2\n",
                at.ip(),
                at.port(),
                modules.display()
            );
            fs::write(folder.join("pdns.conf"), text).unwrap();
            let mut command = self.program("usr/sbin/pdns_server");
            command.arg(format!("--config-dir={dir}"));
            self.spawn(name, command, at);
        }
    }

    fn nsd(&mut self) {
        let folder = self.zones("nsd");
        let dir = folder.display();
        let at = self.primary;
        // Before 4.8 it kept one at a fixed path.
        let old = self.root.ends_with("bookworm");
        let database = if old { "  database: \"\"\n" } else { "" };
        let text = format!(
            "server:\n{database}  ip-address: {}@{}\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"{dir}/pid\"\n  zonelistfile: \"{dir}/list\"\n  \
             xfrdfile: \"{dir}/xfrd\"\n  xfrdir: \"{dir}\"\n  zonesdir: \"{dir}\"\n  server-count: 1\nremote-control:\n  control-enable: no\n\
             zone:\n  name: example.test\n  zonefile: example.test.zone\n",
            at.ip(),
            at.port()
        );
        fs::write(folder.join("nsd.conf"), text).unwrap();
        let mut command = self.program("usr/sbin/nsd");
        command.args(["-d", "-c"]).arg(folder.join("nsd.conf"));
        self.spawn("nsd", command, at);
    }

    fn client(&self, at: SocketAddr, key: &str, secret: &str, algorithm: &str, clock: fn() -> Timestamp) -> Rfc2136 {
        let config = config::Rfc2136 {
            host: config::Host::Ip(at.ip()),
            port: at.port(),
            key_file: "/tsig.key".into(),
            key_name: None,
            algorithm: None,
            zone: None,
            ttl: 60,
        };
        let text = format!("key \"{key}\" {{ algorithm {algorithm}; secret \"{secret}\"; }};\n");
        Rfc2136::new(&config, &Zeroizing::new(text), clock).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes and removes a record; the code of the first error, or "", and its text.
    fn asked(&self, client: &Rfc2136, zone: &str) -> (String, String) {
        let name = format!("_acme-challenge.{zone}");
        let made = self.runtime.block_on(async {
            let zone = client.zone(&name, Some(zone)).await?;
            let record = TxtRecord { name, value: "v".to_owned() };
            let handle = client.publish(&zone, &[record]).await.remove(0)?;
            client.remove(&[handle]).await.remove(0)
        });
        made.map_or_else(
            |error| (error.code().to_string(), format!("{error}; next: {}", error.next())),
            |()| Default::default(),
        )
    }

    fn answers(&self, expected: &Expected, software: &str) {
        let long_ago = || clock::now() - jiff::SignedDuration::from_hours(2);
        let at = self.primary;
        let sha256 = "hmac-sha256";
        let rows = [
            ("good", self.client(at, "good", GOOD, sha256, clock::now), "example.test", ""),
            ("secret", self.client(at, "good", OTHER, sha256, clock::now), "example.test", expected.wrong_secret),
            ("name", self.client(at, "none", GOOD, sha256, clock::now), "example.test", expected.unknown_key),
            (
                "algorithm",
                self.client(at, "good", GOOD, "hmac-sha512", clock::now),
                "example.test",
                expected.unknown_key,
            ),
            ("key", self.client(at, "idle", OTHER, sha256, clock::now), "example.test", expected.not_permitted),
            ("zone", self.client(at, "good", GOOD, sha256, clock::now), "other.test", expected.not_permitted),
            ("absent", self.client(at, "good", GOOD, sha256, clock::now), "absent.test", expected.not_served),
            ("clock", self.client(at, "good", GOOD, sha256, long_ago), "example.test", expected.clock),
            (
                "secondary",
                self.client(self.secondary, "good", GOOD, sha256, clock::now),
                "second.test",
                expected.at_a_secondary,
            ),
        ];
        for (row, client, zone, code) in rows {
            let (seen, text) = self.asked(&client, zone);
            println!("{software:30} {row:10} {text}");
            assert_eq!(seen, code, "{software}, {row}: {text}");
            let of_secondary = row == "secondary" && !code.is_empty();
            assert_eq!(text.contains("names another server as its primary: localhost"), of_secondary, "{text}");
            // The advice is of this server's kind: what it answers alone leads to words about it.
            if !of_secondary && ["dns-update-unsigned", "dns-update-refused"].contains(&code) {
                let name = software.split(' ').next().unwrap();
                assert!(text.contains(name), "{software}, {row}: {text}");
            }
        }
    }
}

#[test]
fn c01_each_bind_names_what_it_refuses_and_its_secondary_is_named() {
    for suite in SUITES {
        let mut servers = Servers::of(suite);
        servers.bind();
        servers.answers(&BIND, &format!("BIND of {suite}"));
    }
}

#[test]
fn c01_what_powerdns_refuses_without_a_signature_is_no_lack_of_permission() {
    for suite in SUITES {
        let mut servers = Servers::of(suite);
        servers.powerdns();
        servers.answers(&POWERDNS, &format!("PowerDNS of {suite}"));
    }
}

#[test]
fn c01_what_knot_refuses_may_be_the_key_or_its_permission() {
    for (suite, expected) in SUITES.into_iter().zip([&KNOT_3_2, &KNOT, &KNOT]) {
        let mut servers = Servers::of(suite);
        servers.knot();
        servers.answers(expected, &format!("Knot of {suite}"));
    }
}

#[test]
fn c01_nsd_takes_no_updates_and_is_said_to() {
    for suite in SUITES {
        let mut servers = Servers::of(suite);
        servers.nsd();
        let client = servers.client(servers.primary, "good", GOOD, "hmac-sha256", clock::now);
        let (code, text) = servers.asked(&client, "example.test");
        println!("NSD of {suite}: {text}");
        assert_eq!(code, "dns-update-failed");
        assert!(text.contains("takes no dynamic updates, as NSD"), "{text}");
    }
}

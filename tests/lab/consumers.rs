//! Consumers other than an nginx with two files: each the real program, brought its certificate by the dialogue through
//! a real sshd, reloaded in its own way, and probed by a handshake.

#![allow(clippy::print_stdout, reason = "prints what is not run here")]

use crate::lab::plain_sshd as sshd;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certd::cert::{CertName, Chain, Pair, PrivateKey};
use certd::config::Install;
use certd::model::{Committed, ConfigTest, Prepared};
use certd::node::{Bundle, Dialogue};
use sshd::{Sshd, free_address};
use zeroize::Zeroizing;

const LIMIT: Duration = Duration::from_secs(60);
const SERVICE: &str = "newapi.example.com";

/// Of `unshare`.
const OWN_MOUNTS: [&str; 3] = ["--mount", "--propagation", "private"];

/// A folder, an address to serve at, and the server once it runs.
struct Consumer {
    dir: tempfile::TempDir,
    at: SocketAddr,
    child: Option<Child>,
    install: Install,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // As its user would end it, so that workers end too.
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        for _ in 0..250 {
            if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Consumer {
    /// With the pair alone, in `ssl/`.
    fn new(test: &str, reload: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("ssl")).unwrap();
        let file = |name: &str| dir.path().join("ssl").join(name).display().to_string();
        let words = |text: &str| vec!["sh".into(), "-c".into(), format!("cd {} && {text}", dir.path().display())];
        let install = Install {
            fullchain: file("fullchain.pem"),
            key: file("privkey.pem"),
            chain: None,
            combined: None,
            in_place: false,
            chain_first: false,
            forms: certd::config::Forms::default(),
            restart: false,
            server: None,
            rights: Default::default(),
            test: words(test),
            reload: words(reload),
        };
        Self { install, at: free_address(), child: None, dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&mut self, command: &mut Command) {
        let log = fs::File::create(self.file("log")).unwrap();
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        fs::write(self.file("pid"), child.id().to_string()).unwrap();
        self.child = Some(child);
        self.until("it listens", |consumer| TcpStream::connect(consumer.at).is_ok());
    }

    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..1500 {
            if done(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("never: {what}\n{}", fs::read_to_string(self.file("log")).unwrap_or_default());
    }

    /// The leaf that it presents, PEM.
    fn served(&self) -> Option<String> {
        let output = Command::new("timeout")
            .args(["10", "openssl", "s_client", "-connect", &self.at.to_string(), "-servername", SERVICE])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
        let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
        Some(format!("-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n"))
    }

    fn serves(&self, bundle: &Bundle) -> bool {
        self.served() == Some(bundle.pair.chain().leaf_pem())
    }

    fn bundle(&self, second: u32) -> Bundle {
        Bundle {
            certificate: CertName::parse(SERVICE).unwrap(),
            generation: format!("202611230615{second:02}-04c3").parse().unwrap(),
            pair: Arc::new(pair()),
            install: Arc::new(self.install.clone()),
            older: false,
        }
    }

    /// A whole delivery that must end well.
    async fn deliver(&self, sshd: &Sshd, bundle: &Bundle) -> Prepared {
        let (mut dialogue, prepared) = Dialogue::open(sshd.endpoint(), vec![bundle.clone()], LIMIT).await.unwrap();
        assert_eq!(dialogue.commit().await.unwrap(), Committed::Committed, "{prepared:?}");
        dialogue.done().await;
        prepared
    }

    /// Another certificate, loaded and served; twice, so that it also follows what certd itself has made.
    async fn renew(&self, sshd: &Sshd) {
        for second in 1..=2 {
            let next = self.bundle(second);
            assert!(!self.serves(&next));
            self.deliver(sshd, &next).await;
            self.until("it serves what was delivered", |consumer| consumer.serves(&next));
        }
    }
}

/// A leaf and its issuer.
fn pair() -> Pair {
    let mut params = rcgen::CertificateParams::new(vec!["ca.example".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "issuer");
    let signer = rcgen::KeyPair::generate().unwrap();
    // An intermediate: a root would be left out.
    let root_key = rcgen::KeyPair::generate().unwrap();
    let mut root = rcgen::CertificateParams::new(vec!["root.example".to_owned()]).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let intermediate = params.signed_by(&signer, &rcgen::Issuer::new(root, root_key)).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![SERVICE.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(params, signer)).unwrap();
    let chain = Chain::parse(&(leaf.pem() + &intermediate.pem())).unwrap();
    Pair::new(chain, PrivateKey::parse(Zeroizing::new(key.serialize_pem())).unwrap()).unwrap()
}

#[tokio::test]
async fn haproxy_reads_key_and_chain_from_one_file_and_is_told_by_a_signal() {
    let sshd = Sshd::start(None);
    let mut haproxy = Consumer::new("haproxy -c -f cfg", "[ ! -e pid ] || kill -USR2 $(cat pid)");
    haproxy.install.combined = Some(haproxy.file("ssl/combined.pem").display().to_string());
    let config = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         frontend web\n  bind {} ssl crt {}\n  http-request return status 200\n",
        haproxy.at,
        haproxy.file("ssl/combined.pem").display()
    );
    fs::write(haproxy.file("cfg"), config).unwrap();
    let first = haproxy.bundle(0);
    haproxy.deliver(&sshd, &first).await;
    haproxy.start(Command::new("haproxy").args(["-W", "-db", "-f", "cfg"]));
    assert!(haproxy.serves(&first));
    haproxy.renew(&sshd).await;
}

#[tokio::test]
async fn caddy_reads_the_pair_and_is_told_over_its_admin_interface() {
    let sshd = Sshd::start(None);
    let admin = free_address();
    let mut caddy = Consumer::new(
        "HOME=$PWD caddy validate --config Caddyfile",
        // Without --force Caddy sees the same configuration and does not read the files again.
        "[ ! -e pid ] || HOME=$PWD caddy reload --force --config Caddyfile",
    );
    let config = format!(
        "{{\n  admin {admin}\n  auto_https off\n  storage file_system {}\n}}\n\
         https://{SERVICE}:{} {{\n  bind {}\n  tls {} {}\n  respond ok\n}}\n",
        caddy.file("data").display(),
        caddy.at.port(),
        caddy.at.ip(),
        caddy.install.fullchain,
        caddy.install.key,
    );
    fs::write(caddy.file("Caddyfile"), config).unwrap();
    let first = caddy.bundle(0);
    caddy.deliver(&sshd, &first).await;
    let home = caddy.dir.path().to_owned();
    caddy.start(Command::new("caddy").args(["run", "--config", "Caddyfile"]).env("HOME", home));
    assert!(caddy.serves(&first));
    caddy.renew(&sshd).await;
}

/// An nginx that sees `ssl` (the folder, or each file in it) mounted into its own namespace. `None`: not to be had here.
async fn contained(sshd: &Sshd, in_place: bool) -> Option<Consumer> {
    let mounts = Command::new("unshare").args(OWN_MOUNTS).args(["sh", "-c", "mount -t tmpfs x /mnt"]).status();
    if !mounts.is_ok_and(|status| status.success()) {
        println!("not run: a mount namespace is not to be had");
        return None;
    }
    let inside = "nsenter -t $(cat pid) -m";
    let mut nginx = Consumer::new(
        &format!("{{ [ ! -e pid ] || {inside} nginx -p $PWD -c $PWD/conf -e stderr -t; }}"),
        "{ [ ! -e pid ] || kill -HUP $(cat pid); }",
    );
    nginx.install.in_place = in_place;
    fs::create_dir(nginx.file("inside")).unwrap();
    let dir = nginx.dir.path().display();
    let config = format!(
        "daemon off; worker_processes 1; user root; pid {dir}/nginx.pid; error_log stderr; events {{}}\n\
         http {{ access_log off; client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;\n\
         uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;\n\
         server {{ listen {} ssl; ssl_certificate {dir}/inside/fullchain.pem; ssl_certificate_key {dir}/inside/privkey.pem;\n\
         return 200; }} }}\n",
        nginx.at
    );
    fs::write(nginx.file("conf"), config).unwrap();
    nginx.deliver(sshd, &nginx.bundle(0)).await;
    let mount = if in_place {
        fs::write(nginx.file("inside/fullchain.pem"), "").unwrap();
        fs::write(nginx.file("inside/privkey.pem"), "").unwrap();
        "for f in fullchain.pem privkey.pem; do mount --bind ssl/$f inside/$f || exit; done"
    } else {
        "mount --bind ssl inside"
    };
    let script = format!("{mount} && exec nginx -p $PWD -c $PWD/conf -e stderr");
    nginx.start(Command::new("unshare").args(OWN_MOUNTS).args(["sh", "-c", &script]));
    Some(nginx)
}

#[tokio::test]
async fn a_container_with_the_folder_mounted_follows_the_links_and_is_told_by_a_signal() {
    let sshd = Sshd::start(None);
    let Some(nginx) = contained(&sshd, false).await else { return };
    nginx.renew(&sshd).await;
}

#[tokio::test]
async fn a_container_with_the_files_mounted_sees_what_is_written_in_place() {
    let sshd = Sshd::start(None);
    let Some(nginx) = contained(&sshd, true).await else { return };
    nginx.renew(&sshd).await;
    // With links it would not: the mounts keep the inodes that they were made of.
    let mut bundle = nginx.bundle(3);
    bundle.install = Arc::new(Install { in_place: false, ..nginx.install.clone() });
    nginx.deliver(&sshd, &bundle).await;
    assert!(!nginx.serves(&bundle));
}

/// Chain and key in two folders of one volume, which a container sees at another path, and does not see at the host's. What
/// the container calls the key's folder decides whether it can follow a relative link.
async fn volume(sshd: &Sshd, keys: &str) -> Option<(Consumer, Result<Committed, String>)> {
    let script = "mkdir -p vol/certs vol/private inside/certs inside/$0 && mount --bind vol/certs inside/certs && \
                  mount --bind vol/private inside/$0 && mount -t tmpfs x vol && exec nginx -p $PWD -c $PWD/conf -e stderr";
    let mounts = Command::new("unshare").args(OWN_MOUNTS).args(["sh", "-c", "mount -t tmpfs x /mnt"]).status();
    if !mounts.is_ok_and(|status| status.success()) {
        println!("not run: a mount namespace is not to be had");
        return None;
    }
    let test = "nsenter -t $(cat pid) -m nginx -p $PWD -c $PWD/conf -e stderr -t";
    let mut nginx = Consumer::new(test, "kill -HUP $(cat pid)");
    for folder in ["certs", "private"] {
        fs::create_dir_all(nginx.file("vol").join(folder)).unwrap();
    }
    nginx.install.fullchain = nginx.file("vol/certs/site.pem").display().to_string();
    nginx.install.key = nginx.file("vol/private/site.key").display().to_string();
    let found = nginx.bundle(0);
    fs::write(&nginx.install.fullchain, found.pair.chain().pem()).unwrap();
    fs::write(&nginx.install.key, found.pair.key().pem()).unwrap();
    let dir = nginx.dir.path().display();
    let config = format!(
        "daemon off; worker_processes 1; user root; pid {dir}/nginx.pid; error_log stderr; events {{}}\n\
         http {{ access_log off; client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;\n\
         uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;\n\
         server {{ listen {} ssl; ssl_certificate {dir}/inside/certs/site.pem; ssl_certificate_key {dir}/inside/{keys}/site.key;\n\
         return 200; }} }}\n",
        nginx.at
    );
    fs::write(nginx.file("conf"), config).unwrap();
    nginx.start(Command::new("unshare").args(OWN_MOUNTS).args(["sh", "-c", script, keys]));
    assert!(nginx.serves(&found));
    let (mut dialogue, prepared) =
        Dialogue::open(sshd.endpoint(), vec![nginx.bundle(1)], LIMIT).await.map_err(|error| error.to_string()).unwrap();
    assert_eq!(prepared.test, ConfigTest::Ok);
    let committed = dialogue.commit().await.map_err(|error| error.to_string());
    dialogue.done().await;
    Some((nginx, committed))
}

#[tokio::test]
async fn a_container_that_sees_two_folders_of_a_volume_under_another_path_follows_the_links() {
    let sshd = Sshd::start(None);
    let Some((nginx, committed)) = volume(&sshd, "private").await else { return };
    assert_eq!(committed, Ok(Committed::Committed));
    nginx.renew(&sshd).await;
    // As often as anybody looks while deliveries go on: its own test passes.
    let watched = Arc::new(AtomicBool::new(true));
    let (test, watching) = (nginx.install.test.clone(), Arc::clone(&watched));
    let files = [nginx.install.fullchain.clone(), nginx.install.key.clone()];
    let generations = move || files.each_ref().map(|file| fs::canonicalize(file).unwrap());
    let watcher = std::thread::spawn(move || {
        let mut looks = 0;
        while watching.load(Ordering::Relaxed) {
            let before = generations();
            let output = Command::new(&test[0]).args(&test[1..]).output().unwrap();
            // nginx opens the chain and then the key: no switch is atomic for a look that it falls into.
            if generations() == before {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                looks += 1;
            }
        }
        looks
    });
    for second in 3..6 {
        nginx.deliver(&sshd, &nginx.bundle(second)).await;
    }
    watched.store(false, Ordering::Relaxed);
    assert!(watcher.join().unwrap() > 3);
}

#[tokio::test]
async fn a_container_that_cannot_follow_the_links_keeps_its_plain_files_and_the_report_says_what_to_mount() {
    let sshd = Sshd::start(None);
    let Some((nginx, refused)) = volume(&sshd, "own/keys").await else { return };
    let refused = refused.unwrap_err();
    assert!(refused.contains("does not follow a link at") && refused.contains("site.key"), "{refused}");
    assert!(!PathBuf::from(&nginx.install.key).is_symlink());
    // The program tidies up after its answer.
    let gone = || !nginx.file("vol/certs/.certd").exists();
    for _ in 0..500 {
        if !gone() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(gone());
    let test = Command::new(&nginx.install.test[0]).args(&nginx.install.test[1..]).status();
    assert!(test.unwrap().success(), "it can be started again");
}

/// An nginx whose master is not root.
#[tokio::test]
async fn n07_a_key_that_the_servers_own_account_may_read_stays_so_and_one_that_it_may_not_is_told() {
    let sshd = Sshd::start(None);
    let as_nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let nginx = Consumer::new(&format!("{as_nobody} nginx -p $PWD -c $PWD/conf -e stderr -t"), "true");
    let dir = nginx.dir.path().display();
    let config = format!(
        "pid {dir}/run/nginx.pid; error_log stderr; events {{}}\nhttp {{ access_log off; client_body_temp_path {dir}/run/t1;\n\
         proxy_temp_path {dir}/run/t2; fastcgi_temp_path {dir}/run/t3; uwsgi_temp_path {dir}/run/t4; scgi_temp_path {dir}/run/t5;\n\
         server {{ listen {} ssl; ssl_certificate {}; ssl_certificate_key {}; }} }}\n",
        nginx.at, nginx.install.fullchain, nginx.install.key
    );
    fs::write(nginx.file("conf"), config).unwrap();
    fs::create_dir(nginx.file("run")).unwrap();
    std::os::unix::fs::chown(nginx.file("run"), Some(65534), Some(65534)).unwrap();
    Command::new("chmod").arg("755").arg(nginx.dir.path()).status().unwrap();
    let (mut dialogue, _) = Dialogue::open(sshd.endpoint(), vec![nginx.bundle(0)], LIMIT).await.unwrap();
    let Committed::BrokenBefore { output } = dialogue.commit().await.unwrap() else { panic!("nobody may read it") };
    assert!(output.contains("privkey.pem") && output.contains("Permission denied"), "{output}");
    dialogue.done().await;
    // What the operator does then, holds for every renewal.
    std::os::unix::fs::chown(&nginx.install.key, Some(0), Some(65534)).unwrap();
    Command::new("chmod").arg("640").arg(&nginx.install.key).status().unwrap();
    for second in 1..=2 {
        nginx.deliver(&sshd, &nginx.bundle(second)).await;
    }
}

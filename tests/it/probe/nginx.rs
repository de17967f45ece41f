//! nginx, as the nodes run it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};
use std::time::Duration;

use certd::cert::{Fingerprint, KeyAlgorithm, KeyType, Pair};
use certd::model::ProbeError;
use certd::probe::{Asked, Beside, Keys, Verified, handshake, look, look_for_h3, verify};

use super::{LONG, SOON, leaf, pair, sni};

pub(crate) struct Nginx {
    folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    master: Child,
}

impl Nginx {
    /// `servers`: the blocks of its configuration, where `LISTEN` and `PAIR` stand for what each of them needs.
    pub(crate) async fn start(pair: &Pair, servers: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_pair(folder.path(), pair);
        // Free a moment ago; nginx is asked for nothing that another test could mind.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let path = folder.path().display().to_string();
        let servers = servers
            .replace("LISTEN", &format!("listen {address} ssl"))
            .replace("PAIR", &format!("ssl_certificate {path}/fullchain.pem; ssl_certificate_key {path}/privkey.pem"));
        let configuration = format!(
            "daemon off; user root; worker_processes 2; pid {path}/pid; error_log {path}/error.log;\n\
             events {{ worker_connections 64; }}\nhttp {{ access_log off; client_body_temp_path {path}/body;\n\
             proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi;\n\
             scgi_temp_path {path}/scgi;\n{servers}\n}}\n"
        );
        fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
        let master = Command::new("nginx").args(["-p", &path, "-e", "stderr", "-c", "nginx.conf"]).spawn();
        let nginx = Self { folder, address, master: master.expect("nginx is installed") };
        while handshake(nginx.address, &sni(), LONG).await == Err(ProbeError::Refused) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        nginx
    }

    /// Another pair in the same folder, for a block that reads both.
    fn write_second(&self, pair: &Pair) {
        fs::write(self.folder.path().join("second.pem"), pair.chain().pem()).unwrap();
        fs::write(self.folder.path().join("second.key"), pair.key().pem()).unwrap();
    }

    fn reload_with(&self, pair: &Pair) {
        write_pair(self.folder.path(), pair);
        self.signal("HUP");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.master.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // TERM: a master that is killed leaves its workers behind.
        let _ = Command::new("kill").arg(self.master.id().to_string()).status();
        let _ = self.master.wait();
    }
}

fn write_pair(folder: &std::path::Path, pair: &Pair) {
    fs::write(folder.join("fullchain.pem"), pair.chain().pem()).unwrap();
    fs::write(folder.join("privkey.pem"), pair.key().pem()).unwrap();
}

async fn served(nginx: &Nginx) -> Fingerprint {
    Fingerprint::of(&handshake(nginx.address, &sni(), LONG).await.unwrap()[0])
}

#[tokio::test]
async fn a_reload_in_progress_is_waited_for() {
    let (old, new) = (pair(KeyType::EcdsaP256), pair(KeyType::Rsa2048));
    let nginx = Nginx::start(&old, "server { LISTEN; PAIR; }").await;
    assert_eq!(served(&nginx).await, leaf(&old));
    // Asked before, during and after the reload: the first answer is the old one.
    let name = sni();
    let (verified, ()) = tokio::join!(verify(nginx.address, &name, leaf(&new), LONG), async {
        assert_eq!(served(&nginx).await, leaf(&old));
        nginx.reload_with(&new);
    });
    assert!(matches!(verified, Verified::Expected(_)), "{verified:?}");
    assert_eq!(served(&nginx).await, leaf(&new));
}

#[tokio::test]
async fn n04_a_reload_that_failed_in_silence_is_seen_by_its_old_leaf() {
    let (old, new) = (pair(KeyType::EcdsaP256), pair(KeyType::EcdsaP256));
    let nginx = Nginx::start(&old, "server { LISTEN; PAIR; }").await;
    fs::write(nginx.folder.path().join("fullchain.pem"), new.chain().pem()).unwrap();
    nginx.signal("HUP");
    let verified = verify(nginx.address, &sni(), leaf(&new), SOON * 3).await;
    assert!(matches!(&verified, Verified::Other(chain) if chain == old.chain().ders()), "{verified:?}");
}

#[tokio::test]
async fn a_name_that_no_block_serves_shows_the_default_certificate_or_no_tls() {
    let default = pair(KeyType::EcdsaP256);
    let nginx = Nginx::start(&default, "server { LISTEN; server_name other.example; PAIR; }").await;
    assert_eq!(served(&nginx).await, leaf(&default));
    let strict = "server { LISTEN default_server; ssl_reject_handshake on; }\n\
                  server { LISTEN; server_name other.example; PAIR; }";
    let nginx = Nginx::start(&default, strict).await;
    let silence = handshake(nginx.address, &sni(), LONG).await.unwrap_err();
    assert!(matches!(&silence, ProbeError::Tls(why) if why.contains("UnrecognisedName")), "{silence}");
}

#[tokio::test]
async fn an_ecdsa_certificate_under_rsa_only_ciphers_is_no_tls() {
    let block = "server { LISTEN; PAIR; ssl_protocols TLSv1.2; ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256; }";
    let nginx = Nginx::start(&pair(KeyType::EcdsaP256), block).await;
    let silence = handshake(nginx.address, &sni(), LONG).await.unwrap_err();
    assert!(matches!(&silence, ProbeError::Tls(why) if why.contains("HandshakeFailure")), "{silence}");
    let rsa = pair(KeyType::Rsa2048);
    nginx.reload_with(&rsa);
    assert!(matches!(verify(nginx.address, &sni(), leaf(&rsa), LONG).await, Verified::Expected(_)));
}

/// A server block that old clients reach.
fn block(settings: &str) -> String {
    format!("server {{ LISTEN; PAIR; {settings} }}")
}

#[tokio::test]
async fn a_server_that_has_nothing_in_common_with_certd_is_distinguished_from_one_that_fails_for_everybody() {
    let rsa = pair(KeyType::Rsa2048);
    for (settings, takes) in [
        ("ssl_protocols TLSv1.2; ssl_ciphers AES256-GCM-SHA384:AES128-GCM-SHA256;", "TLS 1.2 with RSA key exchange"),
        ("ssl_protocols TLSv1.2; ssl_ciphers ECDHE-RSA-AES128-SHA;", "TLS 1.2 with ECDHE and CBC"),
        ("ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;", "TLS 1.1 with ECDHE and CBC"),
        ("ssl_protocols TLSv1.3; ssl_ecdh_curve secp521r1;", "TLS 1.3 with P-521"),
    ] {
        let nginx = Nginx::start(&rsa, &block(settings)).await;
        let silence = handshake(nginx.address, &sni(), LONG).await.unwrap_err();
        let ProbeError::NothingInCommon(why) = &silence else { panic!("{settings}: {silence}") };
        assert!(why.contains(&format!("the server takes {takes}")) && why.contains("certd offers TLS 1.3"), "{why}");
    }
    // No client gets through: the key of the certificate fits none of the suites.
    let nginx = Nginx::start(&pair(KeyType::EcdsaP256), &block("ssl_protocols TLSv1.2; ssl_ciphers aRSA;")).await;
    assert!(matches!(handshake(nginx.address, &sni(), LONG).await, Err(ProbeError::Tls(_))));
    // TLS 1.2 names its curve only after the ServerHello, so that nothing is known here either.
    let curve = "ssl_protocols TLSv1.2; ssl_ecdh_curve secp521r1; ssl_ciphers ECDHE+AESGCM;";
    let nginx = Nginx::start(&rsa, &block(curve)).await;
    assert!(matches!(handshake(nginx.address, &sni(), LONG).await, Err(ProbeError::Tls(_))));
}

/// nginx with an ECDSA and an RSA pair, in TLS 1.2 or 1.3 alone.
async fn with_both(ecdsa: &Pair, rsa: &Pair, protocol: &str) -> Nginx {
    let one = format!("server {{ LISTEN; PAIR; ssl_protocols {protocol}; }}");
    let nginx = Nginx::start(ecdsa, &one).await;
    nginx.write_second(rsa);
    let path = nginx.folder.path().join("nginx.conf");
    let text = fs::read_to_string(&path).unwrap();
    let second = "ssl_certificate second.pem; ssl_certificate_key second.key; ssl_protocols";
    fs::write(&path, text.replace("ssl_protocols", second)).unwrap();
    nginx.signal("HUP");
    nginx
}

#[tokio::test]
async fn each_of_two_pairs_is_proven_by_a_handshake_that_offers_its_own_algorithm_alone() {
    let (ecdsa, rsa) = (pair(KeyType::EcdsaP256), pair(KeyType::Rsa2048));
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let nginx = with_both(&ecdsa, &rsa, protocol).await;
        for (pair, algorithm) in [(&ecdsa, KeyAlgorithm::Ecdsa), (&rsa, KeyAlgorithm::Rsa)] {
            let name = sni();
            for keys in [Keys::Only(algorithm), Keys::Prefer(algorithm)] {
                let verified = verify(nginx.address, Asked { sni: &name, keys }, leaf(pair), LONG).await;
                assert!(matches!(verified, Verified::Expected(_)), "{protocol}, {keys:?}: {verified:?}");
            }
        }
        assert_eq!(served(&nginx).await, leaf(&ecdsa), "which a client that takes both prefers");
    }
}

#[tokio::test]
async fn a_look_shows_what_the_server_has_beside_the_pair_that_is_asked_for() {
    let (ecdsa, rsa) = (pair(KeyType::EcdsaP256), pair(KeyType::Rsa2048));
    let nginx = with_both(&ecdsa, &rsa, "TLSv1.3").await;
    let name = sni();
    // The reload may not have begun.
    let both = Asked { sni: &name, keys: Keys::Only(KeyAlgorithm::Rsa) };
    assert!(matches!(verify(nginx.address, both, leaf(&rsa), LONG).await, Verified::Expected(_)));
    let look = async |keys| look(nginx.address, Asked { sni: &name, keys }, LONG).await;
    let of = |pair: &Pair| pair.chain().ders().to_vec();
    let beside = |algorithm, pair, preferred| Some(Beside { algorithm, chain: of(pair), preferred });
    let ecdsa_first = (Ok(of(&ecdsa)), beside(KeyAlgorithm::Rsa, &rsa, false));
    assert_eq!(look(Keys::Both(KeyAlgorithm::Ecdsa)).await, ecdsa_first);
    let rsa_first = (Ok(of(&rsa)), beside(KeyAlgorithm::Ecdsa, &ecdsa, true));
    for keys in [Keys::Both(KeyAlgorithm::Rsa), Keys::Prefer(KeyAlgorithm::Rsa)] {
        assert_eq!(look(keys).await, rsa_first, "{keys:?}");
    }
    assert_eq!(look(Keys::Only(KeyAlgorithm::Rsa)).await, (Ok(of(&rsa)), None));
    assert_eq!(look(Keys::Prefer(KeyAlgorithm::Ecdsa)).await, (Ok(of(&ecdsa)), None), "with one handshake");
    // The same beside a question for HTTP/3, which has handshakes of its own.
    for (keys, shown) in [(Keys::Both(KeyAlgorithm::Ecdsa), ecdsa_first), (Keys::Prefer(KeyAlgorithm::Rsa), rsa_first)]
    {
        let offer = look_for_h3(nginx.address, None, Asked { sni: &name, keys }, LONG).await;
        assert_eq!((offer.chain, offer.beside), shown, "{keys:?}");
    }
    let offer = look_for_h3(nginx.address, None, Asked { sni: &name, keys: Keys::Only(KeyAlgorithm::Rsa) }, LONG).await;
    assert_eq!((offer.chain, offer.beside), (Ok(of(&rsa)), None));
}

#[tokio::test]
async fn a_server_without_a_pair_of_the_algorithm_is_told_from_one_without_tls() {
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let ecdsa = pair(KeyType::EcdsaP256);
        let nginx = Nginx::start(&ecdsa, &format!("server {{ LISTEN; PAIR; ssl_protocols {protocol}; }}")).await;
        let name = sni();
        let look = async |keys| look(nginx.address, Asked { sni: &name, keys }, LONG).await;
        let none = Err(ProbeError::NoSuchKey(KeyAlgorithm::Rsa));
        assert_eq!(look(Keys::Only(KeyAlgorithm::Rsa)).await, (none.clone(), None), "{protocol}");
        let shown = (Ok(ecdsa.chain().ders().to_vec()), None);
        assert_eq!(look(Keys::Prefer(KeyAlgorithm::Rsa)).await, shown, "one that is to be replaced is shown");
        assert_eq!(look(Keys::Both(KeyAlgorithm::Ecdsa)).await, shown, "and nothing is beside it");
        let asked = Asked { sni: &name, keys: Keys::Only(KeyAlgorithm::Rsa) };
        assert_eq!(look_for_h3(nginx.address, None, asked, LONG).await.chain, none, "{protocol}");
    }
    let refuses = "server { LISTEN default_server; ssl_reject_handshake on; }";
    let nginx = Nginx::start(&pair(KeyType::EcdsaP256), refuses).await;
    let asked = sni();
    let asked = Asked { sni: &asked, keys: Keys::Only(KeyAlgorithm::Rsa) };
    let (answer, _) = look(nginx.address, asked, LONG).await;
    assert!(matches!(&answer, Err(ProbeError::Tls(why)) if why.contains("UnrecognisedName")), "{answer:?}");
}

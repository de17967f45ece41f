//! Handshakes with real servers: rustls servers that behave as configured, nginx, HAProxy and Caddy.

mod files;
mod nginx;
mod proxy;
mod quic;
mod server;
mod starttls;

use std::net::SocketAddr;
use std::time::Duration;

use certd::cert::{Chain, DnsName, Fingerprint, KeyType, Pair, PrivateKey};
use certd::model::ProbeError;
use certd::probe::{Verified, handshake, verify};
use tokio::net::TcpListener;

use server::{Then, serve};

const SOON: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(15);

fn sni() -> DnsName {
    DnsName::parse("a.example.com").unwrap()
}

/// A pair whose certificate signed itself: the probe judges no chain.
fn pair(key_type: KeyType) -> Pair {
    let key = PrivateKey::generate(key_type).unwrap();
    let params = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    let signed = params.self_signed(&rcgen::KeyPair::from_pem(key.pem()).unwrap()).unwrap();
    Pair::new(Chain::from_ders(vec![signed.der().to_vec()]).unwrap(), key).unwrap()
}

fn leaf(pair: &Pair) -> Fingerprint {
    pair.chain().leaf.fingerprint
}

#[tokio::test]
async fn the_chain_is_shown_as_it_is_served_whatever_it_is_worth() {
    for key_type in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048] {
        let pair = pair(key_type);
        let twice = [pair.chain().ders(), pair.chain().ders()].concat();
        let server = serve(vec![(twice.clone(), pair.key().clone(), Then::Wait)]).await;
        assert_eq!(handshake(server.address, &sni(), LONG).await.unwrap(), twice);
        assert_eq!(server.asked_for(), ["a.example.com"]);
    }
}

#[tokio::test]
async fn s22_a_certificate_without_its_key_is_no_tls() {
    let (shown, held) = (pair(KeyType::EcdsaP256), pair(KeyType::EcdsaP256));
    let server = serve(vec![(shown.chain().ders().to_vec(), held.key().clone(), Then::Wait)]).await;
    let silence = handshake(server.address, &sni(), LONG).await.unwrap_err();
    assert!(matches!(&silence, ProbeError::Tls(why) if why.contains("BadSignature")), "{silence}");
}

#[tokio::test]
async fn s01_a_refused_connection_says_so() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    assert_eq!(handshake(address, &sni(), LONG).await.unwrap_err(), ProbeError::Refused);
}

#[tokio::test]
async fn s02_a_server_that_never_answers_is_given_up_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = sni();
    let asked = handshake(listener.local_addr().unwrap(), &name, SOON);
    let silence = tokio::time::timeout(SOON * 3, asked).await.expect("the deadline holds for all of it");
    assert_eq!(silence.unwrap_err(), ProbeError::TimedOut);
}

#[tokio::test]
async fn what_is_no_tls_is_told_without_control_characters() {
    for (printed, why) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "plain HTTP"),
        (b"220 mail ESMTP\r\n", "set `starttls = \"smtp\"`"),
        (b"\x15\x03\x03\x00\x02\x02\x70", "UnrecognisedName"),
        (b"\x1b[2J\x1b[2J", "a protocol that certd does not know"),
        (b"", "closed the connection during the handshake"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { server::say(&listener, printed).await });
        let silence = handshake(address, &sni(), LONG).await.unwrap_err();
        let text = silence.to_string();
        assert!(silence.somebody_there() && text.contains(why) && !text.contains('\x1b'), "{text}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn one_connection_is_enough_when_the_expected_leaf_is_served() {
    let pair = pair(KeyType::EcdsaP256);
    let server = serve(vec![(pair.chain().ders().to_vec(), pair.key().clone(), Then::Close)]).await;
    assert!(matches!(verify(server.address, &sni(), leaf(&pair), LONG).await, Verified::Expected(_)));
    assert_eq!(server.asked_for().len(), 1);
}

#[tokio::test]
async fn n09_an_old_worker_is_waited_for_and_asked_again() {
    let (old, new) = (pair(KeyType::EcdsaP256), pair(KeyType::EcdsaP256));
    let served = |pair: &Pair, then| (pair.chain().ders().to_vec(), pair.key().clone(), then);
    for then in [Then::Close, Then::Wait] {
        let server = serve(vec![served(&old, then), served(&new, Then::Wait)]).await;
        assert!(matches!(verify(server.address, &sni(), leaf(&new), LONG).await, Verified::Expected(_)));
        assert_eq!(server.asked_for().len(), 2);
    }
}

#[tokio::test]
async fn n03_another_leaf_until_the_deadline_is_told_with_its_chain() {
    let (other, expected) = (pair(KeyType::EcdsaP256), pair(KeyType::EcdsaP256));
    for (then, most) in [(Then::Wait, 2), (Then::Close, 3)] {
        let server = serve(vec![(other.chain().ders().to_vec(), other.key().clone(), then)]).await;
        let verified = verify(server.address, &sni(), leaf(&expected), SOON * 2).await;
        assert!(matches!(&verified, Verified::Other(chain) if chain == other.chain().ders()), "{verified:?}");
        let asked = server.asked_for().len();
        assert!((2..=most).contains(&asked), "a server that ends every connection is not flooded: {asked}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_for_a_moment_is_asked_again() {
    let pair = pair(KeyType::EcdsaP256);
    let address: SocketAddr = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let name = sni();
    let (verified, _server) = tokio::join!(verify(address, &name, leaf(&pair), LONG), async {
        let asked = handshake(address, &name, LONG).await;
        assert_eq!(asked.unwrap_err(), ProbeError::Refused);
        server::serve_at(address, vec![(pair.chain().ders().to_vec(), pair.key().clone(), Then::Wait)]).await
    });
    assert!(matches!(verified, Verified::Expected(_)), "{verified:?}");
}

#[tokio::test]
async fn a_server_that_stays_silent_is_told_as_it_was_seen_last() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let expected = leaf(&pair(KeyType::EcdsaP256));
    let verified = verify(address, &sni(), expected, SOON).await;
    assert!(matches!(verified, Verified::Silent(ProbeError::Refused)), "{verified:?}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let verified = verify(listener.local_addr().unwrap(), &sni(), expected, SOON).await;
    assert!(matches!(verified, Verified::Silent(ProbeError::TimedOut)), "{verified:?}");
}

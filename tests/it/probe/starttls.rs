//! Dialogues that lead to a TLS handshake. `tests/soak/starttls.rs` has the real servers.

use std::net::SocketAddr;

use certd::cert::KeyType;
use certd::config::{ProxyProtocol, StartTls};
use certd::model::ProbeError;
use certd::probe::{Route, Verified, handshake, verify};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{LONG, leaf, pair, server, sni};

/// What the server waits for, and what it answers.
type Lines = &'static [(&'static [u8], &'static [u8])];

const SMTP: Lines = &[
    (b"", b"220 mail ESMTP\r\n"),
    (b"EHLO certd.invalid\r\n", b"250-mail\r\n250 STARTTLS\r\n"),
    (b"STARTTLS\r\n", b"220 go ahead\r\n"),
];

const BEHIND_PROXY: Lines = &[
    (b"PROXY UNKNOWN\r\n", b"220 mail ESMTP\r\n"),
    (b"EHLO certd.invalid\r\n", b"250-mail\r\n250 STARTTLS\r\n"),
    (b"STARTTLS\r\n", b"220 go ahead\r\n"),
];

fn route(address: SocketAddr, starttls: StartTls) -> Route {
    Route::Tcp { address, proxy_protocol: None, starttls: Some(starttls) }
}

/// A server that answers `lines` before it hands each connection over to a TLS server, and sends `extra` there.
async fn after(lines: Lines, behind: SocketAddr, extra: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                for (asked, answer) in lines {
                    let mut got = vec![0; asked.len()];
                    client.read_exact(&mut got).await?;
                    assert_eq!(got, *asked);
                    client.write_all(answer).await?;
                }
                if !extra.is_empty() {
                    // The client has begun its handshake, and read no more than the answer before.
                    client.read_exact(&mut [0; 5]).await?;
                    client.write_all(extra).await?;
                }
                let mut server = tokio::net::TcpStream::connect(behind).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

#[tokio::test]
async fn the_chain_behind_a_dialogue_is_shown_and_verified() {
    let pair = pair(KeyType::EcdsaP256);
    let tls = server::serve(vec![(pair.chain().ders().to_vec(), pair.key().clone(), server::Then::Wait)]).await;
    let dialogues: [(StartTls, Lines); 3] = [
        (StartTls::Smtp, SMTP),
        (StartTls::Postgres, &[(b"\0\0\0\x08\x04\xd2\x16\x2f", b"S")]),
        (StartTls::Nats, &[(b"", b"INFO {\"tls_required\":true}\r\n")]),
    ];
    for (protocol, lines) in dialogues {
        let address = after(lines, tls.address, b"").await;
        assert_eq!(handshake(route(address, protocol), &sni(), LONG).await.unwrap(), pair.chain().ders());
        let verified = verify(route(address, protocol), &sni(), leaf(&pair), LONG).await;
        assert!(matches!(verified, Verified::Expected(_)), "{verified:?}");
    }
    assert_eq!(tls.asked_for().len(), 6);
    // HAProxy in front of a mail server.
    let address = after(BEHIND_PROXY, tls.address, b"").await;
    let behind = Route::Tcp { address, proxy_protocol: Some(ProxyProtocol::V1), starttls: Some(StartTls::Smtp) };
    assert_eq!(handshake(behind, &sni(), LONG).await.unwrap(), pair.chain().ders());
}

#[tokio::test]
async fn plain_text_in_the_place_of_the_handshake_is_an_error() {
    let pair = pair(KeyType::EcdsaP256);
    let tls = server::serve(vec![(pair.chain().ders().to_vec(), pair.key().clone(), server::Then::Wait)]).await;
    let address = after(SMTP, tls.address, b"250 injected\r\n").await;
    let error = handshake(route(address, StartTls::Smtp), &sni(), LONG).await.unwrap_err();
    assert!(matches!(error, ProbeError::Tls(_)), "{error:?}");
}

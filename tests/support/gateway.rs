//! Proxies: HTTP with CONNECT (and with whole URLs, for plain HTTP), and SOCKS 5. Each tells what it was asked for.
//!
//! Names that end in `.invalid` are hosts of the lab behind the proxy; nobody else can resolve them.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::{Lab, free_ports};

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Http,
    Socks,
}

pub struct Gateway {
    pub at: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What a request's head may take.
const HEAD: usize = 16 * 1024;

impl Lab {
    pub fn gateway(&self, kind: Kind) -> Gateway {
        let [at] = free_ports(self.dns.at.ip());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (heard, hosts) = (Arc::clone(&asked), self.proxy.at.ip().to_string());
        let runtime = self.engine.handle();
        let listener = std::net::TcpListener::bind(at).expect("the port is free");
        listener.set_nonblocking(true).expect("a socket option can be set");
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("it does not block");
            while let Ok((client, _)) = listener.accept().await {
                let (heard, ca) = (Arc::clone(&heard), hosts.clone());
                tokio::spawn(async move {
                    match kind {
                        Kind::Http => http(client, &heard, &ca).await,
                        Kind::Socks => socks(client, &heard, &ca).await,
                    }
                });
            }
        });
        Gateway { at, asked }
    }
}

impl Gateway {
    /// `host:port` of each connection that was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no holder of this lock panics").clone()
    }
}

async fn reach(target: &str, asked: &Mutex<Vec<String>>, ca: &str) -> io::Result<TcpStream> {
    asked.lock().expect("no holder of this lock panics").push(target.to_string());
    let target = target.replace("doh.invalid", "127.0.0.1").replace("ca.invalid", ca);
    TcpStream::connect(target).await
}

async fn http(mut client: TcpStream, asked: &Mutex<Vec<String>>, ca: &str) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        head.push(client.read_u8().await?);
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_string();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method == "CONNECT" {
        let mut server = reach(target, asked, ca).await?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        return copy_bidirectional(&mut client, &mut server).await.map(drop);
    }
    let host = target.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let mut server = reach(host, asked, ca).await?;
    server.write_all(&head).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// RFC 1928, without authentication.
async fn socks(mut client: TcpStream, asked: &Mutex<Vec<String>>, ca: &str) -> io::Result<()> {
    let _version = client.read_u8().await?;
    let mut methods = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut methods).await?;
    client.write_all(&[5, 0]).await?;
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => {
            let mut ip = [0; 4];
            client.read_exact(&mut ip).await?;
            std::net::Ipv4Addr::from(ip).to_string()
        }
        _ => {
            let mut name = vec![0; usize::from(client.read_u8().await?)];
            client.read_exact(&mut name).await?;
            String::from_utf8_lossy(&name).into_owned()
        }
    };
    let port = client.read_u16().await?;
    let mut server = reach(&format!("{host}:{port}"), asked, ca).await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

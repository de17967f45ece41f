//! One query to one server: UDP; TCP when the answer is truncated, and beside UDP when no answer comes (some networks drop
//! one of them and pass the other). The sockets are our own so that we decide which message is an answer: it comes from
//! the address that was asked, to a port and an id that nobody else knows, and repeats the question (RFC 5452). Any other
//! message is ignored, and the wait goes on.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::pin::pin;
use core::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// For one round trip. The farthest name servers take a third of a second.
const UDP_LIMIT: Duration = Duration::from_secs(2);
/// For connecting, query and answer: two round trips, and one lost SYN.
const TCP_LIMIT: Duration = Duration::from_secs(3);
/// Three round trips to the farthest server: an answer that has not come by then was probably dropped.
const TCP_AFTER: Duration = Duration::from_secs(1);
/// The size that every path passes unfragmented (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;

#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) kind: RecordType,
    /// Set for a resolver; an authoritative server must answer from its own zones.
    pub(super) recursion: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueryError {
    #[error("no answer")]
    TimedOut,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("an answer that cannot be read")]
    Malformed,
    #[error("the answer is truncated")]
    Truncated,
    #[error("UDP: {udp}; TCP: {tcp}")]
    Neither { udp: Box<Self>, tcp: Box<Self> },
    /// A DoH server's HTTP error.
    #[error("{0}")]
    Http(String),
}

impl QueryError {
    /// The kernel has no route, as on a machine without IPv6.
    pub(super) fn is_no_route(&self) -> bool {
        use std::io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};
        matches!(self, Self::Io(error) if matches!(error.kind(), NetworkUnreachable | HostUnreachable | AddrNotAvailable))
    }
}

pub(super) async fn ask(server: SocketAddr, question: &Question) -> Result<Message, QueryError> {
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| std::io::Error::other("no randomness"))?;
    let id = u16::from_be_bytes(id);
    let request = encode(id, question)?;
    let mut udp = pin!(async {
        timeout(UDP_LIMIT, over_udp(server, &request, id, question)).await.map_err(|_| QueryError::TimedOut)?
    });
    let mut tcp = pin!(async {
        timeout(TCP_LIMIT, over_tcp(server, &request, id, question)).await.map_err(|_| QueryError::TimedOut)?
    });
    let (from_udp, from_tcp) = match timeout(TCP_AFTER, &mut udp).await {
        Ok(from_udp) if is_final(&from_udp) => return from_udp,
        Ok(from_udp) => (from_udp, tcp.await),
        Err(_) => tokio::select! {
            from_udp = &mut udp => {
                if is_final(&from_udp) {
                    return from_udp;
                }
                (from_udp, tcp.await)
            }
            from_tcp = &mut tcp => {
                if from_tcp.is_ok() {
                    return from_tcp;
                }
                (udp.await, from_tcp)
            }
        },
    };
    match (from_udp, from_tcp) {
        (_, Ok(answer)) => Ok(answer),
        (Ok(answer), Err(_)) if !answer.metadata.truncation => Ok(answer),
        (Ok(_), Err(tcp)) => Err(neither(QueryError::Truncated, tcp)),
        (Err(udp), Err(tcp)) => Err(neither(udp, tcp)),
    }
}

/// Whether TCP could not improve on this.
fn is_final(from_udp: &Result<Message, QueryError>) -> bool {
    match from_udp {
        Ok(answer) => !answer.metadata.truncation,
        Err(error) => error.is_no_route(),
    }
}

fn neither(udp: QueryError, tcp: QueryError) -> QueryError {
    if matches!((&udp, &tcp), (QueryError::TimedOut, QueryError::TimedOut)) {
        return QueryError::TimedOut;
    }
    QueryError::Neither { udp: Box::new(udp), tcp: Box::new(tcp) }
}

async fn over_udp(server: SocketAddr, request: &[u8], id: u16, question: &Question) -> Result<Message, QueryError> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A new socket for each query: the kernel draws a random port, and delivers datagrams of this server only.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(request).await?;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Ok(answer) = Message::from_vec(&buffer[..length])
            && answers(&answer, id, question)
        {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, request: &[u8], id: u16, question: &Question) -> Result<Message, QueryError> {
    let mut stream = TcpStream::connect(server).await?;
    // RFC 1035 section 4.2.2: "a two byte length field".
    let length = u16::try_from(request.len()).map_err(|_| QueryError::Malformed)?;
    stream.write_all(&[&length.to_be_bytes()[..], request].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_vec(&buffer).map_err(|_| QueryError::Malformed)?;
    if answers(&answer, id, question) { Ok(answer) } else { Err(QueryError::Malformed) }
}

pub(super) fn encode(id: u16, question: &Question) -> Result<Vec<u8>, QueryError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = question.recursion;
    message.add_query(Query::query(question.name.clone(), question.kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    message.set_edns(edns);
    message.to_vec().map_err(|_| QueryError::Malformed)
}

pub(super) fn answers(answer: &Message, id: u16, question: &Question) -> bool {
    let asked = |query: &Query| {
        query.name() == &question.name && query.query_type() == question.kind && query.query_class() == DNSClass::IN
    };
    answer.metadata.id == id
        && answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == OpCode::Query
        && answer.queries.len() == 1
        && answer.queries.iter().all(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        let name = Name::from_ascii("_acme-challenge.example.com.").unwrap();
        Question { name, kind: RecordType::TXT, recursion: false }
    }

    fn answer(id: u16, name: &str) -> Message {
        let mut answer = Message::new(id, MessageType::Response, OpCode::Query);
        answer.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::TXT));
        answer
    }

    /// A server that answers a query with each of these messages; the id of the query is added to each one's own.
    async fn server(forged: Vec<Message>) -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let id = Message::from_vec(&buffer[..length]).unwrap().metadata.id;
            for mut message in forged {
                message.metadata.id = message.metadata.id.wrapping_add(id);
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        });
        at
    }

    #[tokio::test]
    async fn d15_only_the_answer_to_our_own_question_counts() {
        let mut right = answer(0, "_ACME-challenge.Example.com.");
        right.metadata.authoritative = true;
        let forged = vec![answer(1, "_acme-challenge.example.com."), answer(0, "other.example.com."), right];
        assert!(ask(server(forged).await, &question()).await.unwrap().metadata.authoritative);
    }

    #[tokio::test]
    async fn d15_a_forgery_alone_is_no_answer() {
        let forged = vec![answer(1, "_acme-challenge.example.com.")];
        let error = ask(server(forged).await, &question()).await.unwrap_err();
        assert!(error.to_string().starts_with("UDP: no answer; TCP: Connection refused"), "{error}");
    }

    /// Answers any query over TCP, with authority.
    async fn stream_server(at: SocketAddr) {
        let listener = tokio::net::TcpListener::bind(at).await.unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut buffer = vec![0; usize::from(length)];
            stream.read_exact(&mut buffer).await.unwrap();
            let mut message = Message::from_vec(&buffer).unwrap();
            message.metadata.message_type = MessageType::Response;
            message.metadata.authoritative = true;
            let bytes = message.to_vec().unwrap();
            stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        });
    }

    #[tokio::test]
    async fn d11_a_truncated_answer_is_asked_for_again_over_tcp() {
        let mut cut = answer(0, "_acme-challenge.example.com.");
        cut.metadata.truncation = true;
        let at = server(vec![cut.clone()]).await;
        stream_server(at).await;
        assert!(ask(at, &question()).await.unwrap().metadata.authoritative);
        let error = ask(server(vec![cut]).await, &question()).await.unwrap_err();
        assert!(error.to_string().starts_with("UDP: the answer is truncated; TCP: "), "{error}");
    }

    #[tokio::test]
    async fn d12_where_udp_is_dropped_or_refused_tcp_answers() {
        let dropped = server(Vec::new()).await;
        let refused = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        for at in [dropped, refused] {
            stream_server(at).await;
            assert!(ask(at, &question()).await.unwrap().metadata.authoritative, "{at}");
        }
    }

    #[tokio::test]
    async fn d13_a_server_that_has_ipv6_alone_is_asked() {
        let at = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let listener = tokio::net::TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        drop(listener);
        stream_server(at).await;
        assert!(ask(at, &question()).await.unwrap().metadata.authoritative);
    }
}

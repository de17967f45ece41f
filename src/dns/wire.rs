//! One question to one server: UDP, and TCP when the answer is truncated. Own sockets, since what counts as an answer is
//! the point: from the address that was asked, to a port and an id that nobody else knows, to the question that was put
//! (RFC 5452). A message that is not that is passed over, and the wait goes on.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// For one datagram there and back. The farthest name servers are a third of a second away.
const UDP_LIMIT: Duration = Duration::from_secs(2);
const TCP_LIMIT: Duration = Duration::from_secs(5);
/// What fits every path unfragmented (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;

#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) kind: RecordType,
    /// Asked of a resolver; an authoritative server is asked for what it knows itself.
    pub(super) recursion: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    #[error("no answer")]
    TimedOut,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("an answer that cannot be read")]
    Malformed,
}

impl Silence {
    /// The kernel has no way there, as with IPv6 on a machine that has none.
    pub(super) fn is_no_route(&self) -> bool {
        use std::io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};
        matches!(self, Self::Io(error) if matches!(error.kind(), NetworkUnreachable | HostUnreachable | AddrNotAvailable))
    }
}

pub(super) async fn ask(server: SocketAddr, question: &Question) -> Result<Message, Silence> {
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| std::io::Error::other("no randomness"))?;
    let id = u16::from_be_bytes(id);
    let request = encode(id, question)?;
    let answer =
        timeout(UDP_LIMIT, over_udp(server, &request, id, question)).await.map_err(|_| Silence::TimedOut)??;
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    timeout(TCP_LIMIT, over_tcp(server, &request, id, question)).await.map_err(|_| Silence::TimedOut)?
}

async fn over_udp(server: SocketAddr, request: &[u8], id: u16, question: &Question) -> Result<Message, Silence> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A socket a question: the kernel draws the port, and passes on what comes from the server alone.
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

async fn over_tcp(server: SocketAddr, request: &[u8], id: u16, question: &Question) -> Result<Message, Silence> {
    let mut stream = TcpStream::connect(server).await?;
    // RFC 1035 section 4.2.2: "a two byte length field", and a message is no longer than that can say.
    let length = u16::try_from(request.len()).map_err(|_| Silence::Malformed)?;
    stream.write_all(&[&length.to_be_bytes()[..], request].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_vec(&buffer).map_err(|_| Silence::Malformed)?;
    if answers(&answer, id, question) { Ok(answer) } else { Err(Silence::Malformed) }
}

fn encode(id: u16, question: &Question) -> Result<Vec<u8>, Silence> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = question.recursion;
    message.add_query(Query::query(question.name.clone(), question.kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    message.set_edns(edns);
    message.to_vec().map_err(|_| Silence::Malformed)
}

fn answers(answer: &Message, id: u16, question: &Question) -> bool {
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

    /// A server that sends each of these to whoever asks; the id of the question is added to each one's own.
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
        assert!(matches!(ask(server(forged).await, &question()).await, Err(Silence::TimedOut)));
    }
}

//! Sends one signed message to the primary and verifies its answer.
//!
//! Only over TCP (RFC 2136 section 6.2): an off-path attacker cannot forge an answer, and the UPDATE for a certificate with
//! many names does not fit into a datagram.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::UpdateError;
use super::tsig::{Fault, Key};
use crate::config::Host;
use crate::dns::DnsError;
use crate::dns::resolvers::parse;
use crate::dns::wire::{self, Question};
use crate::text::escape;

/// For one address; a round trip to the farthest server takes a third of a second.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Of a primary that is known by its name alone.
const DNS_PORT: u16 = 53;
/// For the whole exchange. A primary checks, writes its journal and answers within a second.
const LIMIT: Duration = Duration::from_secs(15);

pub(super) struct Primary {
    host: Host,
    port: u16,
    key: Key,
    clock: fn() -> Timestamp,
}

/// The end of an UPDATE that was carried out, or whose prerequisites do not hold.
pub(super) enum Updated {
    Done,
    Unmet,
}

impl Primary {
    pub(super) fn new(host: Host, port: u16, key: Key, clock: fn() -> Timestamp) -> Self {
        Self { host, port, key, clock }
    }

    /// RFC 2136 section 2: the zone is in the question section, the changes are in the authority section.
    pub(super) async fn update(&self, zone: &str, changes: Vec<Record>) -> Result<(), UpdateError> {
        match self.update_if(zone, Vec::new(), changes).await? {
            Updated::Done => Ok(()),
            Updated::Unmet => Err(self.malformed("an answer about prerequisites that were not sent".to_owned())),
        }
    }

    /// The prerequisites are in the answer section.
    pub(super) async fn update_if(
        &self,
        zone: &str,
        prerequisites: Vec<Record>,
        changes: Vec<Record>,
    ) -> Result<Updated, UpdateError> {
        let malformed = |_: DnsError| self.malformed(format!("{} cannot be a zone", escape(zone, 260)));
        let mut message = Message::new(0, MessageType::Query, OpCode::Update);
        message.metadata.recursion_desired = false;
        message.add_query(Query::query(parse(zone).map_err(malformed)?, RecordType::SOA));
        message.add_answers(prerequisites);
        message.add_authorities(changes);
        let failed = match self.ask(message).await.map(|answer| answer.metadata.response_code) {
            Ok(ResponseCode::NoError) => return Ok(Updated::Done),
            Ok(ResponseCode::NXRRSet | ResponseCode::YXRRSet) => return Ok(Updated::Unmet),
            Ok(code) => self.refusal(code, zone),
            Err(error) => error,
        };
        Err(failed.with_primary(self.other_primary(zone)).await)
    }

    /// The zone's primary according to its SOA record, if its addresses are others than this server's: it may then be a
    /// secondary, which answers an UPDATE with whatever it likes. (The true primary may be hidden, so that this decides
    /// nothing.)
    async fn other_primary(&self, zone: &str) -> Option<String> {
        let look = async {
            let ours = self.addresses().await.ok()?;
            let name = parse(zone).ok()?;
            let question = Question { name: name.clone(), kind: RecordType::SOA, recursion: false };
            let answer = wire::ask(*ours.first()?, &question).await.ok()?;
            let primary = answer.answers.iter().find_map(|record| match &record.data {
                RData::SOA(soa) if record.name == name => Some(soa.mname.to_lowercase().to_ascii()),
                _ => None,
            })?;
            let host = primary.trim_end_matches('.');
            let theirs: Vec<_> = lookup_host((host, DNS_PORT)).await.ok()?.map(|at| at.ip()).collect();
            let elsewhere = !theirs.is_empty() && !ours.iter().any(|at| theirs.contains(&at.ip()));
            let shown = || theirs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            elsewhere.then(|| format!("{} ({})", escape(host, 260), shown()))
        };
        timeout(CONNECT_LIMIT, look).await.ok().flatten()
    }

    /// Returns a verified answer, whatever its code.
    pub(super) async fn ask(&self, mut message: Message) -> Result<Message, UpdateError> {
        let mut id = [0; 2];
        let randomness = |_| self.unreachable(io::Error::other("no randomness"));
        aws_lc_rs::rand::fill(&mut id).map_err(randomness)?;
        message.metadata.id = u16::from_be_bytes(id);
        let op_code = message.metadata.op_code;
        let subject = message.queries.first().map(|query| query.name().to_ascii()).unwrap_or_default();
        let malformed = |_| self.malformed("the message to it does not fit".to_owned());
        let mac = self.key.sign(&mut message, (self.clock)()).map_err(malformed)?;
        let request = message.to_vec().map_err(malformed)?;
        let bytes = match timeout(LIMIT, self.send(&request)).await {
            Ok(bytes) => bytes.map_err(|error| self.unreachable(error))?,
            Err(_) => return Err(UpdateError::Silent { server: self.name(), limit: LIMIT }),
        };
        let unreadable = || self.malformed("an answer that cannot be read".to_owned());
        let answer = Message::from_vec(&bytes).map_err(|_| unreadable())?;
        let metadata = &answer.metadata;
        let ours = metadata.id == message.metadata.id && metadata.op_code == op_code;
        if !ours || metadata.message_type != MessageType::Response || metadata.truncation {
            return Err(self.malformed("an answer to another message".to_owned()));
        }
        let (server, key, algorithm) = (self.name(), self.key.name(), self.key.algorithm());
        match self.key.verify(&bytes, &mac, (self.clock)()) {
            Ok(()) => Ok(answer),
            Err(Fault::UnknownKey) => Err(UpdateError::UnknownKey { server, key, algorithm }),
            Err(Fault::WrongSecret) => Err(UpdateError::WrongSecret { server, key, algorithm }),
            Err(Fault::Clock { seconds }) => Err(UpdateError::Clock { server, seconds }),
            // An unsigned refusal is reported as a refusal: a forged one could do no more harm than no answer.
            Err(Fault::Unproven(_)) if metadata.response_code != ResponseCode::NoError => {
                Err(self.unsigned_refusal(metadata.response_code, subject.trim_end_matches('.')))
            }
            Err(Fault::Unproven(why)) => Err(UpdateError::Unproven { server, key, why }),
        }
    }

    async fn send(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = self.connect().await?;
        // RFC 1035 section 4.2.2: "a two byte length field".
        let length = u16::try_from(request.len()).map_err(|_| io::Error::other("a message of more than 64 KiB"))?;
        stream.write_all(&[&length.to_be_bytes()[..], request].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    /// Connects to the first of the server's addresses that accepts.
    async fn connect(&self) -> io::Result<TcpStream> {
        let addresses = self.addresses().await?;
        let mut last = io::Error::other("its name has no address");
        for address in addresses {
            match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(match &self.host {
            Host::Ip(ip) => vec![SocketAddr::new(*ip, self.port)],
            Host::Name(name) => lookup_host((name.as_str(), self.port)).await?.collect(),
        })
    }

    /// What an answer says that is not signed, though the request was.
    fn unsigned_refusal(&self, code: ResponseCode, zone: &str) -> UpdateError {
        let code = match code {
            ResponseCode::Refused => "REFUSED",
            ResponseCode::NotAuth => "NOTAUTH",
            code => return self.refusal(code, zone),
        };
        let (key, algorithm) = (self.key.name(), self.key.algorithm());
        UpdateError::Unsigned { server: self.name(), zone: zone.to_owned(), key, algorithm, code, primary: None }
    }

    pub(super) fn refusal(&self, code: ResponseCode, zone: &str) -> UpdateError {
        let (server, zone) = (self.name(), zone.to_owned());
        let code = match code {
            ResponseCode::Refused => return UpdateError::Refused { server, zone, primary: None },
            ResponseCode::NotAuth => return UpdateError::NotPrimary { server, zone, primary: None },
            ResponseCode::NotZone => return self.out_of_zone("a name of this certificate", &zone),
            ResponseCode::FormErr => "FORMERR",
            ResponseCode::ServFail => "SERVFAIL",
            ResponseCode::NXDomain => "NXDOMAIN",
            ResponseCode::NotImp => "NOTIMP",
            _ => "another code",
        };
        UpdateError::Failed { server, zone, code, primary: None }
    }

    pub(super) fn out_of_zone(&self, name: &str, zone: &str) -> UpdateError {
        UpdateError::OutOfZone { server: self.name(), name: escape(name, 260), zone: zone.to_owned() }
    }

    pub(super) fn no_zone(&self, name: &str) -> UpdateError {
        UpdateError::NoZone { server: self.name(), name: escape(name, 260) }
    }

    pub(super) fn unread(&self, name: &Name, kind: RecordType, why: &'static str) -> UpdateError {
        let name = name.to_lowercase().to_ascii().trim_end_matches('.').to_owned();
        UpdateError::Unread { server: self.name(), name, kind: kind.to_string(), why }
    }

    pub(super) fn not_as_shown(&self, name: &str) -> UpdateError {
        UpdateError::NotAsShown { server: self.name(), name: escape(name, 260) }
    }

    fn unreachable(&self, source: io::Error) -> UpdateError {
        UpdateError::Unreachable { server: self.name(), source: Arc::new(source) }
    }

    fn malformed(&self, what: String) -> UpdateError {
        UpdateError::MalformedResponse { server: self.name(), what }
    }

    fn name(&self) -> String {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).to_string(),
            Host::Name(name) => format!("{name}:{}", self.port),
        }
    }
}

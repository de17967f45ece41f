//! The dialogue with a node over one SSH exec: prepare, commit or abort, done or rollback.
//!
//! A failure before `commit` means that nothing was changed; after it, that the state is unknown until it is read again.

mod answer;
mod bundle;
pub mod clean;
mod error;
mod frames;
pub mod homes;
mod look;
mod program;
pub mod receiver;
mod servers;
pub mod takeover;

use core::fmt::Write as _;
use core::time::Duration;

use tokio::time::timeout;
use zeroize::Zeroizing;

use self::answer::{Answered, Sent};
use self::frames::{Frame, Frames};
use crate::cert::{NodeName, PrivateKey};
use crate::model::{Committed, Prepared};
use crate::ssh::{Endpoint, Session, SshError, Tunnel};
use crate::text::{escape, redact};

pub use bundle::{Bundle, Expected};
pub use error::NodeError;
pub use look::{Wanted, look, look_as_root};
pub use program::{BOOTSTRAP, SEPARATOR, compact, sized};
pub use servers::web_servers;

/// Connecting and logging in, jump hosts included: a dozen round trips each. A node that sends 1 kB a second needs seven
/// seconds; one that needs longer is treated as unreachable.
const LOGIN: Duration = Duration::from_secs(30);
/// The node's own deadlines (lock 30 s, test 30 s, reload 30 s, undo 60 s) and ten seconds for the network.
const COMMIT: Duration = Duration::from_secs(160);
/// The most of a node's last output that is shown, bytes.
const SENTENCES: usize = 300;
/// For sending a line that gets no answer.
const FAREWELL: Duration = Duration::from_secs(5);

/// A prepared node. Dropping it ends the connection, which the node reads as "abort" before the commit, and after it as
/// "done".
#[derive(Debug)]
pub struct Dialogue {
    session: Session,
    frames: Frames,
    node: NodeName,
    /// Keys to redact from whatever is quoted of the node: its answers, its commands' output, its login shell's.
    keys: Vec<PrivateKey>,
    sent: Vec<Sent>,
}

impl Dialogue {
    /// Connects, checks the host key, logs in, sends program and bundles, and reads the answer. The node stages, and changes
    /// nothing that is served.
    ///
    /// # Errors
    /// Also when the node refuses the bundles. It has then removed what it staged.
    pub async fn open(
        endpoint: Endpoint,
        bundles: Vec<Bundle>,
        deadline: Duration,
    ) -> Result<(Self, Prepared), NodeError> {
        Self::prepare(endpoint, bundles, false, deadline).await
    }

    /// As [`Dialogue::open`], and then aborted. Nothing can be committed, so the certificate may be self-signed: the node
    /// judges everything but the issuer.
    ///
    /// # Errors
    /// As [`Dialogue::open`].
    pub async fn rehearse(endpoint: Endpoint, bundles: Vec<Bundle>, deadline: Duration) -> Result<Prepared, NodeError> {
        let (dialogue, prepared) = Self::prepare(endpoint, bundles, true, deadline).await?;
        dialogue.abort().await;
        Ok(prepared)
    }

    async fn prepare(
        endpoint: Endpoint,
        bundles: Vec<Bundle>,
        rehearsal: bool,
        deadline: Duration,
    ) -> Result<(Self, Prepared), NodeError> {
        let keys = bundles.iter().map(|bundle| bundle.pair.key().clone()).collect();
        let opening = |nonce: &str| bundle::opening(nonce, &bundles, rehearsal);
        let (mut dialogue, frame) = Self::begin(endpoint, BOOTSTRAP, opening, keys, deadline).await?;
        let sent = |Bundle { certificate, generation, older, .. }| Sent { certificate, generation, older };
        dialogue.sent = bundles.into_iter().map(sent).collect();
        let prepared = dialogue.answered(answer::prepared(&frame, &dialogue.sent))?;
        Ok((dialogue, prepared))
    }

    /// Up to the first answer; `opening`, of the nonce that it has to bear, is sent in one go.
    async fn begin(
        endpoint: Endpoint,
        command: &'static str,
        opening: impl FnOnce(&str) -> Zeroizing<Vec<u8>>,
        keys: Vec<PrivateKey>,
        deadline: Duration,
    ) -> Result<(Self, Frame), NodeError> {
        let node = endpoint.node.clone();
        let nonce = nonce(&node)?;
        let (session, frames) = (Session::start(endpoint, command)?, Frames::new(&nonce));
        let mut dialogue = Self { session, frames, node, keys, sent: Vec::new() };
        let login = LOGIN.min(deadline);
        let prepare = async {
            match timeout(login, dialogue.session.ready()).await {
                Ok(ready) => ready?,
                Err(_) => return Err(dialogue.session.overdue(login).into()),
            }
            dialogue.session.write(opening(&nonce)).await?;
            dialogue.hear().await
        };
        match timeout(deadline, prepare).await {
            Ok(frame) => frame.map(|frame| (dialogue, frame)),
            Err(_) => Err(dialogue.session.overdue(deadline).into()),
        }
    }

    /// Switch, test, reload; the node undoes its change by itself when that fails.
    ///
    /// # Errors
    /// A refusal means that nothing was changed; anything else, that the node must be looked at again.
    pub async fn commit(&mut self) -> Result<Committed, NodeError> {
        let frame = self.ask("commit\n").await?;
        self.answered(answer::committed(&frame, &self.sent))
    }

    /// Served and proven: the node may forget the way back. Not waited for.
    pub async fn done(self) {
        // A node that does not hear it keeps what it has, and ends by itself.
        let _ = timeout(FAREWELL, self.session.write(words("done\n"))).await;
    }

    /// Back to what was there before, test, reload. The inner error: why the node kept what it has.
    pub async fn rollback(mut self) -> Result<Result<(), String>, NodeError> {
        let frame = self.ask("rollback\n").await?;
        self.answered(answer::rolled_back(&frame, &self.sent))
    }

    /// The node removes what it staged.
    pub async fn abort(self) {
        let _ = timeout(FAREWELL, self.session.write(words("abort\n"))).await;
    }

    /// A connection to a port of `host`, as the node sees it, through the dialogue's own session. The dialogue goes on
    /// when it is dropped.
    pub async fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, SshError> {
        self.session.tunnel(host, port).await
    }

    async fn ask(&mut self, word: &str) -> Result<Frame, NodeError> {
        let asked = async {
            self.session.write(words(word)).await?;
            self.hear().await
        };
        match timeout(COMMIT, asked).await {
            Ok(frame) => frame,
            Err(_) => Err(self.session.overdue(COMMIT).into()),
        }
    }

    /// The one place where a node's words come in: they are without our keys from here on.
    async fn hear(&mut self) -> Result<Frame, NodeError> {
        loop {
            match self.frames.next() {
                Ok(Some(Frame { verb, body })) => {
                    return Ok(Frame { verb: self.redacted(&verb), body: self.redacted(&body) });
                }
                Ok(None) => {}
                Err(why) => return Err(NodeError::Garbled { node: self.node.clone(), why: why.to_string() }),
            }
            match self.session.read().await {
                Ok(bytes) => self.frames.push(&bytes),
                Err(error) => return Err(self.in_words(error).into()),
            }
        }
    }

    /// nologin prints its refusal on stdout. Longer output is not shown: it would be a login shell that echoes its input.
    fn in_words(&self, error: SshError) -> SshError {
        match error {
            SshError::Ended { node, status, signal, words } => {
                let unread = self.frames.unread();
                let words = if words.is_empty() && unread.len() <= SENTENCES {
                    escape(self.redacted(&String::from_utf8_lossy(unread)).trim_end(), SENTENCES)
                } else {
                    self.redacted(&words)
                };
                SshError::Ended { node, status, signal, words }
            }
            error => error,
        }
    }

    fn redacted(&self, text: &str) -> String {
        redact(text, self.keys.iter().map(PrivateKey::pem))
    }

    fn answered<T>(&self, answered: Answered<T>) -> Result<T, NodeError> {
        let node = self.node.clone();
        answered.map_err(|error| match error {
            Ok(refusal) => NodeError::Refused { node, refusal },
            Err(senseless) => NodeError::Garbled { node, why: senseless.to_string() },
        })
    }
}

fn words(text: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.as_bytes().to_vec())
}

/// Known to this dialogue alone: no start file of a login shell can say it by accident, nor by having seen another.
fn nonce(node: &NodeName) -> Result<String, NodeError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NodeError::Nonce { node: node.clone() })?;
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

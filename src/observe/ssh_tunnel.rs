//! Handshakes with nodes whose TLS port is not reachable from here (`probe.via = "ssh"`): sshd forwards them to the
//! node's loopback address.
//!
//! A failure of SSH proves nothing about what visitors get, since they do not connect through SSH.

use core::time::Duration;
use std::sync::{Arc, OnceLock};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::config::{Config, Node};
use crate::context::secrets::Secrets;
use crate::model::{Finding, ProbeError};
use crate::node::Dialogue;
use crate::observe::route::LOOPBACK;
use crate::observe::route::endpoint;
use crate::probe::{Opener, Stream};
use crate::ssh::{self, SshError, Tunnel};
use crate::text::escape;

/// Connecting, logging in, and one channel: twelve round trips and the node's own work.
const SESSION: Duration = Duration::from_secs(15);
/// Opening one channel of an open session: a round trip, after the handshake before it.
const CHANNEL: Duration = Duration::from_secs(5);
/// The longest error text that is shown, in characters.
const SHOWN: usize = 600;

/// Concurrent logins at a node. sshd drops connections at random while ten are unauthenticated (MaxStartups 10:30:100),
/// and a certificate may have a hundred names.
const LOGINS: usize = 4;

/// Gives the opener of streams to one port of the node's loopback address.
pub(crate) type PortOpener = Arc<dyn Fn(u16) -> Opener + Send + Sync>;

/// Opens each stream in its own SSH session. If a session fails, the streams waiting behind it fail too: a dead node
/// costs its deadline once, not for every name.
pub(crate) fn session_each(config: &Arc<Config>, secrets: &Arc<Secrets>, node: &Node) -> PortOpener {
    let (config, secrets) = (Arc::clone(config), Arc::clone(secrets));
    let name = node.name.clone();
    let (logins, failed) = (Arc::new(Semaphore::new(LOGINS)), Arc::new(OnceLock::<ProbeError>::new()));
    Arc::new(move |port| {
        let (config, secrets, name) = (Arc::clone(&config), Arc::clone(&secrets), name.clone());
        let (logins, failed) = (Arc::clone(&logins), Arc::clone(&failed));
        let open: Opener = Arc::new(move || {
            let (config, secrets, name) = (Arc::clone(&config), Arc::clone(&secrets), name.clone());
            let (logins, failed) = (Arc::clone(&logins), Arc::clone(&failed));
            Box::pin(async move {
                let _login = logins.acquire_owned().await;
                if let Some(silence) = failed.get() {
                    return Err(silence.clone());
                }
                // A port that sshd does not permit says nothing about the others.
                let mut of_port_alone = false;
                let opened = async {
                    let endpoint = endpoint(&config, &secrets, &name).await.map_err(|failure| no_login(&failure))?;
                    let tunnel = ssh::tunnel(endpoint, &LOOPBACK.to_string(), port).await;
                    of_port_alone = matches!(tunnel, Err(SshError::Forwarding { .. }));
                    tunnel.map_err(|error| silence(&error))
                };
                let opened = within(SESSION, opened).await;
                if let (Err(silence @ ProbeError::NoWay(_)), false) = (&opened, of_port_alone) {
                    failed.get_or_init(|| silence.clone());
                }
                boxed(opened)
            })
        });
        open
    })
}

type Asked = (u16, oneshot::Sender<Result<Tunnel, SshError>>);

/// Opens streams within the session of a dialogue, one after another.
pub(crate) struct TunnelServer {
    asked: mpsc::Receiver<Asked>,
}

/// The opener works while the server runs.
pub(crate) fn of_dialogue() -> (PortOpener, TunnelServer) {
    let (ask, asked) = mpsc::channel::<Asked>(1);
    let open: PortOpener = Arc::new(move |port| {
        let ask = ask.clone();
        let open: Opener = Arc::new(move || {
            let ask = ask.clone();
            Box::pin(async move {
                let opened = async {
                    let (reply, answer) = oneshot::channel();
                    // If the server is gone, the reply is dropped too, and the answer below fails.
                    let _ = ask.send((port, reply)).await;
                    match answer.await {
                        Ok(tunnel) => tunnel.map_err(|error| silence(&error)),
                        Err(_) => Err(ProbeError::NoWay("the session has ended".to_owned())),
                    }
                };
                boxed(within(CHANNEL, opened).await)
            })
        });
        open
    });
    (open, TunnelServer { asked })
}

impl TunnelServer {
    /// Serves until all openers are dropped.
    pub(crate) async fn serve(mut self, dialogue: &Dialogue) {
        while let Some((port, reply)) = self.asked.recv().await {
            if reply.is_closed() {
                continue;
            }
            // If the opener has stopped waiting, dropping the tunnel closes it.
            let _ = reply.send(dialogue.tunnel(&LOOPBACK.to_string(), port).await);
        }
    }
}

async fn within(
    limit: Duration,
    opened: impl Future<Output = Result<Tunnel, ProbeError>>,
) -> Result<Tunnel, ProbeError> {
    let late = || Err(ProbeError::NoWay(format!("not open after {} s", limit.as_secs())));
    timeout(limit, opened).await.unwrap_or_else(|_| late())
}

fn boxed(opened: Result<Tunnel, ProbeError>) -> Result<Box<dyn Stream>, ProbeError> {
    opened.map(|tunnel| Box::new(tunnel) as Box<dyn Stream>)
}

fn no_login(failure: &Finding) -> ProbeError {
    ProbeError::NoWay(escape(&failure.what, SHOWN))
}

/// If sshd cannot connect to the node's own port, the TLS server refuses connections; any other error is SSH's.
fn silence(error: &SshError) -> ProbeError {
    match error {
        SshError::FarSide { .. } => ProbeError::Refused,
        other => ProbeError::NoWay(escape(&format!("{other}; {}", other.next()), SHOWN)),
    }
}

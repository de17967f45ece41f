//! One node's session in a rollout: it prepares at once, and then carries out the machine's actions, one attempt each.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};

use crate::cert::{CertName, Fingerprint, Leaf, NodeName, Roots};
use crate::model::{Code, Committed, Refusal};
use crate::model::{Finding, Over, ProbeError, Seen, Served};
use crate::node::{Bundle, Dialogue, NodeError};
use crate::plan::fence;
use crate::plan::rollout::{self, Action, Event, Restored, Verdict};
use crate::probe::{self, Verified};
use crate::text::escape;

use crate::context::failure::of_node;
use crate::context::progress::{Event as Progress, Phase};
use crate::context::{Context, clock};
use crate::execute::deliver::{Held, SessionEvent};
use crate::observe::route::{ProbeTarget, endpoint};
use crate::observe::ssh_tunnel::{self, PortOpener};

/// Connecting, logging in, sending, and the node's configuration test (30 s there).
pub(crate) const PREPARE_DEADLINE: Duration = Duration::from_secs(90);
/// After a reload [old workers](crate::config::Install::has_old_workers) answer TCP for a moment, and no longer: nginx starts
/// the new ones 100 ms before it stops the old ones, and no event shows this to a client. A rollout waits for it, so that the next look does not find a stale
/// node. Over a slow link it has passed by then.
const OLD_WORKERS: Duration = Duration::from_millis(250);
/// For the new certificate over QUIC, once TCP has shown it: servers renew both at once, or QUIC not before they are restarted.
const QUIC_PATIENCE: Duration = Duration::from_secs(2);
/// For a pair that the server did not have before, once it shows another new one: two slow handshakes.
const ABSENT_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Session {
    pub(crate) context: Arc<Context>,
    pub(crate) node: NodeName,
    pub(crate) bundles: Vec<Bundle>,
    /// Those of a key algorithm of which the server had no pair before.
    pub(crate) absent: BTreeSet<CertName>,
    pub(crate) events: mpsc::UnboundedSender<SessionEvent>,
    pub(crate) fences: mpsc::UnboundedSender<Held>,
    pub(crate) ordered: mpsc::UnboundedReceiver<Action>,
}

impl Session {
    /// `permits` bounds the concurrent sessions; `None`: start at once.
    pub(crate) async fn run(mut self, permits: Option<Arc<Semaphore>>) {
        let permit = async {
            match permits {
                Some(permits) => permits.acquire_owned().await.ok(),
                None => None,
            }
        };
        let _permit = tokio::select! {
            permit = permit => permit,
            _ = self.ordered.recv() => return,
        };
        self.say(Event::Started(self.node.clone()), Vec::new());
        self.show(Phase::Preparing, "");
        let prepared = async {
            let endpoint = endpoint(&self.context.config, &self.context.secrets, &self.node).await.map_err(Ok)?;
            Dialogue::open(endpoint, self.bundles.clone(), PREPARE_DEADLINE).await.map_err(Err)
        };
        let opened = tokio::select! {
            opened = prepared => opened,
            _ = self.ordered.recv() => return,
        };
        match opened {
            Ok((dialogue, prepared)) => {
                self.bundles.iter().for_each(|bundle| self.note_held(&bundle.certificate, None));
                self.context.note_node_clock(&self.node, prepared.clock);
                self.context.note_narrowed_keys(&self.node, &prepared.narrowed);
                self.show(Phase::Prepared, "");
                self.say(Event::Prepared(self.node.clone(), prepared), Vec::new());
                self.act(dialogue).await;
            }
            Err(error) => {
                let failure = error.unwrap_or_else(|error| self.refused(error).1);
                self.show(Phase::Failed, &failure.what);
                self.say(Event::Failed(self.node.clone(), failure), Vec::new());
            }
        }
    }

    async fn act(mut self, mut dialogue: Dialogue) {
        let mut settled = None;
        while let Some(action) = self.ordered.recv().await {
            match action {
                Action::Commit(_) => {
                    if !self.commit(&mut dialogue).await {
                        return;
                    }
                    settled = self.has_old_workers().then(|| tokio::time::sleep(OLD_WORKERS));
                }
                Action::Verify(_) => self.verify(&dialogue).await,
                Action::Done(_) => {
                    dialogue.done().await;
                    if let Some(settled) = settled {
                        settled.await;
                    }
                    return;
                }
                Action::Abort(_) => return dialogue.abort().await,
                Action::Rollback(_) => return self.rollback(dialogue).await,
            }
        }
    }

    fn has_old_workers(&self) -> bool {
        self.bundles.iter().any(|bundle| bundle.install.has_old_workers())
    }

    /// Returns whether the dialogue goes on.
    async fn commit(&self, dialogue: &mut Dialogue) -> bool {
        self.show(Phase::Committing, "");
        let node = self.node.clone();
        match dialogue.commit().await {
            Ok(Committed::Committed) => self.say(Event::Committed(node, Committed::Committed), Vec::new()),
            Ok(undone) => {
                self.show(Phase::Failed, "not proven: see the report");
                let seen = self.through(dialogue, async |targets| self.look_at(targets).await).await;
                let undone = match undone {
                    Committed::Placed { output } if seen.iter().any(shows_a_certificate) => {
                        Committed::ReloadFails { output }
                    }
                    other => other,
                };
                self.say(Event::Committed(node, undone), seen);
            }
            Err(error) => {
                let (error, failure) = self.refused(error);
                self.show(Phase::Failed, &failure.what);
                let event = match error {
                    NodeError::Refused { .. } => Event::Failed(node, failure),
                    _ => Event::Lost(node, failure),
                };
                self.say(event, self.look().await);
                return false;
            }
        }
        true
    }

    async fn verify(&self, dialogue: &Dialogue) {
        self.show(Phase::Verifying, "");
        let seen = self.through(dialogue, async |targets| self.prove_all(targets).await).await;
        let verdict = self.verdict(&seen);
        match &verdict {
            Verdict::Expected => self.show(Phase::Served, ""),
            Verdict::Other { what } | Verdict::Lingers { what } | Verdict::Absent { what } => {
                self.show(Phase::Failed, what)
            }
            Verdict::Silent(silence) => self.show(Phase::Failed, &silence.to_string()),
        }
        self.say(Event::Verified(self.node.clone(), verdict), seen);
    }

    /// Pairs that the server did not have before come last: when it shows the others, it has been reloaded, and either has
    /// these too or does not read them.
    async fn prove_all(&self, targets: Vec<(ProbeTarget, Leaf)>) -> Vec<Served> {
        let is_absent = |(target, _): &(ProbeTarget, Leaf)| self.absent.contains(target.certificate());
        let (absent, others): (Vec<_>, Vec<_>) = targets.into_iter().partition(is_absent);
        let most = if others.is_empty() { Duration::MAX } else { ABSENT_PATIENCE };
        let prove = |(target, leaf): (ProbeTarget, Leaf), most: Duration| {
            let patience = target.served_within().min(most);
            prove(target, leaf.fingerprint, patience, self.context.roots.clone())
        };
        let mut seen = join_all(others.into_iter().map(|it| prove(it, Duration::MAX))).await;
        seen.extend(join_all(absent.into_iter().map(|it| prove(it, most))).await);
        seen.concat()
    }

    /// The worst of all handshakes: a server that is silent at one address is silent. A difference over QUIC alone
    /// comes last: TCP has proven that the server has the certificate and uses it, and browsers for which QUIC fails go
    /// on over TCP. A missing UDP answer does not count here: the report has it.
    fn verdict(&self, seen: &[Served]) -> Verdict {
        let (mut other, mut over_quic, mut absent, mut silent, mut proven) = (None, None, None, None, false);
        let mut not_asked = None;
        for served in seen {
            let what = match &served.seen {
                Seen::Silence(ProbeError::NoQuic) => continue,
                Seen::Silence(silence) if silence.is_of_this_machine() => {
                    not_asked = Some(silence.clone());
                    continue;
                }
                Seen::Silence(silence) if served.over == Over::Quic => silence.to_string(),
                Seen::Silence(why @ ProbeError::NoSuchKey(_)) => {
                    let at = served.address.map_or_else(String::new, |address| served.over.at(address));
                    let what = format!("{at}, {}: {why}", served.sni);
                    if self.absent.contains(&served.certificate) {
                        absent = Some(Verdict::Absent { what });
                        continue;
                    }
                    what
                }
                Seen::Silence(silence) if rollout::gone(silence) => return Verdict::Silent(silence.clone()),
                Seen::Silence(silence) => {
                    silent.get_or_insert(Verdict::Silent(silence.clone()));
                    continue;
                }
                Seen::Leaf { leaf, .. } if !self.expects(served, leaf) => format!(
                    "{} still serves {} for {} (until {})",
                    served.address.map_or_else(String::new, |address| served.over.at(address)),
                    leaf.fingerprint.short(),
                    served.sni,
                    leaf.not_after
                ),
                // The server reads its chain from another file than ours.
                Seen::Leaf { distrust: Some(why), .. } => {
                    format!("serves the leaf in a chain that clients refuse: {why}")
                }
                Seen::Leaf { distrust: None, .. } => {
                    proven = true;
                    continue;
                }
            };
            match served.over {
                Over::Quic => over_quic = Some(Verdict::Lingers { what }),
                Over::Tcp | Over::Ssh => other = Some(Verdict::Other { what }),
            }
        }
        let silence = not_asked.unwrap_or(ProbeError::TimedOut);
        let unseen = || if proven { Verdict::Expected } else { Verdict::Silent(silence) };
        silent.or(other).or(over_quic).or(absent).unwrap_or_else(unseen)
    }

    fn expects(&self, served: &Served, leaf: &Leaf) -> bool {
        self.bundles.iter().any(|bundle| {
            bundle.certificate == served.certificate && bundle.pair.chain().leaf.fingerprint == leaf.fingerprint
        })
    }

    async fn rollback(&self, dialogue: Dialogue) {
        let went_back = match dialogue.rollback().await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(crate::context::failure::failure(
                Code::NodeKept,
                &self.node,
                format!("the node did not go back: {why}"),
                "fix what the message names, or find out what else writes there",
                crate::model::Advice::Person,
            )),
            Err(error) => Err(of_node(&self.node, &error)),
        };
        // After two reloads in a row, the workers from before the first may listen until both are done.
        if self.has_old_workers() {
            tokio::time::sleep(2 * OLD_WORKERS).await;
        }
        let seen = self.look().await;
        let was_asked = |it: &&Served| !matches!(&it.seen, Seen::Silence(silence) if silence.is_of_this_machine());
        let mut asked = seen.iter().filter(was_asked).peekable();
        let serves = asked.peek().is_some() && asked.all(shows_a_certificate);
        self.say(Event::Restored(self.node.clone(), Restored { went_back, serves }), seen);
    }

    /// One more look, so that the report has what visitors get now.
    async fn look(&self) -> Vec<Served> {
        let (config, secrets) = (&self.context.config, &self.context.secrets);
        let Some(node) = config.node(&self.node) else { return Vec::new() };
        self.look_at(self.targets(&ssh_tunnel::session_each(config, secrets, node))).await
    }

    async fn look_at(&self, targets: Vec<(ProbeTarget, Leaf)>) -> Vec<Served> {
        let roots = &self.context.roots;
        let looks = join_all(targets.iter().map(|(target, _)| target.look(roots))).await;
        looks.into_iter().flat_map(|(served, _)| served).collect()
    }

    /// Handshakes with all targets; those through SSH use this dialogue's own connection.
    async fn through<T>(&self, dialogue: &Dialogue, work: impl AsyncFnOnce(Vec<(ProbeTarget, Leaf)>) -> T) -> T {
        let (open, tunnels) = ssh_tunnel::of_dialogue();
        let work = work(self.targets(&open));
        drop(open);
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => done,
            () = tunnels.serve(dialogue) => work.await,
        }
    }

    /// Every name at every host, with its expected leaf.
    fn targets(&self, through: &PortOpener) -> Vec<(ProbeTarget, Leaf)> {
        let config = &self.context.config;
        let mut targets = Vec::new();
        let Some(node) = config.node(&self.node) else { return targets };
        for bundle in &self.bundles {
            let Some(certificate) = config.certificate(&bundle.certificate) else { continue };
            let leaf = &bundle.pair.chain().leaf;
            let all = ProbeTarget::all(config, certificate, node, through);
            targets.extend(all.into_iter().map(|target| (target, leaf.clone())));
        }
        targets
    }

    /// Notes the number of a newer generation, if plausible, for the number of the next one.
    fn refused(&self, error: NodeError) -> (NodeError, Finding) {
        let error = judged(error, clock::now());
        if let NodeError::Refused { refusal: Refusal::Newer { certificate, number }, .. } = &error {
            self.note_held(certificate, Some(*number));
        }
        let failure = of_node(&self.node, &error);
        (error, failure)
    }

    fn note_held(&self, certificate: &CertName, number: Option<u64>) {
        // The rollout may have ended; the next dialogue reports it again.
        let _ = self.fences.send((self.node.clone(), certificate.clone(), number));
    }

    fn say(&self, event: Event, seen: Vec<Served>) {
        // The rollout may have ended; then the event is not needed.
        let _ = self.events.send((event, seen));
    }

    fn show(&self, phase: Phase, detail: &str) {
        let detail = escape(detail, 300);
        self.context.progress.say(Progress::Node { node: self.node.clone(), phase, detail });
    }
}

/// A server that has no pair of the wanted algorithm shows another.
fn shows_a_certificate(served: &Served) -> bool {
    matches!(served.seen, Seen::Leaf { .. } | Seen::Silence(ProbeError::NoSuchKey(_)))
}

/// Handshakes with one name at every address of a host, over every transport, until each shows the expected leaf or
/// times out.
async fn prove(target: ProbeTarget, expected: Fingerprint, patience: Duration, roots: Roots) -> Vec<Served> {
    let sockets = match target.sockets().await {
        Ok(sockets) => sockets,
        Err(silence) => return vec![target.unresolved(silence)],
    };
    let proofs = sockets.iter().map(async |socket| {
        let verified = probe::verify(socket.route.clone(), target.asked(), expected, patience).await;
        let proven = matches!(verified, Verified::Expected(_));
        let seen = match verified {
            Verified::Expected(ders) | Verified::Other(ders) => Seen::of(ders, &roots, clock::now()),
            Verified::Silent(silence) => Seen::Silence(silence),
        };
        let mut served = vec![target.served(socket, seen)];
        if proven {
            served.extend(target.prove_over_quic(socket, expected, QUIC_PATIENCE, &roots).await);
        }
        served
    });
    join_all(proofs).await.into_iter().flatten().collect()
}

/// A refusal for an impossible number is the node's own fault, not a newer generation.
pub(crate) fn judged(error: NodeError, now: Timestamp) -> NodeError {
    match error {
        NodeError::Refused { node, refusal: Refusal::Newer { certificate, number } }
            if !fence::plausible(number, now) =>
        {
            NodeError::Refused { node, refusal: Refusal::Implausible { certificate, number: number.to_string() } }
        }
        error => error,
    }
}

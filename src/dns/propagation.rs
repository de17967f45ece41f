//! Waits until a TXT record is visible on *every* authoritative server. Each address of each server is queried directly,
//! without recursion, until all show all values with authority.
//!
//! A server that never gives an authoritative answer (dead, unreachable from here, refusing) is passed over after
//! [`PATIENCE`] and reported, if every other server shows the values; unless the configuration says to wait. A server that
//! answers without them is always waited for. An address without a route from this machine (IPv6, mostly) is ignored if
//! its server has another one.
//!
//! If all are silent, port 53 is probably blocked, and the DoH servers are queried, whatever the configuration says about
//! silent servers; but only [`PATIENCE`] after the record was made: a resolver that is asked too early caches the absence
//! for the zone's negative TTL (RFC 2308; half an hour at some). Since that cannot be waited out, a DoH server without a
//! record is waited for no longer than [`DOH_PATIENCE`], and not at all if it was asked before, to look up the name. The
//! record counts as visible when one shows all values and none shows others (an older set, gone after its TTL). That is
//! weaker than asking each server: the CA may still meet one that lags. As soon as an authoritative server answers, the
//! authoritative servers decide again.
//!
//! Where no DoH server answers either (or none is configured), this network's own resolvers are queried, as late and by the
//! same rules. They looked the name up before, so that one without the record may have cached its absence for longer than
//! anybody waits: if that is all that is known when the time is over, the CA, which has another resolver, is asked.

use core::net::SocketAddr;
use core::pin::pin;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use hickory_proto::rr::RecordType;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{interval_at, sleep, timeout};

use super::propagation_tally::{
    Answer, ServerState, all_silent, doh_state, initial_states, judge, judge_doh, lacking, lagging,
    only_cached_absence, passed_over, propagated, propagated_by_doh, updated, waited_for,
};
use super::resolvers::parse;
use super::wire::{Question, ask};
use super::{DnsError, Doh, Server};
use crate::config::SilentServers;

/// For a server that never answered while others show the values: three queries, each by UDP and TCP.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a DoH server that shows no record.
const DOH_PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Public resolvers should not be polled hard, and have many caches behind one address.
const DOH_PAUSE: Duration = Duration::from_secs(3);
/// Interval of progress messages while nothing changes.
const REMINDER: Duration = Duration::from_secs(15);

/// A record name and all values that must be visible there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedTxt {
    pub name: String,
    pub values: BTreeSet<String>,
}

/// How long to wait, and for which servers.
#[derive(Clone, Debug)]
pub struct Patience {
    pub limit: Duration,
    pub silent_servers: SilentServers,
    pub doh: Doh,
    /// Recursive resolvers, for where nobody else answers.
    pub resolvers: Vec<SocketAddr>,
}

/// The question and the values, shared by the pollers.
type Task = Arc<(Question, BTreeSet<String>)>;
/// Who is waited for: each is asked when those before it were silent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Servers,
    Doh,
    Resolvers,
    /// Nobody else is asked, and the silent ones are no longer waited for.
    Last,
}

/// The index of a state, and its new answer.
type Update = (usize, Answer);

/// Waits until every server shows every value. `report` gets the servers still waited for, at each change and at every
/// [`REMINDER`]. Returns the servers that were passed over.
///
/// # Errors
/// [`DnsError::NotSeen`] or [`DnsError::AllSilent`] after the limit.
pub async fn await_seen(
    servers: &[Server],
    wanted: &WantedTxt,
    patience: &Patience,
    report: impl FnMut(String),
) -> Result<Propagated, DnsError> {
    let name = parse(&wanted.name)?;
    let task: Task = Arc::new((Question { name, kind: RecordType::TXT, recursion: false }, wanted.values.clone()));
    let mut watch = Watch {
        states: Vec::new(),
        doh: Vec::new(),
        resolvers: Vec::new(),
        shown: String::new(),
        name: &wanted.name,
        report,
    };
    let ended = timeout(patience.limit, watch.until_propagated(servers, task, patience)).await;
    let Watch { states, doh, resolvers, .. } = watch;
    let (name, limit) = (wanted.name.clone(), patience.limit);
    match ended {
        Ok(()) => Ok(Propagated {
            passed_over: [passed_over(&states), lacking(&doh), lacking(&resolvers)].concat(),
            unseen: None,
        }),
        // The CA sees what nobody here can.
        Err(_)
            if patience.silent_servers == SilentServers::PassOver
                && all_silent(&states)
                && all_silent(&doh)
                && only_cached_absence(&resolvers) =>
        {
            let (lagging, which) = (waited_for(&resolvers), lagging(&resolvers));
            Ok(Propagated {
                passed_over: [passed_over(&states), lacking(&doh)].concat(),
                unseen: Some(DnsError::NotSeen { name, limit, lagging, which }),
            })
        }
        Err(_) if all_silent(&states) && all_silent(&doh) && all_silent(&resolvers) => {
            let servers = [lacking(&states), lacking(&doh), lacking(&resolvers)].concat().join(", ");
            Err(DnsError::AllSilent { name, servers })
        }
        Err(_) => {
            let asked = [&states, &doh, &resolvers].into_iter().find(|states| !all_silent(states)).unwrap_or(&states);
            let (lagging, which) = (waited_for(asked), lagging(asked));
            Err(DnsError::NotSeen { name, limit, lagging, which })
        }
    }
}

/// The end of a wait after which the CA may be asked.
#[derive(Debug)]
pub struct Propagated {
    /// Servers that never answered.
    pub passed_over: Vec<String>,
    /// Nobody here shows the record, or could: only a resolver answered, which may have cached the absence.
    pub unseen: Option<DnsError>,
}

struct Watch<'a, F> {
    states: Vec<ServerState>,
    /// Empty until they are queried.
    doh: Vec<ServerState>,
    /// Empty until they are queried.
    resolvers: Vec<ServerState>,
    /// The last reported list.
    shown: String,
    name: &'a str,
    report: F,
}

impl<F: FnMut(String)> Watch<'_, F> {
    /// The pollers end with this future.
    async fn until_propagated(&mut self, servers: &[Server], task: Task, patience: &Patience) {
        let (updates, mut received) = mpsc::channel(64);
        let (doh_updates, mut doh_received) = mpsc::channel::<Update>(64);
        let (resolver_updates, mut resolver_received) = mpsc::channel::<Update>(64);
        let mut pollers = JoinSet::new();
        for (index, (address, state)) in initial_states(servers).into_iter().enumerate() {
            if let Some(address) = address {
                pollers.spawn(poll(address, Arc::clone(&task), index, updates.clone()));
            }
            self.states.push(state);
        }
        let mut end = pin!(sleep(PATIENCE));
        let begun = end.deadline() - PATIENCE;
        let mut reminder = interval_at(begun + REMINDER, REMINDER);
        let mut stage = Stage::Servers;
        loop {
            tokio::select! {
                Some((index, answer)) = received.recv() => {
                    self.states[index].answer = updated(&self.states[index].answer, answer);
                }
                Some((index, answer)) = doh_received.recv() => {
                    self.doh[index].answer = updated(&self.doh[index].answer, answer);
                }
                Some((index, answer)) = resolver_received.recv() => {
                    self.resolvers[index].answer = updated(&self.resolvers[index].answer, answer);
                }
                () = &mut end, if stage != Stage::Last => {
                    let silent = all_silent(&self.states) && all_silent(&self.doh);
                    stage = match stage {
                        Stage::Servers if silent && patience.doh.count() > 0 => {
                            self.ask_doh(&patience.doh, &task, &doh_updates, &mut pollers);
                            Stage::Doh
                        }
                        Stage::Servers | Stage::Doh if silent && !patience.resolvers.is_empty() => {
                            self.ask_resolvers(&patience.resolvers, &task, &resolver_updates, &mut pollers);
                            Stage::Resolvers
                        }
                        _ => Stage::Last,
                    };
                    end.set(sleep(DOH_PATIENCE));
                }
                now = reminder.tick() => self.remind(now.duration_since(begun)),
            }
            let enough = if all_silent(&self.states) {
                let patient = stage != Stage::Last;
                let by_doh = propagated_by_doh(&self.doh, patient && stage != Stage::Resolvers);
                by_doh || all_silent(&self.doh) && propagated_by_doh(&self.resolvers, patient)
            } else {
                propagated(&self.states, stage == Stage::Servers, patience.silent_servers)
            };
            if enough {
                return;
            }
            self.report_change();
        }
    }

    fn ask_doh(&mut self, doh: &Doh, task: &Task, updates: &mpsc::Sender<Update>, pollers: &mut JoinSet<()>) {
        for server in 0..doh.count() {
            self.doh.push(doh_state(server, doh.name(server)));
            pollers.spawn(poll_doh(doh.clone(), Arc::clone(task), server, updates.clone()));
        }
        let asked: Vec<&str> = self.doh.iter().map(|state| state.label.as_str()).collect();
        let (name, asked) = (self.name, asked.join(", "));
        (self.report)(format!("no name server of {name} answers (is port 53 blocked?): asking {asked} instead"));
    }

    fn ask_resolvers(
        &mut self,
        resolvers: &[SocketAddr],
        task: &Task,
        updates: &mpsc::Sender<Update>,
        pollers: &mut JoinSet<()>,
    ) {
        for (index, at) in resolvers.iter().enumerate() {
            self.resolvers.push(doh_state(index, &at.to_string()));
            pollers.spawn(poll_resolver(*at, Arc::clone(task), index, updates.clone()));
        }
        let asked: Vec<&str> = self.resolvers.iter().map(|state| state.label.as_str()).collect();
        let (name, asked) = (self.name, asked.join(", "));
        (self.report)(format!(
            "no name server of {name} answers, and no DoH server: asking the resolver {asked} instead"
        ));
    }

    fn report_change(&mut self) {
        let waiting = self.waiting();
        if waiting != self.shown {
            (self.report)(format!("waiting for {waiting} to show {}", self.name));
            self.shown = waiting;
        }
    }

    fn remind(&mut self, since: Duration) {
        let waiting = self.waiting();
        (self.report)(format!("waiting for {waiting} to show {}, for {} s so far", self.name, since.as_secs()));
        self.shown = waiting;
    }

    fn waiting(&self) -> String {
        let silent = all_silent(&self.states);
        waited_for(if silent && !self.resolvers.is_empty() && all_silent(&self.doh) {
            &self.resolvers
        } else if silent && !self.doh.is_empty() {
            &self.doh
        } else {
            &self.states
        })
    }
}

/// Queries one address until it shows every value.
async fn poll(address: SocketAddr, task: Task, index: usize, updates: mpsc::Sender<Update>) {
    let (question, values) = &*task;
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = match ask(address, question).await {
            Ok(answer) => judge(&answer, question, values),
            Err(error) if error.is_no_route() => Answer::NoRoute,
            Err(error) => Answer::NoneUsable(error.to_string()),
        };
        let all = answer == Answer::Complete;
        if updates.send((index, answer)).await.is_err() || all {
            return;
        }
        sleep(pause).await;
        pause = pause.mul_f32(1.5).min(LONGEST_PAUSE);
    }
}

/// Queries one resolver until it shows every value.
async fn poll_resolver(address: SocketAddr, task: Task, index: usize, updates: mpsc::Sender<Update>) {
    let (question, values) = &*task;
    let question = Question { recursion: true, ..question.clone() };
    loop {
        let answer = match ask(address, &question).await {
            Ok(answer) => judge_doh(&answer, &question, values, true),
            Err(error) if error.is_no_route() => Answer::NoRoute,
            Err(error) => Answer::NoneUsable(error.to_string()),
        };
        let all = answer == Answer::Complete;
        if updates.send((index, answer)).await.is_err() || all {
            return;
        }
        sleep(DOH_PAUSE).await;
    }
}

/// Queries one DoH server until it shows every value.
async fn poll_doh(doh: Doh, task: Task, server: usize, updates: mpsc::Sender<Update>) {
    let (question, values) = &*task;
    let question = Question { recursion: true, ..question.clone() };
    let may_be_cached = doh.was_asked(server);
    loop {
        let answer = match doh.ask(server, &question).await {
            Ok(answer) => judge_doh(&answer, &question, values, may_be_cached),
            Err(error) => Answer::NoneUsable(error.to_string()),
        };
        let all = answer == Answer::Complete;
        if updates.send((server, answer)).await.is_err() || all {
            return;
        }
        sleep(DOH_PAUSE).await;
    }
}

//! Is the record there, on *every* authoritative server? Each address of each server is asked directly, without recursion,
//! until all show all values with authority.
//!
//! A server that never gives an authoritative answer (dead, unreachable from here, refusing) does not hold things up for
//! ever: after [`PATIENCE`] it is passed over, if every server that does answer shows the values, and it is named; unless
//! the configuration says to wait. A server that answers and lacks them is always waited for. An address to which this
//! machine has no route (IPv6, mostly) says nothing about its server when another one does.
//!
//! When all are silent, port 53 is blocked, whatever the configuration says of a silent server. Then the DoH servers are
//! asked, [`PATIENCE`] after the record was made and not before: a resolver that looks too early remembers for the zone's negative TTL (RFC 2308; half an hour at some) that
//! nothing was there. So its "not there" cannot be waited out, and the rule is: one shows all values, and none shows
//! others (which is an older set, gone after its TTL). One that shows nothing is waited for as long as [`DOH_PATIENCE`];
//! not at all if it was asked before, in looking up the name. That is less than each server's own word: the CA may
//! still meet one that lags. When an authoritative server speaks after all, its word counts again.

use core::net::SocketAddr;
use core::pin::pin;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use hickory_proto::rr::RecordType;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{interval_at, sleep, timeout};

use super::board::{
    Said, Seat, all_silent, doh_seat, heard, judge, judge_doh, lacking, passed_over, seats, settled, settled_by_doh,
    waited_for,
};
use super::resolvers::parse;
use super::wire::{Question, ask};
use super::{DnsError, Doh, Server};
use crate::config::SilentServers;

/// How long a server that never answered is waited for while others show the values: asked thrice, each time by UDP and TCP.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for a DoH server.
const DOH_PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Public resolvers are not ours to poll hard, and have many caches behind one address.
const DOH_PAUSE: Duration = Duration::from_secs(3);
/// Whoever watches hears so often that nothing has changed.
const REMINDER: Duration = Duration::from_secs(15);

/// A record name and all values that must be seen there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    pub values: BTreeSet<String>,
}

/// How to wait.
#[derive(Clone, Debug)]
pub struct Patience {
    pub limit: Duration,
    pub silent_servers: SilentServers,
    pub doh: Doh,
}

/// Question and values, for askers that run side by side.
type Task = Arc<(Question, BTreeSet<String>)>;
/// Which seat, and what was heard.
type Word = (usize, Said);

/// Waits until every server shows every value. `say` hears, whenever that changes and every now and then, who is still
/// waited for. Returns the servers that were passed over.
///
/// # Errors
/// [`DnsError::NotSeen`] or [`DnsError::AllSilent`] after the limit.
pub async fn await_seen(
    servers: &[Server],
    wanted: &Wanted,
    patience: &Patience,
    say: impl FnMut(String),
) -> Result<Vec<String>, DnsError> {
    let name = parse(&wanted.name)?;
    let task: Task = Arc::new((Question { name, kind: RecordType::TXT, recursion: false }, wanted.values.clone()));
    let mut watch = Watch { board: Vec::new(), doh: Vec::new(), shown: String::new(), name: &wanted.name, say };
    let ended = timeout(patience.limit, watch.until_settled(servers, task, patience)).await;
    let Watch { board, doh, .. } = watch;
    let (name, limit) = (wanted.name.clone(), patience.limit);
    match ended {
        Ok(()) => Ok([passed_over(&board), lacking(&doh)].concat()),
        Err(_) if all_silent(&board) && all_silent(&doh) => {
            let servers = [waited_for(&board), waited_for(&doh)].join(", ");
            Err(DnsError::AllSilent { name, servers: servers.trim_end_matches(", ").to_owned() })
        }
        Err(_) => {
            let lagging = waited_for(if all_silent(&board) { &doh } else { &board });
            Err(DnsError::NotSeen { name, limit, lagging })
        }
    }
}

struct Watch<'a, F> {
    board: Vec<Seat>,
    /// Empty until they are asked.
    doh: Vec<Seat>,
    /// What was said last.
    shown: String,
    name: &'a str,
    say: F,
}

impl<F: FnMut(String)> Watch<'_, F> {
    /// The askers end with this future.
    async fn until_settled(&mut self, servers: &[Server], task: Task, patience: &Patience) {
        let (tell, mut hear) = mpsc::channel(64);
        let (tell_doh, mut hear_doh) = mpsc::channel::<Word>(64);
        let mut askers = JoinSet::new();
        for (index, (address, seat)) in seats(servers).into_iter().enumerate() {
            if let Some(address) = address {
                askers.spawn(poll(address, Arc::clone(&task), index, tell.clone()));
            }
            self.board.push(seat);
        }
        let mut end = pin!(sleep(PATIENCE));
        let begun = end.deadline() - PATIENCE;
        let mut reminder = interval_at(begun + REMINDER, REMINDER);
        let (mut patient, mut patient_with_doh) = (true, true);
        loop {
            tokio::select! {
                Some((index, said)) = hear.recv() => self.board[index].said = heard(&self.board[index].said, said),
                Some((index, said)) = hear_doh.recv() => self.doh[index].said = heard(&self.doh[index].said, said),
                () = &mut end, if patient || patient_with_doh && !self.doh.is_empty() => {
                    if !patient {
                        patient_with_doh = false;
                    } else if all_silent(&self.board) && patience.doh.count() > 0 {
                        self.ask_doh(&patience.doh, &task, &tell_doh, &mut askers);
                        end.as_mut().reset(begun + PATIENCE + DOH_PATIENCE);
                    }
                    patient = false;
                }
                now = reminder.tick() => self.remind(now.duration_since(begun)),
            }
            let enough = if all_silent(&self.board) {
                settled_by_doh(&self.doh, patient_with_doh)
            } else {
                settled(&self.board, patient, patience.silent_servers)
            };
            if enough {
                return;
            }
            self.tell();
        }
    }

    fn ask_doh(&mut self, doh: &Doh, task: &Task, tell: &mpsc::Sender<Word>, askers: &mut JoinSet<()>) {
        for server in 0..doh.count() {
            self.doh.push(doh_seat(server, doh.name(server)));
            askers.spawn(poll_doh(doh.clone(), Arc::clone(task), server, tell.clone()));
        }
        let asked: Vec<&str> = self.doh.iter().map(|seat| seat.label.as_str()).collect();
        let (name, asked) = (self.name, asked.join(", "));
        (self.say)(format!("no name server of {name} answers (is port 53 blocked?): asking {asked} instead"));
    }

    fn tell(&mut self) {
        let waiting = self.waiting();
        if waiting != self.shown {
            (self.say)(format!("waiting for {waiting} to show {}", self.name));
            self.shown = waiting;
        }
    }

    fn remind(&mut self, since: Duration) {
        let waiting = self.waiting();
        (self.say)(format!("waiting for {waiting} to show {}, for {} s so far", self.name, since.as_secs()));
        self.shown = waiting;
    }

    fn waiting(&self) -> String {
        waited_for(if self.doh.is_empty() || !all_silent(&self.board) { &self.board } else { &self.doh })
    }
}

/// Asks one address until it shows everything.
async fn poll(address: SocketAddr, task: Task, index: usize, tell: mpsc::Sender<Word>) {
    let (question, values) = &*task;
    let mut pause = FIRST_PAUSE;
    loop {
        let said = match ask(address, question).await {
            Ok(answer) => judge(&answer, question, values),
            Err(silence) if silence.is_no_route() => Said::NoRoute,
            Err(silence) => Said::Nothing(silence.to_string()),
        };
        let all = said == Said::All;
        if tell.send((index, said)).await.is_err() || all {
            return;
        }
        sleep(pause).await;
        pause = pause.mul_f32(1.5).min(LONGEST_PAUSE);
    }
}

/// The same of a DoH server.
async fn poll_doh(doh: Doh, task: Task, server: usize, tell: mpsc::Sender<Word>) {
    let (question, values) = &*task;
    let question = Question { recursion: true, ..question.clone() };
    let remembers = doh.was_asked(server);
    loop {
        let said = match doh.ask(server, &question).await {
            Ok(answer) => judge_doh(&answer, &question, values, remembers),
            Err(silence) => Said::Nothing(silence.to_string()),
        };
        let all = said == Said::All;
        if tell.send((server, said)).await.is_err() || all {
            return;
        }
        sleep(DOH_PAUSE).await;
    }
}

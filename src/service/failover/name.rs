//! What failover remembers of one name between its steps, and when the next one is worth its calls.

use core::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::config::Config;
use crate::context::health::Healths;
use crate::context::{Context, clock, provider};
use crate::execute::failover::{Made, Outlook, Place, Reading, Step};
use crate::model::{AddressRecord, Finding, Withdrawal};
use crate::mutex::lock;
use crate::observe::failover::Group;
use crate::observe::witness::{WayOut, way_out};
use crate::plan::failover::{Change, Condition, Decision, Member, Policy, Records, Scene, decide};
use crate::plan::members::{Known, members};
use crate::report::failover::why;
use crate::service::events::FailoverEvent;

use super::SharedRefused;

/// How old records may be while a node fails or a record is withdrawn, and else: what somebody changes by hand is seen by then,
/// and a marker that outlived the state directory.
const BUSY: SignedDuration = SignedDuration::from_mins(5);
const IDLE: SignedDuration = SignedDuration::from_hours(1);
/// From one step to the next: a share of failover.interval within these bounds, and longer while the provider fails.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
const LONGEST: SignedDuration = SignedDuration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Name {
    reading: Option<Reading>,
    /// When it was read, and when the last step began; of a clock that is never set.
    read_at: Option<SignedDuration>,
    stepped_at: Option<SignedDuration>,
    /// Steps in a row that could not read the records.
    failures: u32,
    pub(super) journal: Vec<Withdrawal>,
    pub(super) decisions: Vec<Decision>,
    pub(super) findings: Vec<Finding>,
}

impl Name {
    /// Whether the provider is to be asked: by what is known, something is to be done, or what is known is old.
    pub(super) fn asks(
        &mut self,
        policy: &Policy,
        members: &[Member],
        journal: &[Withdrawal],
        last_change: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        let passed = clock::monotonic();
        let fails = |member: &Member| matches!(member.condition, Condition::Failing { .. });
        let is_busy = !journal.is_empty() || members.iter().any(fails);
        // As if it had just been read, and this machine were sound: what then would be done is worth the question.
        let records = self.reading.as_ref().map(|reading| Records { read_at: now, all: reading.records.all.clone() });
        let scene = Scene { members, records: records.as_ref(), journal, last_change, way_out: true };
        let trial = decide(policy, &scene, now);
        let acts = |decision: &Decision| matches!(decision, Decision::Do(_) | Decision::Close(_));
        let advice = |decisions: &[Decision]| {
            let advice = decisions.iter().filter(|decision| matches!(decision, Decision::Advise(_)));
            advice.cloned().collect::<Vec<Decision>>()
        };
        let is_old = self.read_at.is_none_or(|at| passed - at >= if is_busy { BUSY } else { IDLE });
        let is_new = advice(&trial) != advice(&self.decisions);
        let wants = is_old || is_new || trial.iter().any(acts);
        if !wants && advice(&trial).is_empty() {
            (self.decisions, self.journal) = (trial, journal.to_vec());
        }
        let is_early = self.stepped_at.is_some_and(|at| passed - at < self.gap(policy));
        if wants && !is_early {
            self.stepped_at = Some(passed);
        }
        wants && !is_early
    }

    /// As they were read last.
    pub(super) fn shown(&self) -> Option<&[AddressRecord]> {
        self.reading.as_ref().map(|reading| reading.records.all.as_slice())
    }

    fn gap(&self, policy: &Policy) -> SignedDuration {
        let gap = (policy.interval / 10).clamp(SHORTEST, LONGEST);
        (gap * 2_i32.pow(self.failures.min(8))).min(BUSY.max(gap))
    }

    /// What is to be said of a step.
    pub(super) fn note(&mut self, owner: &str, step: Result<Step, Finding>) -> Vec<FailoverEvent> {
        let step = match step {
            Ok(step) => step,
            Err(failure) => {
                self.failures = self.failures.saturating_add(1);
                self.findings = vec![failure];
                return Vec::new();
            }
        };
        let Step { reading, journal, decisions, made, findings } = step;
        self.failures = if reading.is_some() { 0 } else { self.failures.saturating_add(1) };
        if let Some(reading) = reading {
            self.read_at = Some(clock::monotonic());
            self.reading = Some(reading);
        }
        let mut events = Vec::new();
        for decision in &decisions {
            if let Decision::Close(entry) = decision {
                events.push(FailoverEvent::Closed(entry.clone()));
            }
        }
        self.findings = findings;
        if let Some((change, made)) = made {
            // What was read is no longer so.
            self.read_at = None;
            if let (Some(reading), Change::Withdraw { record, .. }, Made::Done) = (&mut self.reading, &change, &made) {
                reading.records.all.retain(|other| other.address != record.address);
            }
            match made {
                Made::Done => events.push(match &change {
                    Change::Withdraw { record, .. } => {
                        let entry = journal.iter().find(|entry| entry.record.address == record.address);
                        let entry = entry.cloned();
                        FailoverEvent::Withdrawn { owner: owner.to_owned(), address: record.address, entry }
                    }
                    Change::Restore(entry) => FailoverEvent::Restored(entry.clone(), None),
                }),
                Made::Without(what) => {
                    if let Change::Restore(entry) = &change {
                        events.push(FailoverEvent::Restored(entry.clone(), Some(what)));
                    }
                }
                Made::Changed(what) => events.push(FailoverEvent::Changed { owner: owner.to_owned(), what }),
                Made::Failed(finding) => self.findings.push(finding),
            }
        }
        let done = |decision: &Decision| matches!(decision, Decision::Do(_) | Decision::Close(_));
        self.decisions = decisions.into_iter().filter(|decision| !done(decision)).collect();
        self.journal = journal;
        events
    }
}

/// All that a step needs. Health is looked at when it is needed, and not as it was when the step began.
pub(super) struct Question {
    pub(super) context: Arc<Context>,
    pub(super) config: Arc<Config>,
    pub(super) group: Group,
    pub(super) policy: Policy,
    pub(super) healths: Healths,
    pub(super) refused: SharedRefused,
    pub(super) begins: Timestamp,
}

#[async_trait]
impl Outlook for Question {
    fn members(&self, journal: &[Withdrawal], now: Timestamp) -> Vec<Member> {
        let (healths, refused) = (self.healths.all(), lock(&self.refused).clone());
        let known = Known { healths: &healths, refused: &refused, begins: self.begins, age: SignedDuration::ZERO };
        members(&self.config, &self.group.names, known, journal, now)
    }

    async fn way_out(&self, members: &[Member]) -> WayOut {
        let nodes: Vec<IpAddr> = members.iter().map(|member| member.address).collect();
        way_out(&self.config, nodes).await
    }

    fn why(&self, change: &Change) -> String {
        let refused = lock(&self.refused).clone();
        match change {
            Change::Withdraw { node, record } => why(&self.healths.all(), &refused, &self.config, node, record.address),
            Change::Restore(_) => String::new(),
        }
    }
}

pub(super) async fn ask(question: Question) -> Result<Step, Finding> {
    let Question { context, group, policy, .. } = &question;
    let (resolvers, _) = provider::resolvers(context)?;
    let provider = provider::provider(context, false)?;
    let place = Place {
        store: &context.store,
        provider: provider.as_ref(),
        resolvers: Some(&resolvers),
        owner: &group.owner,
        zone: &group.zone,
        clock: &clock::now,
    };
    Ok(place.step(policy, &question).await?)
}

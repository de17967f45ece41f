//! What failover remembers of one name between its steps, and when the next one is worth its calls.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::config::Config;
use crate::context::{Context, clock, provider};
use crate::execute::failover::{Made, Place, Reading, Situation, Step};
use crate::model::{AddressRecord, Finding, Health, Withdrawal};
use crate::observe::failover::{Group, way_out};
use crate::plan::failover::{Change, Condition, Decision, Member, Mode, Policy, Records, Scene, decide};
use crate::plan::members::Refused;
use crate::report::failover::why;
use crate::service::events::FailoverEvent;

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

/// All that a step needs.
pub(super) struct Question {
    pub(super) context: Arc<Context>,
    pub(super) config: Arc<Config>,
    pub(super) group: Group,
    pub(super) policy: Policy,
    pub(super) members: Vec<Member>,
    pub(super) healths: Arc<[Health]>,
    pub(super) refused: Arc<Refused>,
}

pub(super) async fn ask(question: Question) -> Result<Step, Finding> {
    let Question { context, config, group, policy, members, healths, refused } = question;
    let fails = |member: &Member| matches!(member.condition, Condition::Failing { .. });
    let has_open = !context.store.withdrawals()?.of_name(&group.owner).is_empty();
    // Where nothing can be done, nobody is asked, and nothing is done.
    let may_act = policy.mode != Mode::Off && (has_open || members.iter().any(fails));
    let way_out = may_act && way_out(&config).await;
    let (resolvers, _) = provider::resolvers(&context)?;
    let provider = provider::provider(&context, false)?;
    let place = Place {
        store: &context.store,
        provider: provider.as_ref(),
        resolvers: Some(&resolvers),
        owner: &group.owner,
        zone: &group.zone,
    };
    let reason = |change: &Change| match change {
        Change::Withdraw { node, record } => why(&healths, &refused, &config, node, record.address),
        Change::Restore(_) => String::new(),
    };
    let situation = Situation { policy: &policy, members: &members, way_out };
    Ok(place.step(&situation, reason, clock::now()).await?)
}

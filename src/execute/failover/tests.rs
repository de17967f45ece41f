//! A step against a zone in memory, which dies at each call: before the call has done anything, and after it has.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::Notify;

use core::net::IpAddr;

use super::*;
use crate::cert::NodeName;
use crate::cert::fixture::NOW;
use crate::model::Code;
use crate::mutex::lock;
use crate::observe::witness::WayOut;
use crate::plan::failover::{Condition, Member};

mod attempts;
mod deaths;

const OWNER: &str = "api.example.com";

/// Whether the process dies before or after a call has its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dies {
    Before,
    After,
}

#[derive(Default)]
struct Dns {
    records: Mutex<Vec<AddressRecord>>,
    texts: Mutex<Vec<String>>,
    calls: AtomicUsize,
    dies: Mutex<Option<(usize, Dies)>>,
    died: Notify,
    /// Withdrawals and returns fail.
    refuses: Mutex<bool>,
    made: AtomicUsize,
    /// Seconds that calls took.
    passed: Mutex<i64>,
    /// What happens at the call of this number.
    event: Mutex<Option<(usize, Event)>>,
    /// What the first node is by now, where it has changed during a step.
    is_well: Mutex<bool>,
    /// The records are those of a wildcard.
    synthesized: Mutex<bool>,
    texts_are_hidden: Mutex<bool>,
}

#[derive(Clone, Debug)]
enum Event {
    Takes(i64),
    Recovers,
    Marks(u8),
}

impl Dns {
    fn new() -> Self {
        let dns = Self::default();
        *lock(&dns.records) = [1, 2, 3].map(record).into();
        dns
    }

    async fn call<T>(&self, effect: impl FnOnce() -> T) -> T {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let event = lock(&self.event).clone().filter(|(at, _)| *at == number);
        match event.map(|(_, event)| event) {
            Some(Event::Takes(seconds)) => *lock(&self.passed) += seconds,
            Some(Event::Recovers) => *lock(&self.is_well) = true,
            Some(Event::Marks(last)) => lock(&self.texts).push(marker(last)),
            None => {}
        }
        let dies = lock(&self.dies).filter(|(at, _)| *at == number).map(|(_, dies)| dies);
        if dies == Some(Dies::Before) {
            self.died.notify_one();
            core::future::pending::<()>().await;
        }
        let done = effect();
        if dies == Some(Dies::After) {
            self.died.notify_one();
            core::future::pending::<()>().await;
        }
        done
    }

    fn shown(&self) -> Vec<IpAddr> {
        lock(&self.records).iter().map(|record| record.address).collect()
    }

    fn has(&self, last: u8) -> bool {
        self.shown().contains(&address(last))
    }

    fn refused(&self) -> Result<(), DnsError> {
        if *lock(&self.refuses) {
            return Err(DnsError::MalformedResponse { api: "the API".to_owned(), what: "no answer".to_owned() });
        }
        Ok(())
    }

    fn swap(&self, all: &[AddressRecord], change: impl FnOnce(&mut Vec<AddressRecord>)) -> Result<Swap, DnsError> {
        let mut records = lock(&self.records);
        let (mut now, mut read) = (records.clone(), all.to_vec());
        now.sort();
        read.sort();
        if now != read {
            return Ok(Swap::Changed("another record is there".to_owned()));
        }
        change(&mut records);
        Ok(Swap::Done)
    }
}

#[async_trait]
impl Provider for Dns {
    async fn zone(&self, _name: &str, _apex: Option<&str>) -> Result<Zone, DnsError> {
        Ok(zone())
    }

    async fn publish(&self, _zone: &Zone, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>> {
        let made = |record: &TxtRecord| {
            assert_eq!(record.name, marker_name(OWNER));
            let mut texts = lock(&self.texts);
            if !texts.contains(&record.value) {
                texts.push(record.value.clone());
            }
            let (name, value) = (record.name.clone(), record.value.clone());
            Ok(Handle { zone: "z".to_owned(), name, value, record: None })
        };
        self.call(|| records.iter().map(made).collect()).await
    }

    async fn remove(&self, handles: &[Handle]) -> Vec<Result<(), DnsError>> {
        let remove = |handle: &Handle| {
            lock(&self.texts).retain(|text| *text != handle.value);
            Ok(())
        };
        self.call(|| handles.iter().map(remove).collect()).await
    }

    async fn address_records(&self, _zone: &Zone, _name: &str) -> Result<Vec<AddressRecord>, DnsError> {
        self.call(|| Ok(lock(&self.records).clone())).await
    }

    async fn unchanged(&self, _zone: &Zone, name: &str, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        let is_synthesized = *lock(&self.synthesized);
        self.call(|| match is_synthesized {
            true => Err(DnsError::Name { name: name.to_owned() }),
            false => self.swap(all, |_| {}),
        })
        .await
    }

    async fn withdraw(&self, _zone: &Zone, record: &AddressRecord, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        let refused = self.refused();
        self.call(|| refused.and_then(|()| self.swap(all, |records| records.retain(|other| other != record)))).await
    }

    async fn restore(&self, _zone: &Zone, record: &AddressRecord, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        let id = format!("new{}", self.made.fetch_add(1, Ordering::Relaxed));
        let (refused, back) = (self.refused(), AddressRecord { id, ..record.clone() });
        self.call(|| refused.and_then(|()| self.swap(all, |records| records.push(back)))).await
    }

    async fn texts(&self, _zone: &Zone, _name: &str) -> Result<Vec<String>, DnsError> {
        let is_hidden = *lock(&self.texts_are_hidden);
        self.call(|| if is_hidden { Ok(Vec::new()) } else { Ok(lock(&self.texts).clone()) }).await
    }
}

fn zone() -> Zone {
    Zone { id: "z".to_owned(), name: Some("example.com".to_owned()) }
}

fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn record(last: u8) -> AddressRecord {
    AddressRecord {
        id: format!("r{last}"),
        name: OWNER.to_owned(),
        address: address(last),
        ttl: 120,
        proxied: false,
        comment: Some("of ours".to_owned()),
        settings: "{}".to_owned(),
        changed: String::new(),
    }
}

struct World {
    folder: tempfile::TempDir,
    dns: Dns,
    minute: i64,
    policy: Policy,
    members: Vec<Member>,
    reached: Vec<IpAddr>,
}

impl World {
    fn new() -> Self {
        let policy = Policy {
            mode: Mode::Act,
            after: SignedDuration::from_mins(3),
            restore_after: SignedDuration::from_mins(10),
            min_records: None,
            interval: SignedDuration::from_mins(5),
        };
        let (folder, dns, members) = (tempfile::tempdir().unwrap(), Dns::new(), Vec::new());
        let mut world = Self { folder, dns, minute: 0, policy, members, reached: vec![address(99)] };
        world.set(1, true);
        world
    }

    fn now(&self) -> Timestamp {
        NOW + SignedDuration::from_mins(self.minute) + SignedDuration::from_secs(*lock(&self.dns.passed))
    }

    /// The first node has been well, or has failed, for an hour; the others are well.
    fn set(&mut self, last: u8, fails: bool) {
        let since = self.now() - SignedDuration::from_hours(1);
        let member = |of: u8| {
            let condition = if of == last && fails { Condition::Failing { since } } else { Condition::Well { since } };
            Member { node: NodeName::parse(&format!("n{of}")).unwrap(), address: address(of), condition }
        };
        self.members = [1, 2, 3].map(member).into();
    }

    fn store(&self) -> Store {
        Store::open(&self.folder.path().join("state")).unwrap()
    }

    fn open(&self) -> Vec<Withdrawal> {
        self.store().withdrawals().unwrap().open
    }

    /// `None`: it died.
    async fn step(&mut self) -> Option<Step> {
        self.minute += 1;
        let (store, zone) = (self.store(), zone());
        let clock = || self.now();
        let place =
            Place { store: &store, provider: &self.dns, resolvers: None, owner: OWNER, zone: &zone, clock: &clock };
        tokio::select! {
            step = place.step(&self.policy, &*self) => Some(step.unwrap()),
            () = self.dns.died.notified() => None,
        }
    }

    async fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step().await.expect("it lives");
        }
    }

    #[track_caller]
    fn no_record_is_lost(&self) {
        let known = !self.open().is_empty() || !lock(&self.dns.texts).is_empty();
        assert!(self.dns.has(1) || known, "neither in DNS nor in the journal nor marked");
    }
}

#[async_trait]
impl Outlook for World {
    fn members(&self, _journal: &[Withdrawal], now: Timestamp) -> Vec<Member> {
        let mut members = self.members.clone();
        if *lock(&self.dns.is_well) {
            members[0].condition = Condition::Well { since: now };
        }
        members
    }

    async fn way_out(&self, _members: &[Member]) -> WayOut {
        WayOut::over(&self.reached)
    }

    fn why(&self, _change: &Change) -> String {
        "no answer".to_owned()
    }
}

fn marker(last: u8) -> String {
    Marker::new(address(last), 120, NOW, &NodeName::parse("other").unwrap()).to_string()
}

#[tokio::test]
async fn the_journal_and_the_marker_are_there_before_the_record_is_gone() {
    let mut world = World::new();
    *lock(&world.dns.dies) = Some((5, Dies::Before));
    assert!(world.step().await.is_none());
    assert!(world.dns.has(1));
    let open = world.open();
    assert_eq!((open.len(), open[0].failed), (1, 1), "an attempt counts as failed until it is known to be done");
    assert_eq!(open[0].record, record(1));
    let marker = Marker::parse(&lock(&world.dns.texts)[0]).unwrap();
    assert_eq!((marker.address, marker.ttl, marker.node.as_deref()), (address(1), 120, Some("n1")));
}

#[tokio::test]
async fn a_provider_that_refuses_is_asked_again_later_and_the_record_stays() {
    let mut world = World::new();
    *lock(&world.dns.refuses) = true;
    let step = world.step().await.unwrap();
    let Some((_, Made::Failed(finding))) = &step.made else { panic!("{:?}", step.made) };
    assert_eq!(finding.code, Code::FailoverFailed);
    assert_eq!(finding.what, "192.0.2.1 could not be withdrawn: the API: no answer");
    let mut attempts = 1;
    for _ in 0..60 {
        attempts += usize::from(world.step().await.unwrap().made.is_some());
    }
    assert!((3..=6).contains(&attempts), "{attempts}");
    assert!(world.dns.has(1) && world.open().len() == 1);
    *lock(&world.dns.refuses) = false;
    world.steps(90).await;
    assert!(!world.dns.has(1));
    assert_eq!(world.open()[0].failed, 0);
}

#[tokio::test]
async fn a_record_that_a_person_brings_back_ends_its_entry_and_marker() {
    let mut world = World::new();
    world.steps(1).await;
    assert!(!world.dns.has(1));
    lock(&world.dns.records).push(AddressRecord { id: "theirs".to_owned(), ttl: 60, ..record(1) });
    world.policy.mode = Mode::Off;
    world.minute += 10;
    let step = world.step().await.unwrap();
    assert!(matches!(step.decisions[..], [Decision::Close(_)]), "{:?}", step.decisions);
    assert_eq!((world.open(), lock(&world.dns.texts).len()), (Vec::new(), 1), "failover is off: DNS stays as it is");
    let step = world.step().await.unwrap();
    assert!(step.findings[0].what.contains("says that 192.0.2.1 is withdrawn, which is in DNS"), "{:?}", step.findings);
    world.policy.mode = Mode::Act;
    world.set(1, false);
    world.steps(1).await;
    assert!(lock(&world.dns.texts).is_empty());
    assert_eq!(lock(&world.dns.records).len(), 3);
}

#[tokio::test]
async fn a_marker_of_nobodys_address_is_named_and_nothing_is_made_of_it() {
    let mut world = World::new();
    world.set(9, false);
    let stranger = Marker::new(address(77), 60, NOW - SignedDuration::from_hours(9), &NodeName::parse("x").unwrap());
    lock(&world.dns.texts).push(stranger.to_string());
    for _ in 0..3 {
        let step = world.step().await.unwrap();
        assert_eq!(step.findings.len(), 1, "{:?}", step.findings);
        assert!(step.findings[0].what.contains("192.0.2.77"), "{:?}", step.findings);
    }
    assert_eq!((world.dns.shown().len(), world.open().len()), (3, 0));
}

#[tokio::test]
async fn advice_changes_nothing() {
    let mut world = World::new();
    world.policy.mode = Mode::Advise;
    for _ in 0..5 {
        let step = world.step().await.unwrap();
        assert!(matches!(step.decisions[..], [Decision::Advise(Change::Withdraw { .. })]), "{:?}", step.decisions);
    }
    assert!(world.dns.has(1) && world.open().is_empty() && lock(&world.dns.texts).is_empty());
    world.policy.mode = Mode::Act;
    world.policy.after = SignedDuration::from_hours(2);
    let step = world.step().await.unwrap();
    assert!(matches!(step.decisions[..], [Decision::Hold { why: Hold::Until(_), .. }]), "{:?}", step.decisions);
}

//! Failover: each guard by itself, what an attempt leaves behind, and ten thousand random histories.

mod attempts;
mod guards;
mod histories;
mod oracle;
mod returns;
mod world;

use super::*;
use crate::cert::fixture::NOW;

fn mins(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn ip6(last: u8) -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)])
}

fn node(number: u8) -> NodeName {
    NodeName::parse(&format!("n{number}")).unwrap()
}

fn record(address: IpAddr) -> AddressRecord {
    let (name, id) = ("www.example.com".to_owned(), format!("id-{address}"));
    let (settings, changed) = Default::default();
    AddressRecord { id, name, address, ttl: 300, proxied: false, comment: None, settings, changed }
}

fn member(number: u8, condition: Condition) -> Member {
    Member { node: node(number), address: ip(number), condition }
}

fn member6(number: u8, condition: Condition) -> Member {
    Member { node: node(number), address: ip6(number), condition }
}

fn well(minutes: i64) -> Condition {
    Condition::Well { since: NOW - mins(minutes) }
}

fn failing(minutes: i64) -> Condition {
    Condition::Failing { since: NOW - mins(minutes) }
}

const WELL: Condition = Condition::Well { since: Timestamp::UNIX_EPOCH };
const FAILING: Condition = Condition::Failing { since: Timestamp::UNIX_EPOCH };

/// An entry of half an hour ago.
fn entry(number: u8) -> Withdrawal {
    entry_of(number, ip(number))
}

fn entry_of(number: u8, address: IpAddr) -> Withdrawal {
    // What is in DNS again was made anew, and has another identifier.
    let record = AddressRecord { id: format!("removed-{address}"), ..record(address) };
    let (node, at, why) = (node(number), NOW - mins(30), "it fails".to_owned());
    Withdrawal { node, record, at, why, attempted_at: Some(at), failed: 0, untouched: false }
}

/// An entry whose last attempts failed.
fn failed(number: u8, minutes: i64, failed: u32) -> Withdrawal {
    Withdrawal { attempted_at: Some(NOW - mins(minutes)), failed, ..entry(number) }
}

/// A situation: three nodes, of which the first has failed for long.
#[derive(Clone)]
struct Case {
    policy: Policy,
    members: Vec<Member>,
    records: Option<Records>,
    journal: Vec<Withdrawal>,
    last_change: Option<Timestamp>,
    way_out: bool,
}

impl Case {
    fn new() -> Self {
        Self {
            policy: Policy {
                mode: Mode::Act,
                after: mins(2),
                restore_after: mins(5),
                min_records: None,
                interval: mins(5),
            },
            members: vec![member(1, FAILING), member(2, WELL), member(3, WELL)],
            records: Some(Records { read_at: NOW, all: [1, 2, 3].map(ip).map(record).to_vec() }),
            journal: Vec::new(),
            last_change: None,
            way_out: true,
        }
    }

    /// The first is out.
    fn out(condition: Condition) -> Self {
        let case = Self::new().with(|case| case.journal = vec![entry(1)]).shown(&[ip(2), ip(3)]);
        case.with(|case| case.members[0].condition = condition)
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn shown(self, addresses: &[IpAddr]) -> Self {
        self.with(|case| case.all().clear())
            .with(|case| case.all().extend(addresses.iter().map(|address| record(*address))))
    }

    fn all(&mut self) -> &mut Vec<AddressRecord> {
        &mut self.records.as_mut().unwrap().all
    }

    fn read(self, ago: SignedDuration) -> Self {
        self.with(|case| case.records.as_mut().unwrap().read_at = NOW - ago)
    }

    fn decide(&self) -> Vec<Decision> {
        let (members, records, journal) = (&self.members[..], self.records.as_ref(), &self.journal[..]);
        let scene = Scene { members, records, journal, last_change: self.last_change, way_out: self.way_out };
        decide(&self.policy, &scene, NOW)
    }

    /// Why the only address with a decision stays as it is.
    #[track_caller]
    fn held(&self) -> Hold {
        let decisions = self.decide();
        let [Decision::Hold { why, .. }] = &decisions[..] else { panic!("{decisions:?}") };
        why.clone()
    }

    #[track_caller]
    fn only(&self) -> Decision {
        let mut decisions = self.decide();
        assert_eq!(decisions.len(), 1, "{decisions:?}");
        decisions.remove(0)
    }

    #[track_caller]
    fn done(&self) -> Change {
        let changes = self.decide().into_iter().filter_map(|it| match it {
            Decision::Do(change) => Some(change),
            Decision::Advise(_) | Decision::Close(_) | Decision::Hold { .. } => None,
        });
        let changes: Vec<Change> = changes.collect();
        let [change] = &changes[..] else { panic!("{:?}", self.decide()) };
        change.clone()
    }
}

fn withdraws(number: u8) -> Change {
    Change::Withdraw { node: node(number), record: record(ip(number)) }
}

fn hold(number: u8, why: Hold) -> Decision {
    Decision::Hold { node: node(number), address: ip(number), why }
}

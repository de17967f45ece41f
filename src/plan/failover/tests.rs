//! Failover: each guard by itself, and ten thousand random histories against all of them.

use super::*;
use crate::cert::fixture::NOW;

fn mins(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn policy(mode: Mode) -> Policy {
    Policy { mode, after: mins(2), restore_after: mins(5), min_records: None, interval: mins(5) }
}

fn member(number: u8, condition: Condition) -> Member {
    let node = NodeName::parse(&format!("n{number}")).unwrap();
    Member { node, addresses: [ip(number)].into(), condition }
}

const WELL: Condition = Condition::Well { since: Timestamp::UNIX_EPOCH };
const FAILING: Condition = Condition::Failing { since: Timestamp::UNIX_EPOCH };

fn record(number: u8) -> Record {
    Record { address: ip(number), proxied: false, version: "300".to_owned() }
}

fn records(numbers: &[u8]) -> Records {
    Records { read_at: NOW, all: numbers.iter().map(|number| record(*number)).collect() }
}

fn withdrawn(number: u8) -> Withdrawn {
    Withdrawn { node: member(number, WELL).node, record: record(number), at: NOW - mins(30) }
}

/// Three nodes of which the first fails, and what is changed about that.
fn decided(change: impl FnOnce(&mut Policy, &mut Vec<Member>, &mut Records, &mut Scene<'_>)) -> Vec<Decision> {
    let mut policy = policy(Mode::Act);
    let mut members = vec![member(1, FAILING), member(2, WELL), member(3, WELL)];
    let mut records = records(&[1, 2, 3]);
    let mut scene = Scene { members: &[], records: None, journal: &[], last_change: None, way_out: true };
    change(&mut policy, &mut members, &mut records, &mut scene);
    let scene = Scene { members: &members, records: Some(&records), ..scene };
    decide(&policy, &scene, NOW)
}

fn held(decisions: &[Decision]) -> Hold {
    let [Decision::Hold { why, .. }] = decisions else { panic!("{decisions:?}") };
    why.clone()
}

fn withdraws(number: u8) -> Change {
    Change::Withdraw { node: member(number, WELL).node, record: record(number) }
}

#[test]
fn the_record_of_a_node_that_fails_is_withdrawn_as_it_was_read() {
    assert_eq!(decided(|_, _, _, _| ()), [Decision::Do(withdraws(1))]);
    assert_eq!(decided(|policy, _, _, _| policy.mode = Mode::Advise), [Decision::Advise(withdraws(1))]);
    assert_eq!(decided(|policy, _, _, _| policy.mode = Mode::Off), []);
    assert_eq!(decided(|_, members, _, _| members[0].condition = Condition::Unknown), []);
    assert_eq!(decided(|_, members, _, _| members[0].condition = WELL), []);
    // It is in no record.
    assert_eq!(decided(|_, _, records, _| *records = self::records(&[2, 3])), []);
}

#[test]
fn each_guard_holds() {
    let condition = Condition::Failing { since: NOW - mins(1) };
    assert_eq!(held(&decided(|_, members, _, _| members[0].condition = condition)), Hold::Until(NOW + mins(1)));
    assert_eq!(held(&decided(|_, _, _, scene| scene.way_out = false)), Hold::NoWayOut);
    assert_eq!(held(&decided(|_, _, records, _| records.all[1].proxied = true)), Hold::Proxied);
    assert_eq!(held(&decided(|_, _, records, _| records.all.push(record(1)))), Hold::Repeated);
    assert_eq!(held(&decided(|_, _, records, _| records.read_at = NOW - mins(3))), Hold::Unread);
    let last = Some(NOW - mins(4));
    assert_eq!(held(&decided(|_, _, _, scene| scene.last_change = last)), Hold::Interval(NOW + mins(1)));
    let two = decided(|_, _, records, _| *records = self::records(&[1, 2]));
    assert_eq!(held(&two), Hold::TooFew { stay: 1, least: 2 }, "of two, one is not more than half");
    let many = decided(|policy, _, _, _| policy.min_records = Some(3));
    assert_eq!(held(&many), Hold::TooFew { stay: 2, least: 3 });
    let unknown = decided(|_, members, _, _| members[1..].iter_mut().for_each(|it| it.condition = Condition::Unknown));
    assert_eq!(held(&unknown), Hold::NobodyWell);
    // A stranger's record is nobody's to judge.
    let stranger = decided(|_, members, _, _| _ = members.remove(0));
    assert_eq!(stranger, []);
}

#[test]
fn all_at_once_and_two_of_three_move_no_more_than_the_guards_let() {
    let all = decided(|_, members, _, _| members.iter_mut().for_each(|it| it.condition = FAILING));
    assert!(
        all.iter().all(|it| matches!(it, Decision::Hold { why: Hold::NobodyWell, .. })) && all.len() == 3,
        "{all:?}"
    );
    let two = decided(|_, members, _, _| members[1].condition = FAILING);
    let [Decision::Do(first), Decision::Hold { why: Hold::Interval(_), .. }] = &two[..] else { panic!("{two:?}") };
    assert_eq!(*first, withdraws(1));
    let journal = [withdrawn(1)];
    let later = {
        let members = [member(1, FAILING), member(2, FAILING), member(3, WELL)];
        let records = records(&[2, 3]);
        let scene =
            Scene { members: &members, records: Some(&records), journal: &journal, last_change: None, way_out: true };
        decide(&policy(Mode::Act), &scene, NOW)
    };
    let [Decision::Hold { why: Hold::StillOut, .. }, Decision::Hold { why, .. }] = &later[..] else {
        panic!("{later:?}")
    };
    assert_eq!(*why, Hold::TooFew { stay: 1, least: 2 });
}

#[test]
fn what_is_withdrawn_comes_back_or_is_named() {
    let of = |members: &[Member], shown: &[u8]| {
        let (records, journal) = (records(shown), [withdrawn(1)]);
        let scene = Scene { members, records: Some(&records), journal: &journal, last_change: None, way_out: false };
        decide(&policy(Mode::Act), &scene, NOW)
    };
    let others = [member(2, WELL), member(3, WELL)];
    let with = |condition| [vec![member(1, condition)], others.to_vec()].concat();
    assert_eq!(of(&with(WELL), &[2, 3]), [Decision::Do(Change::Restore(withdrawn(1)))]);
    let lately = Condition::Well { since: NOW - mins(1) };
    assert_eq!(held(&of(&with(lately), &[2, 3])), Hold::Until(NOW + mins(4)));
    assert_eq!(held(&of(&with(FAILING), &[2, 3])), Hold::StillOut);
    assert_eq!(held(&of(&with(Condition::Unknown), &[2, 3])), Hold::StillOut);
    assert_eq!(held(&of(&others, &[2, 3])), Hold::NotConfigured);
    // Somebody has brought it back, or a crash came between the journal and the change.
    assert_eq!(of(&with(FAILING), &[1, 2, 3]), [Decision::Close(withdrawn(1))]);
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

const STEP: SignedDuration = SignedDuration::from_mins(1);

/// DNS, the nodes and certd's memory.
struct World {
    random: Random,
    now: Timestamp,
    policy: Policy,
    members: Vec<Member>,
    dns: Vec<Record>,
    journal: Vec<Withdrawn>,
    last_change: Option<Timestamp>,
    way_out: bool,
    /// Everything works, and nobody edits.
    calm: bool,
    changes: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let count = 1 + random.below(6) as u8;
        let members = (1..=count).map(|number| member(number, WELL)).collect();
        let mut dns: Vec<Record> = (1..=count).map(record).collect();
        if random.one_in(4) {
            dns.push(record(200));
        }
        let min_records = random.one_in(4).then(|| 1 + random.below(3));
        let policy = Policy { min_records, ..policy(Mode::Act) };
        let (journal, last_change) = Default::default();
        Self { random, now: NOW, policy, members, dns, journal, last_change, way_out: true, calm: false, changes: 0 }
    }

    /// What happens beside certd.
    fn live(&mut self) {
        let (now, count) = (self.now, self.members.len());
        for number in 0..count {
            if self.random.one_in(8) {
                self.members[number].condition = match self.random.below(5) {
                    0 | 1 => Condition::Failing { since: now },
                    2 => Condition::Unknown,
                    _ => Condition::Well { since: now },
                };
            }
        }
        if self.random.one_in(15) {
            self.way_out = !self.way_out;
        }
        if self.random.one_in(10) {
            self.edit();
        }
    }

    /// A person's hand in the zone.
    fn edit(&mut self) {
        let number = 1 + self.random.below(self.members.len()) as u8;
        match self.random.below(7) {
            0 => self.dns.push(record(number)),
            1 => self.dns.retain(|record| record.address != ip(number)),
            2 => self.dns.iter_mut().for_each(|record| record.version.push('0')),
            3 => self.dns.iter_mut().for_each(|record| record.proxied = !record.proxied),
            4 => self.dns.push(record(201)),
            5 => self.dns.dedup(),
            _ => {
                // The node gets another address, and its record is left behind.
                self.members[usize::from(number) - 1].addresses = [ip(number + 100)].into();
            }
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        if !self.calm {
            self.live();
        }
        let read = (self.calm || !self.random.one_in(6)).then(|| Records { read_at: self.now, all: self.dns.clone() });
        let scene = Scene {
            members: &self.members,
            records: read.as_ref(),
            journal: &self.journal,
            last_change: self.last_change,
            way_out: self.way_out,
        };
        let decisions = decide(&self.policy, &scene, self.now);
        assert!(decisions.iter().filter(|it| matches!(it, Decision::Do(_))).count() <= 1, "{decisions:?}");
        for decision in decisions {
            match decision {
                Decision::Do(change) => self.change(change),
                Decision::Close(closed) => {
                    assert!(self.dns.iter().any(|record| record.address == closed.record.address));
                    self.journal.retain(|withdrawn| *withdrawn != closed);
                }
                Decision::Advise(change) => panic!("{change:?}"),
                Decision::Hold { .. } => {}
            }
        }
    }

    /// The journal first; the API may fail, and a person may be faster.
    fn change(&mut self, change: Change) {
        assert!(self.last_change.is_none_or(|last| self.now.duration_since(last) >= self.policy.interval));
        self.last_change = Some(self.now);
        if let Change::Withdraw { node, record } = &change {
            self.guarded(node, record);
            self.journal.push(Withdrawn { node: node.clone(), record: record.clone(), at: self.now });
        }
        if let Change::Restore(back) = &change {
            let owner = self.members.iter().find(|member| member.node == back.node).expect("it is configured");
            let Condition::Well { since } = owner.condition else { panic!("{owner:?} is not well") };
            assert!(owner.addresses.contains(&back.record.address));
            assert!(self.now.duration_since(since) >= self.policy.restore_after);
        }
        if !self.calm && self.random.one_in(5) {
            return;
        }
        if !self.calm && self.random.one_in(10) {
            self.edit();
        }
        match change {
            Change::Withdraw { record, .. } => {
                let before = self.dns.len();
                let same: Vec<usize> =
                    (0..before).filter(|number| self.dns[*number].address == record.address).collect();
                if let [only] = same[..]
                    && self.dns[only] == record
                {
                    self.dns.remove(only);
                    self.changes += 1;
                }
            }
            Change::Restore(back) => {
                if !self.dns.iter().any(|record| record.address == back.record.address) {
                    self.dns.push(back.record.clone());
                }
                self.journal.retain(|withdrawn| *withdrawn != back);
            }
        }
    }

    fn guarded(&self, node: &NodeName, record: &Record) {
        let owner = self.members.iter().find(|member| member.node == *node).expect("a configured node");
        assert!(owner.addresses.contains(&record.address), "a record of the node");
        let Condition::Failing { since } = owner.condition else { panic!("{node} does not fail") };
        assert!(self.now.duration_since(since) >= self.policy.after);
        assert!(self.way_out, "our own way out is there");
        assert!(self.dns.iter().all(|record| !record.proxied), "no proxied record");
        let same: Vec<&Record> = self.dns.iter().filter(|other| other.address == record.address).collect();
        assert_eq!(same, [record], "as it was read, and no weight");
        let shown: BTreeSet<IpAddr> = self.dns.iter().map(|record| record.address).collect();
        let out = self.journal.iter().map(|withdrawn| withdrawn.record.address);
        let all: BTreeSet<IpAddr> = shown.iter().copied().chain(out).collect();
        match self.policy.min_records {
            Some(least) => assert!(shown.len() > least),
            None => assert!(2 * (shown.len() - 1) > all.len(), "more than half stay"),
        }
        let well = |member: &&Member| matches!(member.condition, Condition::Well { .. });
        let mut well = self.members.iter().filter(well).flat_map(|member| &member.addresses);
        assert!(well.any(|address| shown.contains(address)), "visitors find a node that is well");
    }

    /// Everybody is well from now on.
    fn calm_down(&mut self) {
        (self.calm, self.way_out) = (true, true);
        let since = self.now;
        self.members.iter_mut().for_each(|member| member.condition = Condition::Well { since });
    }
}

#[test]
fn ten_thousand_histories_break_no_guard_and_leave_nothing_behind() {
    let (mut changes, mut named) = (0, 0);
    for seed in 0..10_000 {
        let mut world = World::new(seed);
        (0..40).for_each(|_| world.step());
        world.calm_down();
        // A return needs five minutes of good health, and five since the change before it.
        (0..6 + 6 * world.journal.len()).for_each(|_| world.step());
        changes += world.changes;
        for left in &world.journal {
            let owner = world.members.iter().find(|member| member.node == left.node);
            let is_own = owner.is_some_and(|member| member.addresses.contains(&left.record.address));
            assert!(!is_own, "seed {seed}: {left:?} is not back");
            let records = Records { read_at: world.now, all: world.dns.clone() };
            let scene = Scene {
                members: &world.members,
                records: Some(&records),
                journal: &world.journal,
                last_change: None,
                way_out: true,
            };
            let decisions = decide(&world.policy, &scene, world.now);
            let (node, address, why) = (left.node.clone(), left.record.address, Hold::NotConfigured);
            assert!(decisions.contains(&Decision::Hold { node, address, why }), "seed {seed}: {left:?} is not named");
            named += 1;
        }
    }
    assert!(changes > 2_000, "the histories hold something: {changes}");
    assert!(named > 10, "and some of what a person has to decide: {named}");
}

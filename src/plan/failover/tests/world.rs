//! A simulated name: nodes, a provider with its faults, people who edit, a clock that jumps, and certd's memory.

use std::collections::{BTreeMap, BTreeSet};

use super::oracle::Oracle;
use super::*;
use crate::model::Swap;
use crate::plan::tests::Draw;

pub(super) struct World {
    pub(super) draw: Draw,
    pub(super) policy: Policy,
    pub(super) members: Vec<Member>,
    /// Since when each has its condition, by a clock that no jump takes back.
    pub(super) since: Vec<i64>,
    pub(super) dns: Vec<AddressRecord>,
    pub(super) journal: Vec<Withdrawal>,
    /// TXT records that say what is withdrawn.
    markers: BTreeMap<IpAddr, Withdrawal>,
    pub(super) last_change: Option<Timestamp>,
    pub(super) way_out: bool,
    /// Whose records the provider refuses to change, for ever; and where it always finds another change.
    pub(super) refused: BTreeSet<IpAddr>,
    pub(super) stubborn: BTreeSet<IpAddr>,
    pub(super) oracle: Oracle,
    /// Everything works, and nobody edits.
    pub(super) calm: bool,
    /// The service stores no instant of the future.
    clamps: bool,
    minute: i64,
    /// Of the clock of this machine, in minutes; and the sum of its jumps ahead.
    skew: i64,
    ahead: i64,
    jumped: i64,
    /// What the provider shows, now and before.
    shown: [Vec<AddressRecord>; 2],
    /// When the last reading was, if it can be used again.
    kept: Option<Timestamp>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut draw = Draw(seed);
        let mut members = Vec::new();
        for number in 1..=small(&mut draw, 6) + 1 {
            members.push(member(number, WELL));
            if draw.chance(2) {
                members.push(member6(number, WELL));
            }
        }
        let mut addresses: BTreeSet<IpAddr> = members.iter().map(|member| member.address).collect();
        if draw.chance(4) {
            addresses.extend([ip(200), ip6(200)]);
        }
        if draw.chance(4) {
            members.push(Member { node: node(90), ..member(1, WELL) });
        }
        let mut some = |one_in| addresses.iter().filter(|_| draw.chance(one_in)).copied().collect::<BTreeSet<_>>();
        let (refused, stubborn) = (some(12), some(12));
        let dns: Vec<AddressRecord> = addresses.iter().map(|address| record(*address)).collect();
        let mut minutes = |below| mins(i64::from(small(&mut draw, below)) + 1);
        let (after, restore_after, interval) = (minutes(4), minutes(6), minutes(5));
        let min_records = draw.chance(3).then(|| usize::from(small(&mut draw, 4)));
        let (clamps, since) = (draw.chance(2), vec![i64::MIN / 2; members.len()]);
        Self {
            draw,
            policy: Policy { mode: Mode::Act, after, restore_after, min_records, interval },
            members,
            since,
            shown: [dns.clone(), dns.clone()],
            dns,
            journal: Vec::new(),
            markers: BTreeMap::new(),
            last_change: None,
            way_out: true,
            refused,
            stubborn,
            oracle: Oracle::default(),
            calm: false,
            clamps,
            minute: 0,
            skew: 0,
            ahead: 0,
            jumped: 0,
            kept: None,
        }
    }

    /// What the clock of this machine shows.
    pub(super) fn wall(&self) -> Timestamp {
        NOW + mins(self.minute + self.skew)
    }

    /// Minutes by a clock that goes ahead with every jump, and never back.
    pub(super) fn elapsed(&self) -> i64 {
        self.minute + self.ahead
    }

    pub(super) fn tick(&mut self) {
        self.minute += 1;
        if !self.calm {
            self.live();
        }
        let now = self.wall();
        if self.clamps || self.calm {
            self.journal.iter_mut().chain(self.markers.values_mut()).for_each(|entry| _ = entry.clamp(now));
            self.last_change = self.last_change.map(|last| last.min(now));
            for member in &mut self.members {
                member.condition = match member.condition {
                    Condition::Well { since } => Condition::Well { since: since.min(now) },
                    Condition::Failing { since } => Condition::Failing { since: since.min(now) },
                    Condition::Unknown => Condition::Unknown,
                };
            }
        }
        self.shown.swap(0, 1);
        self.shown[0].clone_from(&self.dns);
        let (records, is_exact) = self.read();
        let (members, journal) = (&self.members[..], &self.journal[..]);
        let records = records.as_ref();
        let scene = Scene { members, records, journal, last_change: self.last_change, way_out: self.way_out };
        let decisions = decide(&self.policy, &scene, now);
        self.judge(&decisions, is_exact);
        for decision in decisions {
            match decision {
                Decision::Do(change) => self.attempt(&change, &records.expect("a reading").all),
                Decision::Close(closed) => {
                    self.may_close(&closed);
                    self.journal.retain(|entry| *entry != closed);
                    if !self.journal.iter().any(|entry| entry.record.address == closed.record.address) {
                        self.markers.remove(&closed.record.address);
                    }
                }
                Decision::Advise(_) | Decision::Hold { .. } => {}
            }
        }
    }

    /// What is read; and whether it is all that is there.
    fn read(&mut self) -> (Option<Records>, bool) {
        let anew = |all: &Vec<AddressRecord>, read_at| Some(Records { read_at, all: all.clone() });
        let now = self.wall();
        // A view that is older than the clock makes it can be known by nothing.
        let steady = self.minute - self.jumped > 3;
        let (records, is_exact) = match self.draw.number(10) {
            _ if self.calm => (anew(&self.dns, now), true),
            0 => (None, false),
            1 if steady => (self.kept.and_then(|read_at| anew(&self.shown[1], read_at)), false),
            2 | 3 if steady => (anew(&self.shown[1], now), false),
            _ => (anew(&self.dns, now), true),
        };
        self.kept = is_exact.then_some(now);
        (records, is_exact)
    }

    /// As the service carries it out.
    fn attempt(&mut self, change: &Change, all: &[AddressRecord]) {
        self.may_attempt(change);
        let now = self.wall();
        journal::begin(&mut self.journal, change, "it fails", now);
        self.last_change = Some(now);
        if let Change::Withdraw { record, .. } = change {
            let begun = self.journal.iter().find(|entry| entry.record.address == record.address);
            self.markers.insert(record.address, begun.expect("it is journalled").clone());
        }
        let fault = if self.calm { 99 } else { self.draw.number(30) };
        if fault == 0 {
            return; // Killed.
        }
        if fault == 1 || fault == 2 {
            self.edit();
        }
        let answer = self.ask(change, all, fault == 3 || fault == 4);
        // An answer may be lost on its way.
        let answer = answer.filter(|_| fault != 5 && fault != 6);
        journal::end(&mut self.journal, change, answer.as_ref());
        if let (Change::Restore(entry), Some(Swap::Done)) = (change, answer) {
            self.markers.remove(&entry.record.address);
        }
    }

    /// The provider, which compares and swaps.
    fn ask(&mut self, change: &Change, all: &[AddressRecord], fails: bool) -> Option<Swap> {
        let (Change::Withdraw { record, .. } | Change::Restore(Withdrawal { record, .. })) = change;
        if fails || self.refused.contains(&record.address) {
            return None;
        }
        let sorted = |records: &[AddressRecord]| records.iter().cloned().collect::<BTreeSet<_>>();
        let is_same = all.len() == self.dns.len() && sorted(all) == sorted(&self.dns);
        if !is_same || self.stubborn.contains(&record.address) {
            return Some(Swap::Changed("it is another".to_owned()));
        }
        self.may_change(change);
        match change {
            Change::Withdraw { record, .. } => self.dns.retain(|other| other != record),
            Change::Restore(entry) => {
                self.dns.push(AddressRecord { id: format!("at {}", self.minute), ..entry.record.clone() });
            }
        }
        self.oracle.is_shown(&self.dns);
        Some(Swap::Done)
    }

    /// What happens beside certd.
    fn live(&mut self) {
        for number in 0..self.members.len() {
            if self.draw.chance(10) {
                self.turn(number);
            }
        }
        if self.draw.chance(60) {
            let now = self.wall();
            (0..self.members.len()).for_each(|number| self.set(number, Condition::Failing { since: now }));
        }
        if self.draw.chance(20) {
            self.way_out = !self.way_out;
        }
        if self.draw.chance(25) {
            self.policy.mode = [Mode::Off, Mode::Advise, Mode::Act, Mode::Act, Mode::Act][self.draw.number(5) as usize];
        }
        if self.draw.chance(10) {
            self.edit();
        }
        if self.draw.chance(60) {
            self.reconfigure();
        }
        if self.draw.chance(30) {
            self.jump();
        }
        if self.draw.chance(20) {
            self.restart();
        }
    }

    fn turn(&mut self, number: usize) {
        let since = self.wall();
        let condition = match self.draw.number(5) {
            0 | 1 => Condition::Failing { since },
            2 => Condition::Unknown,
            _ => Condition::Well { since },
        };
        let node = self.members[number].node.clone();
        let all = self.draw.chance(2);
        let of_node = |other: &usize| *other == number || all && self.members[*other].node == node;
        let numbers: Vec<usize> = (0..self.members.len()).filter(of_node).collect();
        numbers.into_iter().for_each(|number| self.set(number, condition));
    }

    /// A condition that stays began before.
    pub(super) fn set(&mut self, number: usize, condition: Condition) {
        if core::mem::discriminant(&self.members[number].condition) != core::mem::discriminant(&condition) {
            self.members[number].condition = condition;
            self.since[number] = self.elapsed();
        }
    }

    /// A person's hand in the zone.
    fn edit(&mut self) {
        let number = self.draw.number(self.members.len() as u64) as usize;
        let address = self.members[number].address;
        match self.draw.number(9) {
            0 | 1 => {
                self.dns.push(AddressRecord { ttl: 60, id: format!("by hand at {}", self.minute), ..record(address) });
                self.oracle.touched(address);
            }
            2 | 3 => self.dns.retain(|record| record.address != address),
            4 => self.dns.iter_mut().for_each(|record| record.ttl += 1),
            5 => self.dns.iter_mut().take(number).for_each(|record| record.proxied = !record.proxied),
            6 => self.dns.push(record(ip(201))),
            7 => self.dns.iter_mut().for_each(|record| record.proxied = false),
            _ if self.draw.chance(4) => self.dns.clear(),
            _ => self.dns.dedup_by_key(|record| record.address),
        }
        self.oracle.is_shown(&self.dns);
    }

    fn reconfigure(&mut self) {
        let number = self.draw.number(self.members.len() as u64) as usize;
        match self.draw.number(3) {
            0 => self.members[number].node = node(100 + number as u8),
            1 if self.members.len() > 1 => {
                self.members.remove(number);
                self.since.remove(number);
            }
            _ => {
                self.members[number].address = ip(100 + number as u8);
                self.set(number, Condition::Unknown);
            }
        }
    }

    fn jump(&mut self) {
        let far = if self.draw.chance(4) { 60 * 24 * 400 } else { 90 };
        let minutes = 1 + self.draw.number(far) as i64;
        if self.draw.chance(2) {
            self.skew -= minutes;
        } else {
            (self.skew, self.ahead) = (self.skew + minutes, self.ahead + minutes);
        }
        self.jumped = self.minute;
    }

    /// Sometimes the state directory is empty then, or a marker is read in beside its entry.
    fn restart(&mut self) {
        self.kept = None;
        let marked = self.markers.values().cloned();
        let marked = marked.map(|entry| Withdrawal { attempted_at: None, failed: 0, untouched: false, ..entry });
        let marked: Vec<Withdrawal> = marked.collect();
        if self.draw.chance(3) {
            (self.journal, self.last_change) = (marked, None);
            self.oracle.forgot_attempts();
        } else if self.draw.chance(3) {
            self.journal.extend(marked);
        }
    }

    /// From now on everybody is well, and nobody disturbs.
    pub(super) fn calm_down(&mut self) {
        (self.calm, self.way_out, self.policy.mode) = (true, true, Mode::Act);
        self.dns.iter_mut().for_each(|record| record.proxied = false);
        let since = self.wall();
        (0..self.members.len()).for_each(|number| self.set(number, Condition::Well { since }));
    }
}

fn small(draw: &mut Draw, below: u64) -> u8 {
    u8::try_from(draw.number(below)).unwrap()
}

//! What holds in every history, judged by what the world knows and by nothing of the decision.

use std::collections::{BTreeMap, BTreeSet};

use super::world::World;
use super::*;

#[derive(Default)]
pub(super) struct Oracle {
    /// What certd has removed, and nobody has brought back.
    pub(super) out: BTreeMap<IpAddr, AddressRecord>,
    withdrawn: BTreeMap<IpAddr, i64>,
    last_attempt: Option<i64>,
    pub(super) withdrawals: usize,
    pub(super) returns: usize,
    pub(super) closed: usize,
}

impl Oracle {
    pub(super) fn is_shown(&mut self, dns: &[AddressRecord]) {
        dns.iter().for_each(|record| _ = self.out.remove(&record.address));
    }

    /// A person has brought it back, without a wait.
    pub(super) fn touched(&mut self, address: IpAddr) {
        self.withdrawn.remove(&address);
    }

    /// With the state directory; only a marker tells of the last withdrawal.
    pub(super) fn forgot_attempts(&mut self) {
        self.last_attempt = self.out.keys().filter_map(|address| self.withdrawn.get(address)).max().copied();
    }
}

impl World {
    /// What is out is named, whatever the mode; and so is what fails in DNS, if failover is on.
    pub(super) fn judge(&self, decisions: &[Decision], is_exact: bool) {
        let changes = decisions.iter().filter(|it| matches!(it, Decision::Do(_) | Decision::Advise(_))).count();
        assert!(changes <= 1, "{decisions:?}");
        let named: BTreeSet<IpAddr> = decisions.iter().map(address_of).collect();
        for record in self.oracle.out.values() {
            let names = |it: &&Decision| address_of(it) == record.address && !matches!(it, Decision::Close(_));
            assert!(decisions.iter().any(|it| names(&it)), "{record:?} is lost: {decisions:?}");
        }
        let fails = |member: &&Member| matches!(member.condition, Condition::Failing { .. });
        let shown = |address| self.dns.iter().any(|record| record.address == address);
        for member in self.members.iter().filter(fails).filter(|member| shown(member.address)) {
            let silent = self.policy.mode == Mode::Off || !is_exact;
            assert!(silent || named.contains(&member.address), "{member:?} is not named: {decisions:?}");
        }
    }

    pub(super) fn may_close(&mut self, closed: &Withdrawal) {
        assert!(!self.oracle.out.contains_key(&closed.record.address), "{closed:?} is out");
        self.oracle.closed += 1;
    }

    /// Before the provider is asked.
    pub(super) fn may_attempt(&mut self, change: &Change) {
        assert_eq!(self.policy.mode, Mode::Act);
        assert!(self.way_out, "who knows what is cut off");
        let now = self.elapsed();
        let interval = self.policy.interval.as_mins();
        assert!(self.oracle.last_attempt.is_none_or(|last| now - last >= interval), "one change in an interval");
        self.oracle.last_attempt = Some(now);
        match change {
            Change::Withdraw { node, record } => {
                assert!(self.at(record.address).any(|(member, _)| member.node == *node), "a configured node");
                for (member, since) in self.at(record.address) {
                    assert!(matches!(member.condition, Condition::Failing { .. }), "{member:?} does not fail");
                    assert!(now - since >= self.policy.after.as_mins(), "{member:?} fails since {since}, now {now}");
                }
            }
            Change::Restore(entry) => {
                assert!(self.at(entry.record.address).count() > 0, "a configured node");
                for (member, since) in self.at(entry.record.address) {
                    assert!(matches!(member.condition, Condition::Well { .. }), "{member:?} is not well");
                    assert!(now - since >= self.policy.restore_after.as_mins(), "{member:?} is well since {since}");
                }
            }
        }
    }

    /// When the records are found as they were read.
    pub(super) fn may_change(&mut self, change: &Change) {
        assert!(self.dns.iter().all(|record| !record.proxied), "a proxied record");
        let now = self.elapsed();
        match change {
            Change::Withdraw { record, .. } => {
                let same: Vec<&AddressRecord> =
                    self.dns.iter().filter(|other| other.address == record.address).collect();
                assert_eq!(same, [record], "as it was read, and no weight");
                self.leaves_enough(record.address);
                let pause = (self.policy.after + self.policy.restore_after).as_mins();
                let last = self.oracle.withdrawn.insert(record.address, now);
                assert!(last.is_none_or(|last| now - last >= pause), "it flaps: {last:?}, {now}");
                self.oracle.out.insert(record.address, record.clone());
                self.oracle.withdrawals += 1;
            }
            Change::Restore(entry) => {
                assert!(!self.dns.is_empty(), "a name that is another's now");
                assert!(self.dns.iter().all(|record| record.address != entry.record.address), "it is there");
                if let Some(removed) = self.oracle.out.get(&entry.record.address) {
                    assert_eq!(*removed, entry.record, "as it was");
                }
                self.oracle.returns += 1;
            }
        }
    }

    fn leaves_enough(&self, address: IpAddr) {
        let of_family = |record: &&AddressRecord| record.address.is_ipv6() == address.is_ipv6();
        let before: BTreeSet<IpAddr> = self.dns.iter().filter(of_family).map(|record| record.address).collect();
        let out = self.oracle.out.values().filter(of_family).map(|record| record.address);
        let out: BTreeSet<IpAddr> = out.filter(|address| self.at(*address).count() > 0).collect();
        let (stay, whole) = (before.len() - 1, before.union(&out).count());
        assert!(stay > 0, "the last one");
        match self.policy.min_records {
            Some(least) => assert!(stay >= least, "{stay} stay"),
            None => assert!(2 * stay > whole, "{stay} of {whole} stay"),
        }
        let is_well = |member: &Member| matches!(member.condition, Condition::Well { .. });
        let mut serving = before.iter().filter(|other| **other != address);
        let well = serving.any(|other| self.at(*other).count() > 0 && self.at(*other).all(|(it, _)| is_well(it)));
        assert!(well, "visitors find a node that is well");
    }

    pub(super) fn at(&self, address: IpAddr) -> impl Iterator<Item = (&Member, i64)> {
        let members = self.members.iter().zip(self.since.iter().copied());
        members.filter(move |(member, _)| member.address == address)
    }
}

pub(super) fn address_of(decision: &Decision) -> IpAddr {
    match decision {
        Decision::Do(change) | Decision::Advise(change) => match change {
            Change::Withdraw { record, .. } => record.address,
            Change::Restore(entry) => entry.record.address,
        },
        Decision::Close(entry) => entry.record.address,
        Decision::Hold { address, .. } => *address,
    }
}

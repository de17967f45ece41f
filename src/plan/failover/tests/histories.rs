//! Ten thousand random histories: no guard is broken, nothing is lost, and in quiet times everything happens in time.

use std::collections::BTreeSet;

use super::world::World;
use super::*;

const HISTORIES: u64 = 10_000;
const MINUTES: usize = 30;
/// A return that failed is tried once an hour at the latest.
const LONGEST: i64 = 75;

#[derive(Debug, Default)]
struct Seen {
    withdrawals: usize,
    returns: usize,
    closed: usize,
    /// Withdrawn, and a person has to decide.
    left: usize,
    /// Out again and back, in quiet times.
    round_trips: usize,
}

impl World {
    /// What the provider does not let happen, or a person has to decide.
    fn is_stuck(&self, entry: &Withdrawal) -> bool {
        let address = entry.record.address;
        let is_own = self.at(address).any(|(member, _)| member.node == entry.node);
        let shown = self.dns.iter().any(|record| record.address == address);
        !shown && (!is_own || self.is_refused(address) || self.dns.is_empty())
    }

    fn is_refused(&self, address: IpAddr) -> bool {
        self.refused.contains(&address) || self.stubborn.contains(&address)
    }

    fn stuck(&self) -> i64 {
        self.journal.iter().filter(|entry| self.is_stuck(entry)).count() as i64
    }

    fn shows(&self, address: IpAddr) -> bool {
        self.dns.iter().any(|record| record.address == address)
    }

    /// Ticks until it is so, and at most so often.
    fn wait(&mut self, minutes: i64, so: impl Fn(&Self) -> bool) -> bool {
        (0..minutes).any(|_| {
            self.tick();
            so(self)
        }) || so(self)
    }

    /// An address that may be withdrawn, with room to spare, when all is well.
    fn spare(&self) -> Option<IpAddr> {
        let mut addresses = self.members.iter().map(|member| member.address);
        addresses.find(|address| {
            let family: Vec<&AddressRecord> =
                self.dns.iter().filter(|record| record.address.is_ipv6() == address.is_ipv6()).collect();
            let out = self.journal.iter().filter(|entry| entry.record.address.is_ipv6() == address.is_ipv6()).count();
            let distinct: BTreeSet<IpAddr> = family.iter().map(|record| record.address).collect();
            let stay = distinct.len().saturating_sub(1);
            let others = self.members.iter().any(|it| it.address != *address && distinct.contains(&it.address));
            let enough = match self.policy.min_records {
                Some(least) => stay >= least.max(1),
                None => 2 * stay > distinct.len() + out,
            };
            let once = family.iter().filter(|record| record.address == *address).count() == 1;
            once && others && enough && !self.is_refused(*address)
        })
    }

    /// A node fails, and gets well.
    fn round_trip(&mut self, address: IpAddr) {
        let turn = |world: &mut Self, condition| {
            let own = |number: &usize| world.members[*number].address == address;
            let numbers: Vec<usize> = (0..world.members.len()).filter(own).collect();
            numbers.into_iter().for_each(|number| world.set(number, condition));
        };
        let interval = self.policy.interval.as_mins();
        let (after, restore_after) = (self.policy.after.as_mins(), self.policy.restore_after.as_mins());
        let turns = interval * (1 + self.stuck());
        turn(self, Condition::Failing { since: self.wall() });
        assert!(self.wait(after + turns + 1, |world| !world.shows(address)), "{address} fails and stays");
        assert!(self.oracle.out.contains_key(&address));
        turn(self, Condition::Well { since: self.wall() });
        assert!(self.wait(restore_after + turns + 1, |world| world.shows(address)), "{address} does not come back");
        assert!(self.journal.iter().all(|entry| entry.record.address != address));
    }
}

fn history(seed: u64, seen: &mut Seen) {
    let mut world = World::new(seed);
    (0..MINUTES).for_each(|_| world.tick());
    world.calm_down();
    let entries = i64::try_from(world.journal.len()).unwrap();
    let longest = LONGEST + 2 * world.policy.interval.as_mins() * entries;
    let settled = world.wait(longest, |world| world.journal.iter().all(|entry| world.is_stuck(entry)));
    assert!(settled, "not back: {:?}", world.journal);
    for address in world.oracle.out.keys() {
        assert!(world.journal.iter().any(|entry| entry.record.address == *address), "{address} is lost");
    }
    seen.left += world.journal.len();
    if let Some(address) = world.spare() {
        world.round_trip(address);
        seen.round_trips += 1;
    }
    seen.withdrawals += world.oracle.withdrawals;
    seen.returns += world.oracle.returns;
    seen.closed += world.oracle.closed;
}

#[test]
fn ten_thousand_histories_break_no_guard_lose_nothing_and_leave_nothing_waiting() {
    let mut seen = Seen::default();
    for seed in 0..HISTORIES {
        let ended = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| history(seed, &mut seen)));
        assert!(ended.is_ok(), "in history {seed}");
    }
    let Seen { withdrawals, returns, closed, left, round_trips } = seen;
    assert!(withdrawals > 8_000 && returns > 8_000 && closed > 1_000, "the histories hold something: {seen:?}");
    assert!(left > 300 && round_trips > 4_000, "{seen:?}");
}

/// Five nodes, of which four fail, one after the other. The provider refuses the first for ever, and finds the third changed each
/// time. Where the interval is longer than any back-off, both could be tried each time.
#[test]
fn a_withdrawal_that_is_refused_for_ever_does_not_keep_another_from_its_turn() {
    for interval in [1, 10, 90] {
        let mut world = World::new(0);
        world.members = (1..=5).map(|number| member(number, WELL)).collect();
        world.since = vec![0; 5];
        world.dns = (1..=5).map(|number| record(ip(number))).collect();
        (world.refused, world.stubborn) = (BTreeSet::from([ip(1)]), BTreeSet::from([ip(3)]));
        (world.policy.interval, world.policy.min_records) = (mins(interval), Some(1));
        world.calm_down();
        for number in 0..4 {
            world.set(number, Condition::Failing { since: world.wall() });
            world.tick();
        }
        let gone = |world: &World| !world.shows(ip(2)) && !world.shows(ip(4));
        assert!(world.wait(10 + 6 * interval, gone), "{interval}: {:?}", world.journal);
        assert!(world.shows(ip(1)) && world.shows(ip(3)));
        assert!(world.journal.iter().any(|entry| entry.record.address == ip(1) && entry.failed > 0));
    }
}

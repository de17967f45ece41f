//! What is known beside the records, as it is when it is asked for.

use core::net::IpAddr;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::cert::NodeName;
use crate::model::Withdrawal;
use crate::observe::witness::WayOut;
use crate::plan::failover::{Change, Condition, Decision, Hold, Member, Mode, Policy, Records, Scene, decide};

#[async_trait]
pub(crate) trait Outlook: Sync {
    /// Each address of each node of the name, as it is now.
    fn members(&self, journal: &[Withdrawal], now: Timestamp) -> Vec<Member>;

    async fn way_out(&self, members: &[Member]) -> WayOut;

    /// The reason of a withdrawal, escaped.
    fn why(&self, change: &Change) -> String;
}

/// Decides by a new look, and says of which instant it is.
pub(super) async fn look(
    outlook: &dyn Outlook,
    policy: &Policy,
    records: Option<&Records>,
    journal: &[Withdrawal],
    last_change: Option<Timestamp>,
    clock: &(dyn Fn() -> Timestamp + Sync),
) -> (Vec<Decision>, Timestamp) {
    let members = outlook.members(journal, clock());
    let fails = |member: &Member| matches!(member.condition, Condition::Failing { .. });
    // Where nothing can be done, no witness is asked, and nothing is done.
    let may_act = policy.mode != Mode::Off && (!journal.is_empty() || members.iter().any(fails));
    let way_out = if may_act { outlook.way_out(&members).await } else { WayOut::default() };
    let now = clock();
    let members = outlook.members(journal, now);
    let scene = Scene { members: &members, records, journal, last_change, way_out: false };
    (decide_by_route(policy, &scene, &way_out, now), now)
}

/// A record whose kind of address no witness is reached over stays as it is, and keeps none from its turn.
pub(crate) fn decide_by_route(policy: &Policy, scene: &Scene<'_>, way_out: &WayOut, now: Timestamp) -> Vec<Decision> {
    let scene = Scene { way_out: way_out.is_any(), ..scene.clone() };
    let decisions = decide(policy, &scene, now);
    let cut_off = |decision: &Decision| {
        matches!(decision, Decision::Do(_) | Decision::Advise(_)) && !way_out.reaches(of(decision).1)
    };
    if !decisions.iter().any(cut_off) {
        return decisions;
    }
    let seen = |member: &Member| match way_out.reaches(member.address) {
        true => member.clone(),
        false => Member { condition: Condition::Unknown, ..member.clone() },
    };
    let members: Vec<Member> = scene.members.iter().map(seen).collect();
    let rest = decide(policy, &Scene { members: &members, ..scene }, now);
    let held = |decision: Decision| {
        if !cut_off(&decision) {
            return decision;
        }
        let (node, address) = of(&decision);
        Decision::Hold { node: node.clone(), address, why: Hold::NoWayOut }
    };
    // What the mask hides is named as it was.
    let rest = rest.into_iter().filter(|decision| way_out.reaches(of(decision).1));
    let hidden = decisions.into_iter().filter(|decision| !way_out.reaches(of(decision).1)).map(held);
    rest.chain(hidden).collect()
}

fn of(decision: &Decision) -> (&NodeName, IpAddr) {
    match decision {
        Decision::Do(Change::Withdraw { node, record }) | Decision::Advise(Change::Withdraw { node, record }) => {
            (node, record.address)
        }
        Decision::Do(Change::Restore(entry)) | Decision::Advise(Change::Restore(entry)) | Decision::Close(entry) => {
            (&entry.node, entry.record.address)
        }
        Decision::Hold { node, address, .. } => (node, *address),
    }
}

//! What keeps a record in DNS although its node fails.

use super::*;

#[test]
fn the_record_of_a_node_that_fails_is_withdrawn_as_it_was_read() {
    assert_eq!(Case::new().decide(), [Decision::Do(withdraws(1))]);
    let advised = Case::new().with(|case| case.policy.mode = Mode::Advise);
    assert_eq!(advised.decide(), [Decision::Advise(withdraws(1))]);
    assert_eq!(Case::new().with(|case| case.policy.mode = Mode::Off).decide(), []);
    assert_eq!(Case::new().with(|case| case.members[0].condition = Condition::Unknown).decide(), []);
    assert_eq!(Case::new().with(|case| case.members[0].condition = WELL).decide(), []);
    assert_eq!(Case::new().shown(&[ip(2), ip(3)]).decide(), [], "it is in no record");
    let other = Case::new().with(|case| (case.all()[0].ttl, case.all()[0].comment) = (60, Some("mine".to_owned())));
    let Change::Withdraw { record, .. } = other.done() else { panic!() };
    assert_eq!((record.ttl, record.comment.as_deref()), (60, Some("mine")));
}

#[test]
fn it_has_to_fail_for_long_enough() {
    let of = |condition| Case::new().with(|case| case.members[0].condition = condition);
    assert_eq!(of(failing(1)).held(), Hold::Until(NOW + mins(1)));
    assert_eq!(of(failing(2)).done(), withdraws(1));
}

#[test]
fn a_broken_way_out_moves_nothing() {
    assert_eq!(Case::new().with(|case| case.way_out = false).held(), Hold::NoWayOut);
    assert_eq!(Case::out(WELL).with(|case| case.way_out = false).held(), Hold::NoWayOut);
}

#[test]
fn a_name_with_a_proxied_record_is_left_alone() {
    for index in 0..3 {
        assert_eq!(Case::new().with(|case| case.all()[index].proxied = true).held(), Hold::Proxied);
    }
    assert_eq!(Case::out(WELL).with(|case| case.all()[1].proxied = true).held(), Hold::Proxied);
    assert_eq!(Case::out(WELL).with(|case| case.journal[0].record.proxied = true).held(), Hold::Proxied);
}

#[test]
fn repeated_addresses_are_weights_and_stay() {
    assert_eq!(Case::new().with(|case| case.all().push(record(ip(1)))).held(), Hold::Repeated);
    // Weights of another count once: one of two is not more than half.
    let weighted = Case::new().shown(&[ip(1), ip(2), ip(2), ip(2)]);
    assert_eq!(weighted.held(), Hold::TooFew { stay: 1, least: 2 });
}

#[test]
fn records_that_were_not_read_lately_move_nothing() {
    assert_eq!(Case::new().with(|case| case.records = None).held(), Hold::Unread);
    assert_eq!(Case::new().read(SignedDuration::from_secs(121)).held(), Hold::Unread);
    assert_eq!(Case::new().read(mins(2)).done(), withdraws(1));
    assert_eq!(Case::out(WELL).read(mins(3)).held(), Hold::Unread);
    assert_eq!(Case::out(WELL).with(|case| case.records = None).held(), Hold::Unread);
    // One from before the last change, whatever the interval.
    let old = Case::new().read(mins(1)).with(|case| case.policy.interval = SignedDuration::ZERO);
    assert_eq!(old.clone().with(|case| case.last_change = Some(NOW - mins(1))).held(), Hold::Unread);
    assert_eq!(old.with(|case| case.last_change = Some(NOW - mins(2))).done(), withdraws(1));
}

#[test]
fn one_change_is_made_in_an_interval() {
    let of = |ago| Case::new().with(|case| case.last_change = Some(NOW - mins(ago)));
    assert_eq!(of(4).held(), Hold::Interval(NOW + mins(1)));
    assert_eq!(of(5).done(), withdraws(1));
    // The journal knows of one that the state directory has lost.
    let lost = Case::new().with(|case| case.journal = vec![Withdrawal { attempted_at: None, ..entry_of(9, ip6(9)) }]);
    assert_eq!(lost.done(), withdraws(1));
    let lately = lost.clone().with(|case| case.journal[0].at = NOW - mins(1));
    assert!(lately.decide().contains(&hold(1, Hold::Interval(NOW + mins(4)))));
    let tried = lost.with(|case| case.journal[0].attempted_at = Some(NOW - mins(2)));
    assert!(tried.decide().contains(&hold(1, Hold::Interval(NOW + mins(3)))));
}

#[test]
fn more_than_half_of_all_that_the_name_had_stays() {
    let of = |count: u8, dead: u8, out: u8| {
        let condition = |number| if number <= dead { FAILING } else { WELL };
        let members = (1..=count).map(|number| member(number, condition(number)));
        let shown: Vec<IpAddr> = (out + 1..=count).map(ip).collect();
        let case = Case::new().shown(&shown).with(|case| case.journal = (1..=out).map(entry).collect());
        case.with(|case| case.members = members.collect())
    };
    let too_few = |stay, least| Hold::TooFew { stay, least };
    assert_eq!(of(2, 1, 0).held(), too_few(1, 2));
    assert_eq!(of(3, 1, 0).done(), withdraws(1));
    assert_eq!(of(3, 2, 1).decide()[1], hold(2, too_few(1, 2)));
    assert_eq!(of(4, 2, 1).decide()[1], hold(2, too_few(2, 3)));
    assert_eq!(of(5, 3, 1).done(), withdraws(2));
    assert_eq!(of(5, 3, 2).decide()[2], hold(3, too_few(2, 3)));
}

#[test]
fn no_setting_takes_the_last_record() {
    let of = |least, shown: &[u8]| {
        let shown: Vec<IpAddr> = shown.iter().map(|number| ip(*number)).collect();
        Case::new().with(|case| case.policy.min_records = Some(least)).shown(&shown)
    };
    assert_eq!(of(3, &[1, 2, 3]).held(), Hold::TooFew { stay: 2, least: 3 });
    assert_eq!(of(2, &[1, 2, 3]).done(), withdraws(1));
    assert_eq!(of(1, &[1, 2]).done(), withdraws(1), "one stays, as configured");
    assert_eq!(of(usize::MAX, &[1, 2, 3]).held(), Hold::TooFew { stay: 2, least: usize::MAX });
    let last = of(0, &[1]).with(|case| case.members[1].address = ip(1));
    assert_eq!(last.held(), Hold::Shared);
    assert_eq!(of(0, &[1]).held(), Hold::NobodyWell);
}

#[test]
fn each_family_has_its_own_count_and_its_own_nodes_that_are_well() {
    let dual = |conditions: [Condition; 3]| {
        let sixth = (1..=3).zip(conditions).map(|(number, condition)| member6(number, condition));
        let case = Case::new().with(|case| case.members.iter_mut().for_each(|member| member.condition = WELL));
        let case = case.with(|case| case.members.extend(sixth));
        case.with(|case| case.all().extend([1, 2, 3].map(ip6).map(record)))
    };
    let sixth = Change::Withdraw { node: node(1), record: record(ip6(1)) };
    assert_eq!(dual([FAILING, WELL, WELL]).decide(), [Decision::Do(sixth)], "it loses its AAAA record alone");
    // Plenty of A records make up for no AAAA record.
    let two = dual([FAILING, WELL, WELL]).with(|case| case.all().retain(|record| record.address != ip6(3)));
    assert_eq!(two.held(), Hold::TooFew { stay: 1, least: 2 });
    // And a withdrawn A record takes away no AAAA record.
    let out = dual([FAILING, WELL, WELL]).with(|case| case.journal = vec![entry(4), entry(5), entry(6)]);
    assert!(matches!(out.done(), Change::Withdraw { record, .. } if record.address == ip6(1)));
    // Nobody is well by IPv6: it may be our own.
    let none = dual([FAILING, FAILING, Condition::Unknown]).decide();
    let nobody = |it: &Decision| matches!(it, Decision::Hold { why: Hold::NobodyWell, .. });
    assert!(none.len() == 2 && none.iter().all(nobody), "{none:?}");
}

#[test]
fn all_at_once_move_nothing_and_neither_does_a_name_where_nobody_is_known_to_be_well() {
    for condition in [FAILING, Condition::Unknown] {
        let case = Case::new().with(|case| case.members[1..].iter_mut().for_each(|it| it.condition = condition));
        let all = case.with(|case| case.policy.min_records = Some(1)).decide();
        assert!(all.iter().all(|it| matches!(it, Decision::Hold { why: Hold::NobodyWell, .. })), "{all:?}");
        assert!(!all.is_empty());
    }
    // One that is well and out of DNS helps no visitor.
    let away = Case::new().with(|case| case.members[2].condition = Condition::Unknown).with(|case| {
        case.members[1].address = ip(77);
    });
    assert_eq!(away.held(), Hold::NobodyWell);
}

#[test]
fn a_record_of_no_node_is_nobodys_to_judge() {
    assert_eq!(Case::new().with(|case| _ = case.members.remove(0)).decide(), []);
}

#[test]
fn a_shared_address_goes_when_each_of_its_nodes_has_failed_for_long_enough() {
    let of = |condition| Case::new().with(|case| case.members.push(Member { node: node(4), ..member(1, condition) }));
    assert_eq!(of(WELL).held(), Hold::Shared);
    assert_eq!(of(Condition::Unknown).held(), Hold::Shared);
    assert_eq!(of(FAILING).decide(), [Decision::Do(withdraws(1))]);
    let until = Hold::Until(NOW + mins(1));
    let other = Decision::Hold { node: node(4), address: ip(1), why: until.clone() };
    assert_eq!(of(failing(1)).decide(), [hold(1, until), other], "each is named");
    // Nor is an address well that one of its nodes fails.
    let shared = Case::new().with(|case| case.members.truncate(2));
    let shared = shared.with(|case| case.members.push(Member { node: node(4), ..member(2, Condition::Unknown) }));
    assert_eq!(shared.held(), Hold::NobodyWell);
}

#[test]
fn of_several_the_longest_failing_goes_first() {
    let of = |order: &[usize]| {
        let conditions = [failing(10), failing(30), failing(20), WELL, WELL];
        let members = order.iter().map(|index| member(u8::try_from(*index).unwrap() + 1, conditions[*index]));
        let case = Case::new().with(|case| case.members = members.collect());
        case.shown(&[1, 2, 3, 4, 5].map(ip))
    };
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]] {
        assert_eq!(of(&order).done(), withdraws(2));
        let others = of(&order).decide();
        assert!(others.contains(&hold(1, Hold::Interval(NOW + mins(5)))), "{others:?}");
        assert!(others.contains(&hold(3, Hold::Interval(NOW + mins(5)))), "{others:?}");
    }
    let equal = of(&[0, 1, 2, 3, 4]).with(|case| case.members.iter_mut().take(3).for_each(|it| it.condition = FAILING));
    assert_eq!(equal.done(), withdraws(1), "deterministic");
}

#[test]
fn an_instant_in_the_future_counts_as_now_and_none_overflows() {
    let ahead = NOW + mins(60 * 24 * 365);
    let since = Case::new().with(|case| case.members[0].condition = Condition::Failing { since: ahead });
    assert_eq!(since.held(), Hold::Until(NOW + mins(2)));
    let last = Case::new().with(|case| case.last_change = Some(ahead));
    assert_eq!(last.held(), Hold::Interval(NOW + mins(5)));
    assert_eq!(Case::new().read(-mins(1)).done(), withdraws(1));
    assert_eq!(Case::new().read(-mins(3)).held(), Hold::Unread, "who knows how old it is");
    let well = Case::out(Condition::Well { since: ahead });
    assert_eq!(well.held(), Hold::Until(NOW + mins(5)));
    let at = Case::out(WELL).with(|case| (case.journal[0].at, case.journal[0].attempted_at) = (ahead, None));
    assert_eq!(at.held(), Hold::Until(NOW + mins(5)));
    let mut entry = at.journal[0].clone();
    assert!(entry.clamp(NOW) && !entry.clamp(NOW));
    assert_eq!(entry.at, NOW);
    let ends = [Timestamp::MIN, Timestamp::MAX, NOW];
    let spans = [SignedDuration::MIN, SignedDuration::MAX, SignedDuration::ZERO];
    for (now, at) in ends.iter().flat_map(|now| ends.map(|at| (*now, at))) {
        for span in spans {
            let conditions = [Condition::Well { since: at }, Condition::Failing { since: at }];
            for case in conditions.map(Case::out).into_iter().chain([Case::new()]) {
                let mut case = case.with(|case| case.last_change = Some(at)).read(SignedDuration::ZERO);
                case.records.as_mut().unwrap().read_at = at;
                case.journal.iter_mut().for_each(|it| (it.at, it.attempted_at, it.failed) = (at, Some(at), u32::MAX));
                (case.policy.after, case.policy.restore_after, case.policy.interval) = (span, span, span);
                let (members, journal) = (&case.members[..], &case.journal[..]);
                let records = case.records.as_ref();
                let scene = Scene { members, records, journal, last_change: case.last_change, way_out: true };
                _ = decide(&case.policy, &scene, now);
            }
        }
    }
}

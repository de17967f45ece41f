//! What becomes of what is in the journal.

use super::*;

#[test]
fn a_record_comes_back_when_its_node_has_been_well_for_long_enough() {
    assert_eq!(Case::out(WELL).decide(), [Decision::Do(Change::Restore(entry(1)))]);
    let advised = Case::out(WELL).with(|case| case.policy.mode = Mode::Advise);
    assert_eq!(advised.decide(), [Decision::Advise(Change::Restore(entry(1)))]);
    assert_eq!(Case::out(well(1)).held(), Hold::Until(NOW + mins(4)));
    assert_eq!(Case::out(FAILING).held(), Hold::StillOut);
    assert_eq!(Case::out(Condition::Unknown).held(), Hold::StillOut);
    // It has been out for less: nothing flaps faster.
    let short = Case::out(WELL).with(|case| (case.journal[0].at, case.journal[0].attempted_at) = (NOW - mins(3), None));
    assert_eq!(short.held(), Hold::Until(NOW + mins(2)));
    // The others all fail: this one serves.
    let others = Case::out(WELL).with(|case| case.members[1..].iter_mut().for_each(|it| it.condition = FAILING));
    assert_eq!(others.done(), Change::Restore(entry(1)));
}

#[test]
fn one_that_fails_again_waits_again() {
    let back = Case::new().with(|case| case.last_change = Some(NOW - mins(6)));
    assert_eq!(back.clone().with(|case| case.members[0].condition = failing(1)).held(), Hold::Until(NOW + mins(1)));
    assert_eq!(back.with(|case| case.members[0].condition = failing(2)).done(), withdraws(1));
}

#[test]
fn a_shared_address_comes_back_when_each_of_its_nodes_is_well() {
    let of =
        |condition| Case::out(WELL).with(|case| case.members.push(Member { node: node(4), ..member(1, condition) }));
    assert_eq!(of(FAILING).held(), Hold::Shared);
    assert_eq!(of(Condition::Unknown).held(), Hold::Shared);
    assert_eq!(of(well(1)).held(), Hold::Until(NOW + mins(4)));
    assert_eq!(of(WELL).done(), Change::Restore(entry(1)));
}

#[test]
fn what_belongs_to_no_node_any_more_waits_for_a_person() {
    for mode in [Mode::Off, Mode::Advise, Mode::Act] {
        let case = Case::out(WELL).with(|case| case.policy.mode = mode);
        let gone = case.clone().with(|case| _ = case.members.remove(0));
        assert_eq!(gone.held(), Hold::NotConfigured);
        assert_eq!(gone.clone().with(|case| case.records = None).held(), Hold::NotConfigured);
        assert_eq!(case.clone().with(|case| case.members[0].address = ip(9)).held(), Hold::NotConfigured);
    }
}

#[test]
fn a_node_that_is_called_otherwise_gets_its_record_back() {
    let renamed = Case::out(WELL).with(|case| case.members[0].node = node(9));
    assert_eq!(renamed.done(), Change::Restore(entry(1)));
}

#[test]
fn what_belongs_to_no_node_any_more_counts_for_no_guard() {
    // Node 1 was replaced by node 4 while it was out.
    let replaced = Case::out(WELL).shown(&[ip(2), ip(3), ip(4)]);
    let replaced = replaced.with(|case| case.members[0] = member(4, FAILING));
    let withdrawn = Change::Withdraw { node: node(4), record: record(ip(4)) };
    assert_eq!(replaced.done(), withdrawn);
}

#[test]
fn an_entry_does_not_end_by_an_old_view_of_its_record() {
    let shown = Case::out(WELL).with(|case| {
        let old = case.journal[0].record.clone();
        case.all().push(old);
    });
    assert_eq!(shown.held(), Hold::Unsettled(NOW + mins(30)));
    let long = shown.with(|case| (case.journal[0].at, case.journal[0].attempted_at) = (NOW - mins(61), None));
    assert_eq!(long.only(), Decision::Close(long.journal[0].clone()), "the provider was wrong");
}

#[test]
fn off_forgets_nothing() {
    let off = |condition| Case::out(condition).with(|case| case.policy.mode = Mode::Off);
    for condition in [WELL, FAILING, Condition::Unknown] {
        assert_eq!(off(condition).held(), Hold::Off);
        assert_eq!(off(condition).with(|case| case.records = None).held(), Hold::Off);
        let unsettled = off(condition).with(|case| case.last_change = Some(NOW)).shown(&[ip(1)]);
        assert_eq!(unsettled.held(), Hold::Off);
    }
    assert_eq!(off(WELL).shown(&[ip(1)]).only(), Decision::Close(entry(1)));
    let failed = off(FAILING).shown(&[ip(1)]).with(|case| case.journal[0].failed = 2);
    assert_eq!(failed.only(), Decision::Close(failed.journal[0].clone()), "nobody tries again");
}

#[test]
fn nothing_is_put_beside_a_cname() {
    assert_eq!(Case::out(WELL).shown(&[]).held(), Hold::NoRecords);
}

#[test]
fn an_entry_ends_by_a_reading_that_is_newer_than_all_that_was_done() {
    let back = |condition| Case::out(condition).shown(&[ip(1), ip(2), ip(3)]);
    for condition in [WELL, FAILING, Condition::Unknown] {
        assert_eq!(back(condition).only(), Decision::Close(entry(1)));
        assert_eq!(back(condition).with(|case| case.policy.mode = Mode::Advise).only(), Decision::Close(entry(1)));
    }
    assert_eq!(back(WELL).with(|case| case.all().push(record(ip(1)))).only(), Decision::Close(entry(1)));
    let unsettled = |minutes| Hold::Unsettled(NOW + mins(2) - mins(minutes));
    let changed = back(WELL).with(|case| case.last_change = Some(NOW - mins(1)));
    assert_eq!(changed.held(), unsettled(1));
    let journalled = back(WELL).with(|case| case.journal[0].at = NOW);
    assert_eq!(journalled.held(), unsettled(0));
    let attempted = back(WELL).with(|case| case.journal[0].attempted_at = Some(NOW - mins(1)));
    assert_eq!(attempted.held(), unsettled(1));
    // Read before, though it is recent.
    let older = back(WELL).with(|case| case.last_change = Some(NOW - mins(3))).read(mins(2));
    assert_eq!(older.held(), Hold::Unsettled(NOW - mins(1)));
    assert_eq!(back(WELL).read(mins(3)).held(), Hold::Unread);
    assert_eq!(back(WELL).with(|case| case.records = None).held(), Hold::Unread);
    // The clock was set back: the reading may be of before.
    let ahead = NOW + mins(60);
    assert_eq!(back(WELL).read(-mins(1)).held(), Hold::Unread);
    for case in [
        back(WELL).with(|case| case.last_change = Some(ahead)),
        back(WELL).with(|case| case.journal[0].at = ahead),
        back(WELL).with(|case| case.journal[0].attempted_at = Some(ahead)),
    ] {
        assert_eq!(case.held(), unsettled(0));
    }
    // Whoever has no node ends too.
    assert_eq!(back(WELL).with(|case| _ = case.members.remove(0)).only(), Decision::Close(entry(1)));
}

#[test]
fn a_withdrawal_that_failed_is_tried_again_while_the_node_fails() {
    let of = |minutes, count| Case::new().with(|case| case.journal = vec![failed(1, minutes, count)]);
    assert_eq!(of(10, 1).decide(), [Decision::Do(withdraws(1))]);
    assert_eq!(of(10, 3).held(), Hold::BackOff(NOW + mins(5)));
    assert_eq!(of(50, 9).held(), Hold::BackOff(NOW + mins(10)));
    assert_eq!(of(10, 1).with(|case| case.way_out = false).held(), Hold::NoWayOut, "all guards hold again");
    let two = of(10, 1).shown(&[ip(1), ip(2)]);
    assert_eq!(two.held(), Hold::TooFew { stay: 1, least: 2 }, "nothing counts twice");
    // It ends when its reason is gone.
    let well = of(10, 3).with(|case| case.members[0].condition = well(1));
    assert_eq!(well.only(), Decision::Close(failed(1, 10, 3)));
    assert_eq!(of(10, 0).only(), Decision::Close(failed(1, 10, 0)), "it was done, and another brought it back");
}

#[test]
fn a_return_that_failed_is_tried_again() {
    let of = |minutes, count| Case::out(WELL).with(|case| case.journal = vec![failed(1, minutes, count)]);
    assert_eq!(of(10, 1).done(), Change::Restore(failed(1, 10, 1)));
    assert_eq!(of(10, 3).held(), Hold::BackOff(NOW + mins(5)));
    assert_eq!(of(61, u32::MAX).done(), Change::Restore(failed(1, 61, u32::MAX)));
    let ahead = of(-600, 1);
    assert!(matches!(ahead.held(), Hold::BackOff(at) if at == NOW + mins(2)));
}

#[test]
fn one_that_is_refused_for_ever_keeps_nobody_from_its_turn() {
    let case = Case::out(WELL).with(|case| case.members[1].condition = failing(20));
    let case = case.with(|case| case.policy.min_records = Some(1));
    for (tried, first) in [(65, withdraws(2)), (85, Change::Restore(failed(1, 85, 9)))] {
        let case = case.clone().with(|case| case.journal = vec![failed(1, tried, 9)]);
        assert_eq!(case.done(), first, "{tried}: the one that waits longer");
    }
}

#[test]
fn what_another_removed_while_certd_removed_nothing_does_not_come_back() {
    let of = |condition| Case::out(condition).with(|case| case.journal[0].untouched = true);
    for condition in [WELL, FAILING] {
        assert!(matches!(of(condition).only(), Decision::Close(_)));
        let lately = of(condition).with(|case| case.last_change = Some(NOW - mins(1)));
        assert_eq!(lately.held(), Hold::Unsettled(NOW + mins(1)));
    }
}

#[test]
fn a_second_entry_of_an_address_which_a_marker_brought_is_one_with_the_first() {
    let marked = Withdrawal { attempted_at: None, ..entry(1) };
    let tried = |minutes| vec![marked.clone(), failed(1, minutes, 3)];
    let out = |minutes| Case::out(WELL).with(|case| case.journal = tried(minutes)).decide();
    let next = Hold::Interval(NOW + mins(5));
    assert_eq!(out(20), [Decision::Do(Change::Restore(marked.clone())), hold(1, next.clone())]);
    let later = hold(1, Hold::BackOff(NOW + mins(5)));
    assert_eq!(out(10), [later.clone(), later.clone()]);
    let shown = |minutes| Case::new().with(|case| case.journal = tried(minutes)).decide();
    assert_eq!(shown(20), [Decision::Do(withdraws(1)), hold(1, next)]);
    assert_eq!(shown(10), [later.clone(), later]);
    let back = Case::new().with(|case| case.journal = tried(10)).with(|case| case.members[0].condition = WELL);
    assert_eq!(back.decide(), tried(10).into_iter().map(Decision::Close).collect::<Vec<_>>());
}

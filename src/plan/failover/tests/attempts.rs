//! What attempts leave in the journal.

use core::slice;

use super::*;
use crate::model::Swap;

fn begun(journal: &[Withdrawal], change: &Change) -> Vec<Withdrawal> {
    let mut journal = journal.to_vec();
    journal::begin(&mut journal, change, "it fails", NOW);
    journal
}

fn ended(journal: &[Withdrawal], change: &Change, answer: Option<&Swap>) -> Vec<Withdrawal> {
    let mut journal = begun(journal, change);
    journal::end(&mut journal, change, answer);
    journal
}

#[test]
fn an_attempt_counts_as_failed_until_it_is_known_to_be_done() {
    let noted = Withdrawal { record: record(ip(1)), at: NOW, attempted_at: Some(NOW), failed: 1, ..entry(1) };
    let changed = Swap::Changed("its TTL".to_owned());
    assert_eq!(begun(&[], &withdraws(1)), slice::from_ref(&noted));
    assert_eq!(ended(&[], &withdraws(1), None), slice::from_ref(&noted));
    assert_eq!(ended(&[], &withdraws(1), Some(&Swap::Done)), [Withdrawal { failed: 0, ..noted.clone() }]);
    assert_eq!(ended(&[], &withdraws(1), Some(&changed)), [Withdrawal { untouched: true, ..noted.clone() }]);
    // The first attempt had no answer: perhaps it was done.
    let again = ended(&[failed(1, 10, 1), entry(2)], &withdraws(1), Some(&changed));
    assert_eq!(again, [entry(2), Withdrawal { failed: 2, ..noted }]);
}

#[test]
fn a_return_ends_each_entry_of_its_address_and_no_other() {
    let both = [entry(1), entry(2), Withdrawal { node: node(4), ..entry(1) }];
    let restore = Change::Restore(entry(1));
    assert_eq!(ended(&both, &restore, Some(&Swap::Done)), [entry(2)]);
    for answer in [None, Some(&Swap::Changed("another".to_owned()))] {
        let left = ended(&both, &restore, answer);
        assert_eq!(left.iter().map(|it| (it.failed, it.at)).collect::<Vec<_>>(), [1, 0, 1].map(|it| (it, entry(1).at)));
        assert_eq!(left[0].attempted_at, Some(NOW));
    }
}

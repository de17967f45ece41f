//! The address records of a name compared with what was read before: the "compare" of compare and swap, where the provider
//! has none of its own, and the words for what has changed.

use crate::model::{AddressRecord, Swap};
use crate::text::escape;
use crate::text::list::first;

/// Changes that are named one by one.
const SHOWN: usize = 5;

/// What another has changed since; `None`: nothing. The order does not count.
pub(super) fn difference(read: &[AddressRecord], now: &[AddressRecord]) -> Option<String> {
    let mut added = now.to_vec();
    let mut gone = Vec::new();
    for record in read {
        match added.iter().position(|it| it == record) {
            Some(at) => _ = added.swap_remove(at),
            None => gone.push(record),
        }
    }
    let mut changes = Vec::new();
    for record in gone {
        match added.iter().position(|it| it.is_at(&record.name, record.address)) {
            Some(at) => changes.push(changed(record, &added.swap_remove(at))),
            None => changes.push(format!("{} is gone", record.address)),
        }
    }
    changes.extend(added.iter().map(|it| format!("{} is new", it.address)));
    (!changes.is_empty()).then(|| first(SHOWN, changes))
}

/// Before a withdrawal: `now` has to be `all`, and the record one of them.
pub(super) fn not_to_withdraw(record: &AddressRecord, all: &[AddressRecord], now: &[AddressRecord]) -> Option<Swap> {
    let unread = || (!all.contains(record)).then(|| format!("{} was not read as it is to be removed", record.address));
    difference(all, now).or_else(unread).map(Swap::Changed)
}

/// Before a return: `now` has to be `all`, and none of them has the address.
pub(super) fn not_to_restore(record: &AddressRecord, all: &[AddressRecord], now: &[AddressRecord]) -> Option<Swap> {
    let there = || has(now, record).then(|| format!("{} is there already", record.address));
    difference(all, now).or_else(there).map(Swap::Changed)
}

pub(super) fn has(records: &[AddressRecord], record: &AddressRecord) -> bool {
    records.iter().any(|it| it.is_at(&record.name, record.address))
}

fn changed(read: &AddressRecord, now: &AddressRecord) -> String {
    let what = if read.ttl != now.ttl {
        format!("had TTL {} and has {}", read.ttl, now.ttl)
    } else if read.proxied != now.proxied {
        if now.proxied { "is proxied now" } else { "is not proxied any more" }.to_owned()
    } else if read.comment != now.comment {
        let comment = now.comment.as_deref().unwrap_or_default();
        format!("has another comment: {:?}", escape(comment, 100))
    } else if read.settings != now.settings {
        "has other settings".to_owned()
    } else if read.id != now.id {
        "was made anew".to_owned()
    } else {
        format!("was changed at {}", escape(&now.changed, 40))
    };
    format!("{} {what}", read.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(address: &str) -> AddressRecord {
        AddressRecord {
            id: "1".to_owned(),
            name: "www.example.com".to_owned(),
            address: address.parse().unwrap(),
            ttl: 300,
            proxied: false,
            comment: None,
            settings: String::new(),
            changed: String::new(),
        }
    }

    #[test]
    fn the_order_does_not_count_and_repeated_records_do() {
        let lists = [[1, 2], [2, 1], [1, 1]].map(|list| list.map(|n| record(&format!("192.0.2.{n}"))));
        let [[a, b], other_order, [_, twice]] = lists.clone();
        assert_eq!(difference(&lists[0], &other_order), None);
        assert_eq!(difference(&lists[2], &[twice]).unwrap(), "192.0.2.1 is gone");
        assert_eq!(difference(&[a], &lists[2]).unwrap(), "192.0.2.1 is new");
        assert_eq!(difference(&[b], &[]).unwrap(), "192.0.2.2 is gone");
    }

    #[test]
    fn each_change_of_a_record_is_seen_and_named() {
        let read = record("192.0.2.1");
        let rows = [
            (AddressRecord { ttl: 60, ..read.clone() }, "had TTL 300 and has 60"),
            (AddressRecord { proxied: true, ..read.clone() }, "is proxied now"),
            (
                AddressRecord { comment: Some("mine\n".to_owned()), ..read.clone() },
                "has another comment: \"mine\\\\n\"",
            ),
            (AddressRecord { settings: "{}".to_owned(), ..read.clone() }, "has other settings"),
            (AddressRecord { id: "2".to_owned(), ..read.clone() }, "was made anew"),
            (AddressRecord { changed: "2026".to_owned(), ..read.clone() }, "was changed at 2026"),
        ];
        for (now, words) in rows {
            assert_eq!(difference(core::slice::from_ref(&read), &[now]).unwrap(), format!("192.0.2.1 {words}"));
        }
    }

    #[test]
    fn what_was_not_read_is_not_removed_and_what_is_there_does_not_come_back() {
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(record);
        let (all, second) = ([a.clone(), b.clone()], [b]);
        assert_eq!(not_to_withdraw(&a, &all, &all), None);
        let older = AddressRecord { ttl: 60, ..a.clone() };
        assert!(matches!(not_to_withdraw(&older, &all, &all), Some(Swap::Changed(_))));
        assert!(matches!(not_to_withdraw(&a, &second, &second), Some(Swap::Changed(_))));
        assert_eq!(not_to_restore(&a, &second, &second), None);
        assert_eq!(not_to_restore(&older, &all, &all), Some(Swap::Changed("192.0.2.1 is there already".to_owned())));
        assert_eq!(not_to_restore(&a, &second, &[]), Some(Swap::Changed("192.0.2.2 is gone".to_owned())));
    }
}

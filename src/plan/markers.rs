//! What the markers in DNS, the journal and the records of one name say together. The journal may be lost with the state
//! directory, and a marker may be left or missing where certd was killed between two steps.

use jiff::{SignedDuration, Timestamp};

use super::failover::Member;
use crate::model::{AddressRecord, Marker, Withdrawal};

/// The reason of an entry that was made from a marker.
pub const FROM_A_MARKER: &str = "known by its marker in DNS alone: a comment and settings that the record had are lost";

/// For so long a provider may go on showing what was before a change.
const SETTLED: SignedDuration = SignedDuration::from_mins(5);
/// Of one name; more nobody has made who has not made the zone.
const MOST: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markers {
    /// Entries that the journal has lost.
    pub rebuilt: Vec<Withdrawal>,
    /// The values of markers whose address is in DNS, and not in the journal.
    pub stale: Vec<String>,
    /// Those of no configured node: nothing is made of them.
    pub unbelieved: Vec<Marker>,
    /// Entries without a marker, whose record is out of DNS.
    pub unmarked: Vec<Withdrawal>,
}

/// `texts`: the values at the markers' name; others' are ignored. `records`: all of the name, as just read.
pub fn settle(
    owner: &str,
    texts: &[String],
    records: &[AddressRecord],
    journal: &[Withdrawal],
    members: &[Member],
    now: Timestamp,
) -> Markers {
    let mut found = Markers::default();
    let mut marked = Vec::new();
    for (text, marker) in texts.iter().take(MOST).filter_map(|text| Some((text, Marker::parse(text)?))) {
        let address = marker.address;
        marked.push(address);
        if journal.iter().chain(&found.rebuilt).any(|entry| entry.record.address == address) {
            continue;
        }
        if records.iter().any(|record| record.address == address) {
            if now.duration_since(marker.at) > SETTLED {
                found.stale.push(text.clone());
            }
            continue;
        }
        let of_node = |member: &&Member| marker.node.as_deref() == Some(member.node.as_str());
        let members = members.iter().filter(|member| member.address == address);
        match members.clone().find(of_node).or_else(|| members.clone().next()) {
            Some(member) => found.rebuilt.push(rebuilt(owner, &marker, member, now)),
            None => found.unbelieved.push(marker),
        }
    }
    let is_out = |entry: &&Withdrawal| {
        let address = entry.record.address;
        !marked.contains(&address) && !records.iter().any(|record| record.address == address)
    };
    found.unmarked = journal.iter().filter(is_out).filter(|entry| !entry.untouched).cloned().collect();
    found
}

fn rebuilt(owner: &str, marker: &Marker, member: &Member, now: Timestamp) -> Withdrawal {
    let record = AddressRecord {
        id: String::new(),
        name: owner.to_owned(),
        address: marker.address,
        ttl: marker.ttl,
        proxied: false,
        comment: None,
        settings: String::new(),
        changed: String::new(),
    };
    let why = FROM_A_MARKER.to_owned();
    let (node, at) = (member.node.clone(), marker.at.min(now));
    Withdrawal { node, record, at, why, attempted_at: None, failed: 0, untouched: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::NodeName;
    use crate::cert::fixture::NOW;
    use crate::plan::failover::Condition;

    fn member(node: &str, address: &str) -> Member {
        let (node, address) = (NodeName::parse(node).unwrap(), address.parse().unwrap());
        Member { node, address, condition: Condition::Unknown }
    }

    fn marker(address: &str, node: &str, minutes_ago: i64) -> String {
        let at = NOW - SignedDuration::from_mins(minutes_ago);
        Marker::new(address.parse().unwrap(), 120, at, &NodeName::parse(node).unwrap()).to_string()
    }

    fn record(address: &str) -> AddressRecord {
        let marker = Marker::parse(&marker(address, "x", 0)).unwrap();
        rebuilt("a.example.com", &marker, &member("x", address), NOW).record
    }

    fn settled(texts: &[String], shown: &[&str], journal: &[Withdrawal]) -> Markers {
        let records: Vec<AddressRecord> = shown.iter().map(|address| record(address)).collect();
        let members = [member("one", "192.0.2.1"), member("two", "192.0.2.2"), member("twin", "192.0.2.2")];
        settle("a.example.com", texts, &records, journal, &members, NOW)
    }

    #[test]
    fn a_lost_entry_is_made_again_for_the_address_of_a_configured_node_alone() {
        let texts = [marker("192.0.2.1", "one", 30), marker("192.0.2.2", "twin", 30), marker("192.0.2.9", "one", 30)];
        let texts = [&texts[..], &["v=spf1 -all".to_owned()]].concat();
        let found = settled(&texts, &["192.0.2.3"], &[]);
        let rebuilt: Vec<_> = found.rebuilt.iter().map(|it| (it.node.as_str(), it.record.ttl)).collect();
        assert_eq!(rebuilt, [("one", 120), ("twin", 120)]);
        assert_eq!(found.rebuilt[0].at, NOW - SignedDuration::from_mins(30));
        assert_eq!(found.unbelieved.len(), 1);
        assert!(found.stale.is_empty() && found.unmarked.is_empty());
        // Once it is in the journal, nothing is to be done.
        let journal = found.rebuilt;
        assert_eq!(settled(&texts[..2], &["192.0.2.3"], &journal), Markers::default());
    }

    #[test]
    fn a_marker_of_what_is_in_dns_goes_unless_the_provider_may_be_behind() {
        let texts = [marker("192.0.2.1", "one", 6), marker("192.0.2.2", "two", 4)];
        let found = settled(&texts, &["192.0.2.1", "192.0.2.2"], &[]);
        assert_eq!(found, Markers { stale: vec![texts[0].clone()], ..Markers::default() });
    }

    #[test]
    fn what_is_out_without_a_marker_gets_one() {
        let journal = settled(&[marker("192.0.2.1", "one", 30)], &[], &[]).rebuilt;
        assert_eq!(settled(&[], &["192.0.2.2"], &journal).unmarked, journal);
        assert!(settled(&[], &["192.0.2.1"], &journal).unmarked.is_empty(), "it is not out");
        let untouched = [Withdrawal { untouched: true, ..journal[0].clone() }];
        assert!(settled(&[], &["192.0.2.2"], &untouched).unmarked.is_empty(), "certd has not removed it");
    }
}

//! The checkup as a person reads it, and the codes that it ends with.

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::cert::{CertName, NodeName};
use crate::model::ConfigTest;
use crate::model::{Advice, AtPath, CaClock, Exposed, Found, Looked};

const NOW: Timestamp = Timestamp::constant(1_795_413_600, 0);

fn failure(code: impl Into<Code>, object: &str, what: &str) -> Finding {
    Finding::new(code.into(), object, what, "do what is to be done", Advice::Person)
}

fn found() -> Found {
    Found {
        fullchain: AtPath::Link,
        key: AtPath::Link,
        current: Some("20261123061500-04".into()),
        same: true,
        digest: None,
        exposed: Vec::new(),
    }
}

fn looked() -> Looked {
    let name = CertName::parse("newapi.example.com").unwrap();
    Looked {
        unbounded_workers: false,
        test: ConfigTest::Ok,
        clock: Some(NOW + SignedDuration::from_secs(2)),
        room: Some(1024 * 1024),
        renewers: Vec::new(),
        left: Vec::new(),
        certificates: [(name, found())].into(),
        receiver: None,
    }
}

fn of(looked: &Looked) -> Vec<CheckupItem> {
    of_looked(&NodeName::parse("上海").unwrap(), looked, NOW)
}

#[test]
fn a_checkup_stands_by_area_and_the_worst_first() {
    let findings = vec![
        CheckupItem::ok(Area::Nodes, "shenzhen", "reached"),
        CheckupItem::bad(Area::Nodes, &failure("node-clock", "广州", "its clock is 121 minutes ahead")),
        CheckupItem::bad(Area::Nodes, &failure("ssh-refused", "上海", "上海: 192.0.2.1:22 refuses the connection")),
        CheckupItem::ok(Area::Configuration, "the configuration", "1 certificate"),
        of_room("/var/lib/certd", 12 * 1024 * 1024),
        of_skew("ca.example", CaClock { ours: NOW, theirs: NOW + SignedDuration::from_secs(3) }),
    ];
    let checkup = Checkup::new(findings, NOW);
    assert_eq!((checkup.exit, checkup.exits.as_slice()), (6, &[6, 3][..]));
    crate::report::tests::golden("doctor", &checkup.text(Style::default()));
}

#[test]
fn all_is_well_or_the_area_says_which_code_it_is() {
    let code = |area, state| {
        let finding = CheckupItem { state, ..CheckupItem::ok(area, "y", "z") };
        Checkup::new(vec![finding], NOW).exit
    };
    assert_eq!(Checkup::new(vec![CheckupItem::ok(Area::Ca, "ca", "reached")], NOW).exit, 0);
    let of_area = Area::ALL.map(|area| code(area, State::Failure));
    assert_eq!(of_area, [2, 1, 5, 5, 5, 6]);
    assert!(Area::ALL.iter().all(|area| code(*area, State::Warning) == 3));
}

#[test]
fn room_and_clock_have_a_warning_before_the_failure() {
    let mib = |count: u64| of_room("/x", count * 1024 * 1024).state;
    assert_eq!((mib(0), mib(1), mib(49), mib(50)), (State::Failure, State::Warning, State::Warning, State::Ok));
    let off = |hours| of_skew("ca", CaClock { ours: NOW, theirs: NOW + SignedDuration::from_hours(hours) }).state;
    assert_eq!((off(1), off(2), off(-2), off(25)), (State::Ok, State::Warning, State::Warning, State::Failure));
}

#[test]
fn s21_a_nodes_clock_room_test_and_other_renewers_are_separate_findings() {
    assert!(of(&looked()).iter().all(|finding| finding.state == State::Ok));
    let mut ill = looked();
    ill.clock = Some(NOW - SignedDuration::from_hours(2));
    ill.room = Some(100);
    ill.test = ConfigTest::Failed("[emerg] unknown directive".into());
    ill.renewers = vec!["/etc/cron.d/acme".into(); 12];
    ill.left = vec!["/ssl/.certd/old.example".into()];
    let foreign = AtPath::Foreign { why: "is a link to /etc/passwd".into() };
    ill.certificates.values_mut().for_each(|found| found.key = foreign.clone());
    let items = of(&ill);
    let codes: Vec<&str> = items.iter().filter_map(|finding| finding.code.as_ref().map(Code::as_str)).collect();
    assert_eq!(codes, ["node-test-fails", "node-clock", "node-room", "node-renewers", "node-left", "node-path"]);
    assert!(items[1].what.contains("2 h behind"), "{}", items[1].what);
    assert!(items[3].what.ends_with("and 2 more"), "{}", items[3].what);
}

#[test]
fn a_key_that_others_can_read_is_a_warning_with_its_path_and_its_mode() {
    let mut bare = looked();
    let exposed = Exposed { path: "/ssl/.certd/a/0-found/privkey.pem".into(), mode: "-rw-r--r--".into() };
    bare.certificates.values_mut().for_each(|found| found.exposed = vec![exposed.clone()]);
    let items = of(&bare);
    let [finding] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!((finding.state, finding.code.as_ref().map(Code::as_str)), (State::Warning, Some("node-key-exposed")));
    assert!(finding.what.ends_with("/ssl/.certd/a/0-found/privkey.pem (-rw-r--r--)"), "{}", finding.what);
}

#[test]
fn a_test_that_fails_before_the_first_delivery_is_no_failure_yet() {
    let mut fresh = looked();
    fresh.test = ConfigTest::Failed("cannot load certificate".into());
    for found in fresh.certificates.values_mut() {
        let nothing = || AtPath::Nothing;
        *found = Found { fullchain: nothing(), key: nothing(), current: None, same: false, ..found.clone() };
    }
    assert_eq!(of(&fresh)[0].state, State::Warning);
}

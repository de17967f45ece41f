//! What happens while a step is under way.

use super::*;

#[tokio::test]
async fn what_another_has_changed_in_between_is_left_alone_without_a_journal_entry_or_a_marker() {
    let mut world = World::new();
    let (store, zone, clock) = (world.store(), zone(), || NOW);
    let place =
        Place { store: &store, provider: &world.dns, resolvers: None, owner: OWNER, zone: &zone, clock: &clock };
    let reading = place.read().await.unwrap();
    lock(&world.dns.records).retain(|record| record.address != address(2));
    let change = Change::Withdraw { node: NodeName::parse("n1").unwrap(), record: record(1) };
    let mut all = Vec::new();
    let made = place.make(&reading, &mut all, &change, "no answer", None).await.unwrap();
    assert_eq!(made, Made::Changed("another record is there".to_owned()));
    assert_eq!((world.open(), lock(&world.dns.texts).clone()), (Vec::new(), Vec::new()));
    world.steps(10).await;
    assert!(world.dns.has(1), "two are left, and both have to stay");
}

/// `made` of the step in which this happens at this call of it.
async fn made_with(call: usize, event: Event) -> (World, Made) {
    let mut world = World::new();
    *lock(&world.dns.event) = Some((call, event));
    let (_, made) = world.step().await.unwrap().made.unwrap();
    (world, made)
}

#[tokio::test]
async fn a_withdrawal_is_given_up_if_its_reason_went_while_the_marker_was_made() {
    for (event, words) in [(Event::Recovers, "the reason is gone"), (Event::Takes(31), "took 31 s")] {
        let (world, made) = made_with(3, event).await;
        let Made::Changed(what) = made else { panic!("{made:?}") };
        assert!(what.contains(words), "{what}");
        assert!(world.dns.has(1) && lock(&world.dns.texts).is_empty(), "and the marker is taken back");
        assert!(world.open()[0].untouched);
    }
    let (world, made) = made_with(3, Event::Takes(20)).await;
    assert_eq!((made, world.dns.has(1)), (Made::Done, false));
}

#[tokio::test]
async fn two_controllers_that_withdraw_at_once_see_each_others_marker() {
    let (world, made) = made_with(4, Event::Marks(2)).await;
    assert_eq!(made, Made::Changed("192.0.2.2 is being withdrawn by another, says its marker".to_owned()));
    assert_eq!(*lock(&world.dns.texts), [marker(2)]);
    assert!(world.dns.has(1));
}

#[tokio::test]
async fn nothing_is_withdrawn_where_a_wildcard_answers_or_the_marker_cannot_be_read_back() {
    let mut world = World::new();
    *lock(&world.dns.synthesized) = true;
    assert!(matches!(world.step().await.unwrap().made, Some((_, Made::Failed(_)))));
    assert_eq!((world.open(), lock(&world.dns.texts).clone()), (Vec::new(), Vec::new()), "nor is anything made");
    *lock(&world.dns.synthesized) = false;
    *lock(&world.dns.texts_are_hidden) = true;
    let Some((_, Made::Failed(finding))) = world.step().await.unwrap().made else { panic!("it is made") };
    assert!(finding.what.contains("is not shown"), "{finding:?}");
    assert!(world.dns.has(1));
}

#[tokio::test]
async fn an_attempt_is_as_late_as_its_end_with_or_without_an_answer() {
    for refuses in [false, true] {
        let mut world = World::new();
        // Reading the records takes a minute, and the withdrawal two.
        *lock(&world.dns.event) = Some((5, Event::Takes(120)));
        *lock(&world.dns.refuses) = refuses;
        let before = world.now() + SignedDuration::from_mins(1);
        let step = world.step().await.unwrap();
        assert_eq!(step.reading.unwrap().records.read_at, before);
        let entry = &world.open()[0];
        let ended = before + SignedDuration::from_mins(2);
        assert_eq!((entry.attempted_at, entry.failed), (Some(ended), u32::from(refuses)));
        let last = world.store().withdrawals().unwrap().last_change(OWNER, ended);
        assert_eq!(last, Some(ended));
    }
}

#[tokio::test]
async fn a_witness_over_another_family_says_nothing() {
    let mut world = World::new();
    world.reached = vec!["2001:db8::99".parse().unwrap(), [127, 0, 0, 1].into()];
    let step = world.step().await.unwrap();
    assert!(matches!(step.decisions[..], [Decision::Hold { why: Hold::NoWayOut, .. }]), "{:?}", step.decisions);
    world.reached.push(address(99));
    assert!(matches!(world.step().await.unwrap().made, Some((_, Made::Done))));
}

#[tokio::test]
async fn an_entry_whose_record_is_an_old_view_does_not_end() {
    let mut world = World::new();
    world.steps(1).await;
    lock(&world.dns.records).push(record(1));
    *lock(&world.dns.synthesized) = true;
    world.steps(10).await;
    assert_eq!(world.open().len(), 1);
}

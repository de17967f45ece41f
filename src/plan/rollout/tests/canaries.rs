//! Canaries that refuse.

use super::*;

const FOUR: [(&str, Before); 4] =
    [("a", Before::Valid), ("b", Before::Valid), ("c", Before::Valid), ("d", Before::Valid)];

fn refuses(node: &str) -> Event {
    Event::Committed(name(node), Committed::RolledBack { output: "[emerg] key values mismatch".into() })
}

fn all_ready() -> Vec<Event> {
    let names = ["a", "b", "c", "d"];
    names.iter().map(|node| started(node)).chain(names.iter().map(|node| ready(node))).collect()
}

#[test]
fn a_canary_that_refuses_makes_room_for_another_at_once_and_holds_nobody() {
    let mut events = all_ready();
    events.extend([refuses("a"), committed("b"), verified("b", Verdict::Expected)]);
    events.extend(["c", "d"].map(committed));
    events.extend(["c", "d"].map(|node| verified(node, Verdict::Expected)));
    golden("canary-refuses", rollout(&FOUR, None), events);
}

#[test]
fn n02_a_second_canary_that_refuses_our_certificate_aborts_all_others() {
    let mut events = all_ready();
    events.extend([refuses("a"), refuses("b")]);
    golden("two-canaries-refuse", rollout(&FOUR, None), events);
}

#[test]
fn who_refused_in_an_earlier_rollout_is_canary_last_and_counts_as_one_of_two() {
    let before = |refusing: &[&str], wanted: Option<&str>| {
        let nodes = FOUR.map(|(node, before)| NodeTask {
            failed_before: refusing.contains(&node),
            ..NodeTask::new(name(node), before)
        });
        let refused = refusing.iter().map(|node| name(node)).collect();
        let canary = wanted.map(name);
        Rollout::new(&Deliver { nodes: nodes.to_vec(), canary, stop_after: 1, refused, ..Deliver::default() })
    };
    // Though it is prepared first, and the operator's choice.
    let mut events = all_ready();
    events.extend([committed("b"), verified("b", Verdict::Expected), refuses("a")]);
    golden("refused-before", before(&["a"], Some("a")), events);
    let mut events = all_ready();
    events.push(refuses("b"));
    golden("another-refuses-too", before(&["a"], None), events);
    // When nobody else can be canary; its own word a second time is no second word.
    let mut alone = before(&["a"], None);
    let mut events = vec![started("a"), ready("a")];
    events.extend(["b", "c", "d"].map(|node| Event::Failed(name(node), failure("ssh-deadline"))));
    let actions: Vec<Action> = events.into_iter().flat_map(|event| alone.on(event)).collect();
    assert_eq!(actions, [Action::Commit(name("a"))]);
}

#[test]
fn near_the_end_of_what_they_serve_nodes_go_on_one_by_one_in_spite_of_refusals() {
    let nodes =
        FOUR.map(|(node, before)| NodeTask { hurry: ["c", "d"].contains(&node), ..NodeTask::new(name(node), before) });
    let rollout = Rollout::new(&Deliver { nodes: nodes.to_vec(), stop_after: 1, ..Deliver::default() });
    let mut events = all_ready();
    events.extend([refuses("a"), refuses("b"), refuses("c"), committed("d"), verified("d", Verdict::Expected)]);
    golden("near-the-end", rollout, events);
}

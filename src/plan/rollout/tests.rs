//! Whole rollouts as text: each event, and what the machine does about it.

mod canaries;
mod laws;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::*;
use crate::cert::CertName;
use crate::model::{Advice, Base, Code};
use crate::plan::NodeTask;

#[test]
fn the_canary_is_verified_before_any_other_node_changes() {
    golden(
        "canary-first",
        rollout(&[("a", Before::Valid), ("b", Before::Valid), ("c", Before::Valid)], None),
        vec![
            started("a"),
            started("b"),
            started("c"),
            ready("b"),
            ready("a"),
            committed("b"),
            verified("b", Verdict::Expected),
            ready("c"),
            committed("a"),
            committed("c"),
            verified("c", Verdict::Expected),
            verified("a", Verdict::Expected),
        ],
    );
}

#[test]
fn a_dead_node_costs_nobody_anything() {
    golden(
        "dead-node",
        rollout(&[("a", Before::Valid), ("dead", Before::Nothing)], None),
        vec![
            started("a"),
            started("dead"),
            ready("a"),
            committed("a"),
            verified("a", Verdict::Expected),
            Event::Failed(name("dead"), failure("ssh-deadline")),
        ],
    );
}

#[test]
fn n01_a_node_whose_configuration_was_broken_before_is_no_canary_and_stops_nobody() {
    golden(
        "broken-before",
        rollout(&[("a", Before::Valid), ("b", Before::Valid)], Some("a")),
        vec![
            started("a"),
            started("b"),
            unready("a"),
            ready("b"),
            committed("b"),
            verified("b", Verdict::Expected),
            Event::Committed(name("a"), Committed::BrokenBefore { output: "[emerg] unknown directive".into() }),
        ],
    );
}

#[test]
fn n03_a_canary_that_serves_another_certificate_goes_back_and_the_next_is_tried() {
    golden(
        "serves-other",
        rollout(&[("a", Before::Valid), ("b", Before::Valid)], None),
        vec![
            started("a"),
            started("b"),
            ready("a"),
            ready("b"),
            committed("a"),
            verified("a", Verdict::Other { what: "serves 0badcafe".into() }),
            Event::Restored(name("a"), Restored { went_back: Ok(()), serves: true }),
            committed("b"),
            verified("b", Verdict::Expected),
        ],
    );
}

#[test]
fn a_server_that_reads_no_pair_of_this_algorithm_yet_keeps_its_files_and_another_is_canary() {
    golden(
        "absent",
        rollout(&[("a", Before::Valid), ("b", Before::Valid), ("c", Before::Valid)], None),
        vec![
            started("a"),
            started("b"),
            started("c"),
            ready("a"),
            ready("b"),
            ready("c"),
            committed("a"),
            verified("a", Verdict::Absent { what: "the server has no RSA certificate for this name".into() }),
            committed("b"),
            verified("b", Verdict::Expected),
            committed("c"),
            verified("c", Verdict::Expected),
        ],
    );
}

#[test]
fn tls_that_is_gone_after_the_switch_is_our_certificates_doing() {
    golden(
        "tls-gone",
        rollout(&[("a", Before::Valid), ("b", Before::Valid)], None),
        vec![
            started("a"),
            started("b"),
            ready("a"),
            ready("b"),
            committed("a"),
            verified("a", Verdict::Silent(ProbeError::Tls("handshake failure".into()))),
            Event::Restored(name("a"), Restored { went_back: Ok(()), serves: true }),
        ],
    );
}

#[test]
fn a_port_that_certd_cannot_speak_with_takes_nobody_back_unless_it_spoke_tls_before() {
    let ends_with = |before, silence| {
        let mut rollout = rollout(&[("a", before)], None);
        let events = [started("a"), ready("a"), committed("a"), verified("a", Verdict::Silent(silence))];
        let actions: Vec<Action> = events.into_iter().flat_map(|event| rollout.on(event)).collect();
        actions.last().cloned()
    };
    let unspoken = || ProbeError::Unspoken("port 25 answers in plain text".into());
    assert_eq!(ends_with(Before::Nothing, unspoken()), Some(Action::Done(name("a"))));
    assert_eq!(ends_with(Before::Valid, unspoken()), Some(Action::Rollback(name("a"))));
    let busy = ProbeError::TurnedAway("port 25 turns certd away: 421 too busy".into());
    assert_eq!(ends_with(Before::Valid, busy), Some(Action::Done(name("a"))), "it may serve everybody else");
}

#[test]
fn a_node_that_times_out_is_kept_unverified_and_the_next_node_becomes_canary() {
    golden(
        "unverified",
        rollout(&[("a", Before::Valid), ("b", Before::Valid)], None),
        vec![
            started("a"),
            started("b"),
            ready("a"),
            ready("b"),
            committed("a"),
            verified("a", Verdict::Silent(ProbeError::TimedOut)),
            committed("b"),
            verified("b", Verdict::Expected),
        ],
    );
}

#[test]
fn n09_an_old_certificate_over_quic_alone_is_kept_unverified_since_going_back_would_help_nobody() {
    golden(
        "lingers",
        rollout(&[("a", Before::Valid), ("b", Before::Valid)], None),
        vec![
            started("a"),
            started("b"),
            ready("a"),
            ready("b"),
            committed("a"),
            verified("a", Verdict::Lingers { what: "192.0.2.1:443 over QUIC still serves 0badcafe".into() }),
            committed("b"),
            verified("b", Verdict::Expected),
        ],
    );
}

#[test]
fn nobody_goes_back_to_an_expired_certificate() {
    golden(
        "expired-before",
        rollout(&[("a", Before::Broken)], None),
        vec![started("a"), ready("a"), committed("a"), verified("a", Verdict::Silent(ProbeError::Refused))],
    );
}

#[test]
fn a_first_install_everywhere_waits_for_all_answers_then_takes_the_least_unfit() {
    golden(
        "first-install",
        rollout(&[("a", Before::Nothing), ("b", Before::Nothing), ("c", Before::Broken)], None),
        vec![
            started("a"),
            started("b"),
            started("c"),
            unready("a"),
            ready("b"),
            ready("c"),
            committed("c"),
            verified("c", Verdict::Expected),
            committed("a"),
            committed("b"),
            verified("a", Verdict::Expected),
            verified("b", Verdict::Expected),
        ],
    );
}

#[test]
fn nodes_that_wait_for_their_turn_do_not_hold_up_an_unfit_fleet() {
    golden(
        "queued",
        rollout(&[("a", Before::Nothing), ("queued", Before::Nothing)], None),
        vec![
            started("a"),
            ready("a"),
            committed("a"),
            verified("a", Verdict::Expected),
            started("queued"),
            ready("queued"),
        ],
    );
}

#[test]
fn a_canary_that_waits_for_a_session_is_not_waited_for_by_those_who_hold_all_of_them() {
    golden(
        "canary-queued",
        rollout(&[("wanted", Before::Valid), ("a", Before::Valid), ("b", Before::Valid)], Some("wanted")),
        vec![
            started("a"),
            started("b"),
            ready("a"),
            ready("b"),
            committed("a"),
            verified("a", Verdict::Expected),
            started("wanted"),
        ],
    );
}

#[test]
fn the_gate_closes_again_when_more_than_one_in_ten_refuse() {
    let names = ["a", "b", "c", "d"];
    let nodes: Vec<_> = names.iter().map(|name| (*name, Before::Valid)).collect();
    let mut events: Vec<Event> = names.iter().map(|name| started(name)).collect();
    events.extend([ready("a"), committed("a"), verified("a", Verdict::Expected), ready("b"), ready("c")]);
    for refusing in ["b", "c"] {
        events.push(Event::Committed(name(refusing), Committed::RolledBack { output: "[emerg]".into() }));
    }
    events.push(ready("d"));
    golden("gate-closes", rollout(&nodes, None), events);
}

#[test]
fn a_node_that_has_the_files_and_cannot_be_seen_is_not_reloaded() {
    let bases = BTreeMap::from([(CertName::parse("x").unwrap(), Base::Unchanged)]);
    golden(
        "unseen",
        rollout(&[("a", Before::Silent), ("b", Before::Valid)], None),
        vec![
            started("a"),
            started("b"),
            Event::Prepared(name("a"), Prepared { test: ConfigTest::Ok, bases, clock: None, narrowed: Vec::new() }),
            ready("b"),
            committed("b"),
            verified("b", Verdict::Expected),
        ],
    );
}

#[test]
fn p03_an_interrupted_rollout_commits_nothing_new_and_lets_the_committed_finish() {
    golden(
        "interrupted",
        rollout(&[("a", Before::Valid), ("b", Before::Valid)], None),
        vec![
            started("a"),
            started("b"),
            ready("a"),
            ready("b"),
            Event::Stop,
            committed("a"),
            verified("a", Verdict::Expected),
        ],
    );
}

#[test]
fn p03_when_time_is_up_busy_nodes_finish_alone_and_are_read_again_later() {
    golden(
        "abandoned",
        rollout(&[("a", Before::Valid), ("b", Before::Valid), ("c", Before::Valid)], None),
        vec![
            started("a"),
            started("b"),
            ready("a"),
            ready("b"),
            committed("a"),
            verified("a", Verdict::Expected),
            Event::Stop,
            Event::Abandon(failure("interrupted")),
            committed("b"),
        ],
    );
}

#[test]
fn s10_a_connection_lost_after_the_commit_is_unknown_and_not_success() {
    golden(
        "lost",
        rollout(&[("a", Before::Valid), ("b", Before::Valid)], None),
        vec![
            started("a"),
            started("b"),
            ready("a"),
            ready("b"),
            Event::Lost(name("a"), failure("ssh-closed")),
            committed("b"),
            verified("b", Verdict::Expected),
        ],
    );
}

fn golden(case: &str, mut rollout: Rollout, events: Vec<Event>) {
    let mut text = String::new();
    for event in events {
        writeln!(text, "{}", line(&event)).unwrap();
        for action in rollout.on(event) {
            writeln!(text, "    -> {action:?}").unwrap();
        }
    }
    for (node, outcome) in rollout.outcomes() {
        writeln!(text, "{node} ended: {outcome:?}").unwrap();
    }
    for node in rollout.nodes {
        text = text.replace(&format!("{:?}", node.name), node.name.as_str());
    }
    insta::with_settings!({ snapshot_path => "testdata", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(case, text);
    });
}

fn line(event: &Event) -> String {
    match event {
        Event::Prepared(node, prepared) => format!("{node} prepared, test {:?}", prepared.test),
        other => format!("{other:?}"),
    }
}

fn rollout(nodes: &[(&str, Before)], canary: Option<&str>) -> Rollout {
    Rollout::new(&Deliver {
        nodes: nodes.iter().map(|(node, before)| NodeTask::new(name(node), *before)).collect(),
        canary: canary.map(name),
        stop_after: 1,
        ..Deliver::default()
    })
}

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

fn started(node: &str) -> Event {
    Event::Started(name(node))
}

fn ready(node: &str) -> Event {
    Event::Prepared(
        name(node),
        Prepared { test: ConfigTest::Ok, bases: BTreeMap::new(), clock: None, narrowed: Vec::new() },
    )
}

fn unready(node: &str) -> Event {
    let test = ConfigTest::Failed("[emerg] unknown directive".into());
    Event::Prepared(name(node), Prepared { test, bases: BTreeMap::new(), clock: None, narrowed: Vec::new() })
}

fn committed(node: &str) -> Event {
    Event::Committed(name(node), Committed::Committed)
}

fn verified(node: &str, verdict: Verdict) -> Event {
    Event::Verified(name(node), verdict)
}

fn failure(code: impl Into<Code>) -> Finding {
    Finding::new(code.into(), "node", "what", "next", Advice::Retry { after_seconds: None })
}

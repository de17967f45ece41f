use std::collections::BTreeSet;

use super::*;
use crate::config;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn at(text: &str) -> Timestamp {
    format!("2026-11-{text}Z").parse().unwrap()
}

/// Passes at 00:17, 06:17, 12:17 and 18:17, looks every five minutes.
fn run() -> Run {
    config::parse(include_str!("../../../config/certd.toml")).expect("the example is right").run
}

/// Started at noon of the 23rd, with a pass and a look at that time.
fn state() -> ScheduleState {
    let noon = at("23T12:00:00");
    ScheduleState { since: noon, last_pass: Some(noon), last_look: Some(noon), ..ScheduleState::default() }
}

fn woken(state: &ScheduleState, now: &str) -> WakeUp {
    next(&run(), state, 7, at(now))
}

fn spread(wake: &WakeUp, from: Timestamp, width: SignedDuration) -> bool {
    from <= wake.at && wake.at < from + width
}

fn width(instants: &BTreeSet<Timestamp>) -> SignedDuration {
    instants.last().unwrap().duration_since(*instants.first().unwrap())
}

#[test]
fn an_installation_that_has_made_no_pass_makes_one_at_once() {
    let state = ScheduleState { since: at("23T12:00:00"), ..ScheduleState::default() };
    assert_eq!(woken(&state, "23T12:00:00"), pass(at("23T12:00:00"), Trigger::First));
}

#[test]
fn a_look_comes_every_five_minutes_and_a_pass_when_the_schedule_says_so() {
    assert_eq!(woken(&state(), "23T12:00:00"), WakeUp { at: at("23T12:05:00"), work: Work::Look });
    let looked = ScheduleState { last_look: Some(at("23T12:26:00")), ..state() };
    let wake = woken(&looked, "23T12:26:00");
    assert_eq!(wake.work, Work::Pass(Trigger::Scheduled { slot: at("23T12:17:00") }));
    assert!(spread(&wake, at("23T12:17:00"), 10 * MINUTE), "{wake:?}");
    let made = ScheduleState { last_pass: Some(wake.at), last_look: Some(at("23T18:30:00")), ..state() };
    let wake = woken(&made, "23T18:30:00");
    assert_eq!(wake.work, Work::Pass(Trigger::Scheduled { slot: at("23T18:17:00") }), "one for each slot");
}

#[test]
fn the_plans_own_instant_counts_when_it_is_sooner() {
    let until = at("23T12:03:00");
    let wake = woken(&ScheduleState { next: Some(until), ..state() }, "23T12:00:00");
    assert_eq!(wake, pass(until, Trigger::Waited { until }));
    let late = woken(&ScheduleState { next: Some(at("25T12:03:00")), ..state() }, "23T12:00:00");
    assert_eq!(late.work, Work::Look);
}

#[test]
fn what_a_look_finds_is_done_at_once_and_a_pass_that_failed_is_tried_after_1_2_5_and_10_minutes() {
    let now = at("23T12:05:00");
    assert_eq!(woken(&ScheduleState { found: true, ..state() }, "23T12:05:00"), pass(now, Trigger::Found));
    for (failures, minutes) in [(1, 1), (2, 2), (3, 5), (4, 10), (40, 10)] {
        let state = ScheduleState { failed: Some((failures, now)), found: true, ..state() };
        assert_eq!(woken(&state, "23T12:05:00"), pass(now + MINUTE * minutes, Trigger::Again { failures }));
    }
}

#[test]
fn k01_a_machine_that_was_off_for_three_weeks_makes_up_for_it_with_one_pass() {
    let start = at("23T12:00:00");
    let off = ScheduleState { since: start, last_pass: Some(at("02T12:00:00")), ..ScheduleState::default() };
    // A look comes first, and finds what hurts visitors without waiting for the spread.
    assert_eq!(woken(&off, "23T12:00:00"), WakeUp { at: start, work: Work::Look });
    let looked = ScheduleState { last_look: Some(start), ..off };
    let wake = woken(&looked, "23T12:00:00");
    assert_eq!(wake.work, Work::Pass(Trigger::Missed { slot: at("02T12:17:00") }));
    assert!(spread(&wake, start, MINUTE / 2), "{wake:?}");
    let made = ScheduleState { last_pass: Some(wake.at), last_look: Some(wake.at), ..looked };
    assert_eq!(woken(&made, "23T12:01:00").work, Work::Look, "not one for each that was missed");
}

#[test]
fn a_restart_between_two_slots_makes_no_pass() {
    let restarted = ScheduleState { since: at("23T15:00:00"), last_look: Some(at("23T15:00:00")), ..state() };
    let restarted = ScheduleState { last_pass: Some(at("23T12:20:00")), ..restarted };
    assert_eq!(woken(&restarted, "23T15:00:00"), WakeUp { at: at("23T15:05:00"), work: Work::Look });
}

#[test]
fn k06_a_thousand_that_wake_at_once_do_not_come_at_once() {
    let start = at("23T12:00:00");
    let off = ScheduleState {
        since: start,
        last_look: Some(start),
        last_pass: Some(at("20T12:00:00")),
        ..ScheduleState::default()
    };
    let wakes: BTreeSet<Timestamp> = (0..1000).map(|seed| next(&run(), &off, seed, start).at).collect();
    assert!(wakes.len() > 950 && width(&wakes) > SignedDuration::from_secs(28));
    let slots: BTreeSet<Timestamp> = (0..1000)
        .map(|seed| {
            let state = ScheduleState { last_look: Some(at("23T12:16:00")), ..state() };
            scheduled(&run(), at("23T12:17:00"), state.since, seed).at
        })
        .collect();
    assert!(slots.len() > 950 && width(&slots) > 9 * MINUTE);
}

#[test]
fn a_close_schedule_is_not_spread_beyond_a_tenth_of_itself() {
    let mut run = run();
    run.schedule = "* * * * *".parse().unwrap();
    for seed in 0..100 {
        let wake = next(&run, &state(), seed, at("23T12:00:30"));
        assert!(spread(&wake, at("23T12:01:00"), SignedDuration::from_secs(6)), "{wake:?}");
    }
}

#[test]
fn k04_a_clock_that_is_set_is_noticed_and_looked_at_anew() {
    let minute = SignedDuration::from_mins(1);
    assert_eq!(jump(minute, minute), None);
    assert_eq!(jump(minute + SignedDuration::from_secs(2), minute), None);
    assert_eq!(jump(minute * 60, minute), Some(minute * 59));
    assert_eq!(jump(-minute * 60, minute), Some(-minute * 61));
    let mut state = ScheduleState { last_look: Some(at("23T12:20:00")), ..state() };
    state.jumped(at("23T09:00:00"));
    assert_eq!(woken(&state, "23T09:00:00"), WakeUp { at: at("23T09:00:00"), work: Work::Look });
}

#[test]
fn k04_a_clock_that_was_set_back_does_not_stop_the_schedule() {
    let now = at("02T12:00:00");
    let mut state = state();
    state.jumped(now);
    state.last_look = Some(now);
    assert_eq!(woken(&state, "02T12:00:00"), WakeUp { at: at("02T12:05:00"), work: Work::Look });
    state.last_look = Some(at("02T12:26:00"));
    let wake = woken(&state, "02T12:27:00");
    assert_eq!(wake.work, Work::Pass(Trigger::Scheduled { slot: at("02T12:17:00") }));
    let noted_ahead = ScheduleState::new(now, Some(at("23T12:00:00")));
    assert_eq!(noted_ahead.last_pass, Some(now));
}

#[test]
fn k05_a_wait_that_ended_in_a_suspend_ends_with_it() {
    let until = at("24T03:00:00");
    let mut state = ScheduleState { next: Some(until), ..state() };
    state.jumped(at("25T08:00:00"));
    state.last_look = Some(at("25T08:00:00"));
    let wake = woken(&state, "25T08:00:00");
    assert!(spread(&wake, at("25T08:00:00"), MINUTE / 2), "{wake:?}");
    assert!(matches!(wake.work, Work::Pass(_)), "{wake:?}");
}

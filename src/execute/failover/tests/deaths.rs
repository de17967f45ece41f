//! Killed at each call.

use std::fs;

use super::*;

async fn died_at(call: usize, dies: Dies, while_failing: bool, loses_state: bool) -> bool {
    let mut world = World::new();
    if !while_failing {
        world.steps(2).await;
        assert!(!world.dns.has(1));
        world.minute += 30;
        world.set(1, false);
    }
    let from = world.dns.calls.load(Ordering::Relaxed);
    *lock(&world.dns.dies) = Some((from + call, dies));
    let died = world.step().await.is_none();
    *lock(&world.dns.dies) = None;
    if loses_state {
        let _ = fs::remove_dir_all(world.folder.path().join("state"));
    }
    world.no_record_is_lost();
    if while_failing {
        for _ in 0..30 {
            world.step().await;
            world.no_record_is_lost();
        }
        assert!(!world.dns.has(1), "{call} {dies:?}: withdrawn in the end");
        assert_eq!((world.open().len(), lock(&world.dns.texts).len()), (1, 1), "{call} {dies:?}");
        world.set(1, false);
    }
    for _ in 0..40 {
        world.step().await;
        world.no_record_is_lost();
    }
    let records = lock(&world.dns.records).clone();
    let back = records.iter().find(|record| record.address == address(1)).expect("it is back");
    assert_eq!(back.ttl, 120);
    if !loses_state {
        assert_eq!((back.comment.as_deref(), back.settings.as_str()), (Some("of ours"), "{}"));
    }
    assert_eq!(records.len(), 3, "{call} {dies:?}: and no other was touched");
    assert_eq!((world.open(), lock(&world.dns.texts).clone()), (Vec::new(), Vec::new()), "{call} {dies:?}");
    died
}

#[tokio::test]
async fn killed_at_any_call_the_next_steps_converge_and_no_record_is_lost() {
    for while_failing in [true, false] {
        for loses_state in [false, true] {
            let mut deaths = 0;
            for call in 0..20 {
                for dies in [Dies::Before, Dies::After] {
                    let died = died_at(call, dies, while_failing, loses_state).await;
                    deaths += usize::from(died);
                }
            }
            // Records, texts, whether they are the name's own, marker, texts again, withdrawal; or both, return, marker.
            assert_eq!(deaths, if while_failing { 12 } else { 8 }, "{while_failing} {loses_state}");
        }
    }
}

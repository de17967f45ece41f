//! P01: SIGKILL at *every* step of `renew`, then run it again. A step is a call by which certd changes anything outside
//! itself; `kill_at.c` counts them and ends the process at the n-th, so that n goes from the first to the last.
//!
//! After each: every node serves the new certificate, one certificate was issued, no file of the state is half or left
//! over, no node ever had a torn pair, of the TXT records only those of others are left, and `check` is content.
//!
//! `cargo test` tries some points of each scenario, `make soak` all of them. `KILL_AT=n` tries one.

#![allow(clippy::print_stdout, reason = "`make soak` shows its figures")]

pub(crate) mod bench;
mod tally;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use certd::context::clock;

use bench::{Bench, Disk, Scenario};
use tally::Tally;

/// Labs side by side, for each scenario: most of a run is waiting.
const LABS: usize = 2;
/// Runs do not all have the same number of steps (an answer may come in two parts). So many that are over before their
/// point is come to, and the points are at their end.
const ENOUGH: usize = 3;
/// After so many failures the rest would say the same.
const PATIENCE: usize = 5;
/// No run has so many points. Without a bound a test that never kills would never end.
const MOST: usize = 5_000;

/// Kills at each `stride`-th point, the first being `first`, and tells how often.
pub(crate) fn kill_everywhere(scenario: Scenario, disk: Disk, first: usize, stride: usize) -> usize {
    let only = std::env::var("KILL_AT").ok().map(|text| text.parse().expect("KILL_AT is a number"));
    let next = Mutex::new(only.unwrap_or(first));
    let tally = Mutex::new(Tally::default());
    let began = clock::now();
    std::thread::scope(|scope| {
        for _ in 0..LABS {
            scope.spawn(|| {
                let mut bench = Bench::start(scenario, disk);
                loop {
                    let at = {
                        let tally = tally.lock().expect("no holder panics");
                        let mut next = next.lock().expect("no holder panics");
                        let enough = if stride == 1 { ENOUGH } else { 1 };
                        let over = tally.survived >= enough || tally.failures.len() >= PATIENCE;
                        if over || *next > only.unwrap_or(MOST) {
                            break;
                        }
                        *next += stride;
                        *next - stride
                    };
                    match catch_unwind(AssertUnwindSafe(|| bench.cycle(at))) {
                        Ok(cycle) => tally.lock().expect("no holder panics").add(at, cycle),
                        Err(panic) => {
                            let words = panic.downcast::<String>().map_or_else(|_| "no words".into(), |words| *words);
                            tally.lock().expect("no holder panics").fail(at, &words);
                            bench = Bench::start(scenario, disk);
                        }
                    }
                }
            });
        }
    });
    let mut tally = tally.into_inner().expect("no holder panics");
    tally.took = clock::now().duration_since(began);
    println!("{scenario:?}, the disk {disk:?}: {tally}");
    assert!(only.is_none() || tally.survived == 0, "{scenario:?} has not so many points");
    assert!(tally.failures.is_empty(), "{scenario:?}: {:#?}", tally.failures);
    // One that was asked for is enough.
    if only.is_some() { usize::MAX } else { tally.kills() }
}

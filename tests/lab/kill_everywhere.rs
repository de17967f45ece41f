//! P01 and P02: SIGKILL, or the loss of power, at some points of each scenario.
//! What holds after each stands in `support/kill_everywhere.rs`.

use crate::lab::kill_everywhere::bench::{Disk, Scenario};
use crate::lab::kill_everywhere::kill_everywhere;

#[test]
fn p01_killed_at_some_steps_of_a_first_issuance_the_next_run_ends_it() {
    assert!(kill_everywhere(Scenario::First, Disk::Lasts, 7, 61) > 1);
}

#[test]
fn p01_killed_at_some_steps_of_a_replacement_the_next_run_ends_it() {
    assert!(kill_everywhere(Scenario::Replaces, Disk::Lasts, 7, 61) > 1);
}

#[test]
fn p01_killed_at_some_steps_of_a_renewal_from_a_backup_the_next_run_ends_it() {
    assert!(kill_everywhere(Scenario::ReplacedBefore, Disk::Lasts, 7, 61) > 1);
}

#[test]
fn p02_without_power_at_some_steps_no_file_is_empty_and_the_next_run_ends_it() {
    assert!(kill_everywhere(Scenario::First, Disk::LosesData, 7, 61) > 1);
}

#[test]
fn p02_without_power_at_some_steps_names_that_were_not_synced_are_gone_and_the_next_run_ends_it() {
    assert!(kill_everywhere(Scenario::First, Disk::LosesNames, 7, 61) > 1);
}

//! P01 in a rollout: the controller, a node's sshd and the node program are ended at some steps of the dialogue. What holds
//! after each stands in `support/dialogue_kills.rs`.

use crate::lab::dialogue_kills::{connection, controller, program};

#[test]
fn p01_the_controller_is_killed_at_some_steps_of_a_rollout_and_the_next_run_ends_it() {
    assert!(controller(11, 43) >= 2);
}

#[test]
fn s07_the_connection_ends_behind_some_bytes_of_either_way_and_the_next_run_ends_it() {
    assert!(connection(8) >= 5);
}

#[test]
fn s10_the_node_program_is_killed_before_some_of_its_lines_and_the_next_run_ends_it() {
    assert!(program(34) >= 2);
}

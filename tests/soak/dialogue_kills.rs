//! P01 in a rollout: the controller, a node's sshd and the node program are ended at every step of the dialogue. What holds
//! after each stands in `support/dialogue_kills.rs`.

use crate::lab::dialogue_kills::{connection, controller, program};

#[test]
fn p01_the_controller_is_killed_at_every_step_of_a_rollout_and_the_next_run_ends_it() {
    assert!(controller(1, 1) > 60);
}

#[test]
fn s07_the_connection_ends_behind_every_packet_of_either_way_and_the_next_run_ends_it() {
    assert!(connection(usize::MAX) > 200);
}

#[test]
fn s10_the_node_program_is_killed_before_every_line_and_the_next_run_ends_it() {
    assert!(program(1) > 100);
}

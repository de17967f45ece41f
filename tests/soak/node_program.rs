//! The node program, killed at every command from every beginning, and spied on at every statement of every dialogue.

use crate::lab::node_program::killed::{BEGINNINGS, kill_everywhere};
use crate::lab::node_program::spy::spy_on;

#[test]
fn p01_killed_before_any_command_from_every_beginning_the_pair_is_whole() {
    kill_everywhere(BEGINNINGS.len(), 1);
}

#[test]
fn a_spy_reads_no_key_and_replaces_nothing_however_a_dialogue_begins_and_ends() {
    spy_on(|_, _| true);
}

//! `kill -9` before every line of the program, from one beginning each.

use crate::lab::node_program::killed::kill_everywhere;

#[test]
fn p01_killed_before_any_command_the_pair_is_whole_and_the_next_delivery_ends_well() {
    kill_everywhere(1);
}

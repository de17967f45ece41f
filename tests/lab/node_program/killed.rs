//! `kill -9` before some lines of the program, from one beginning each; `make soak` takes every line.

use crate::lab::node_program::killed::kill_everywhere;

#[test]
fn p01_killed_before_some_commands_the_pair_is_whole_and_the_next_delivery_ends_well() {
    kill_everywhere(1, 5);
}

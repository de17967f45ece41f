//! A hundred nodes, of which ten are dead: what must hold stands in `support/hundred.rs`.

use crate::lab::hundred::dead::WAYS;
use crate::lab::hundred::fleet;

#[test]
fn s01_of_a_hundred_nodes_ten_are_dead_in_ten_ways_and_cost_the_others_nothing() {
    fleet(100, &WAYS);
}

//! Twenty nodes, of which some are dead: what must hold stands in `support/hundred.rs`.

use crate::lab::hundred::dead::{Dead, WAYS};
use crate::lab::hundred::fleet;

#[test]
fn s01_of_twenty_nodes_nine_are_dead_in_nine_ways_and_cost_the_others_nothing() {
    let ways: Vec<Dead> = WAYS.iter().copied().filter(|way| !matches!(way, Dead::Hangs)).collect();
    fleet(20, &ways);
}

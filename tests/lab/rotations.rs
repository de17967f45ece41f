//! A few rotations under load: what must hold stands in `support/rotations.rs`.

use crate::lab::rotations::rotate;

#[test]
fn twenty_rotations_under_load_fail_no_handshake_and_tear_no_pair() {
    rotate(20);
}

//! A01: five issuances by a CA that refuses three nonces in ten.

use crate::lab::nonces::in_a_row;

#[test]
fn a01_five_certificates_in_a_row_come_of_five_orders() {
    in_a_row(5);
}

//! A01: a hundred issuances by a CA that refuses three nonces in ten.

use crate::lab::nonces::in_a_row;

#[test]
fn a01_a_hundred_certificates_in_a_row_come_of_a_hundred_orders() {
    in_a_row(100);
}

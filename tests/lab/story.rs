//! The short way of `docs/migrate.md`, from acme.sh on three nodes to one certificate that all of them serve.

use crate::lab::process::is_root;
use crate::lab::story::{Homes, play};

#[test]
fn three_commands_lead_from_acme_sh_on_three_nodes_to_one_certificate_without_an_order_or_a_failed_handshake() {
    if is_root() {
        play(&Homes::Written);
    }
}

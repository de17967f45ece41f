//! Public-key login, with each identity in turn.

use ssh2::Session;

use super::line::Line;
use super::{Endpoint, SshError};
use crate::report::escape;

/// The server is not asked which methods it has: that costs a round trip.
pub(super) fn log_in(endpoint: &Endpoint, session: &Session, line: &Line) -> Result<(), SshError> {
    let mut tried = Vec::new();
    for identity in &endpoint.identities {
        match session.userauth_pubkey_memory(&endpoint.user, None, &identity.pem, None) {
            Ok(()) => return Ok(()),
            Err(error) => {
                let why = match error.code() {
                    ssh2::ErrorCode::Session(AUTHENTICATION_FAILED | PUBLICKEY_UNVERIFIED) => "refused by the node",
                    ssh2::ErrorCode::Session(SOCKET_SEND | SOCKET_DISCONNECT | SOCKET_RECV | BAD_SOCKET) => {
                        return Err(line.closed(&endpoint.node, &error.message()));
                    }
                    _ => error.message(),
                };
                tried.push(format!("{} ({})", identity.file.display(), escape(why, 100)));
            }
        }
    }
    Err(SshError::Login { node: endpoint.node.clone(), user: endpoint.user.clone(), tried })
}

// libssh2.h
const SOCKET_SEND: i32 = -7;
const SOCKET_DISCONNECT: i32 = -13;
const AUTHENTICATION_FAILED: i32 = -18;
const PUBLICKEY_UNVERIFIED: i32 = -19;
const SOCKET_RECV: i32 = -43;
const BAD_SOCKET: i32 = -45;

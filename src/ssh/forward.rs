//! A channel through a session, to a port that its host can reach.

use core::time::Duration;

use ssh2::{ErrorCode, Session};

use super::SshError;
use crate::cert::NodeName;
use crate::text::escape;

/// For a TCP connection: three retransmissions of the SYN by Linux (1, 3 and 7 s). A jump host has as long to connect.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// A channel to `host` and `port` as `by` resolves them (RFC 4254 section 7.2, "direct-tcpip").
pub(super) fn forwarded(session: &Session, by: &NodeName, host: &str, port: u16) -> Result<ssh2::Channel, SshError> {
    session.set_blocking(true);
    session.set_timeout(u32::try_from(CONNECT.as_millis()).unwrap_or(u32::MAX));
    let channel = session.channel_direct_tcpip(host, port, None);
    session.set_timeout(0);
    channel.map_err(|error| not_forwarded(by, host, port, &error))
}

/// Why a channel could not be opened.
pub(super) fn not_forwarded(by: &NodeName, host: &str, port: u16, error: &ssh2::Error) -> SshError {
    let (node, to) = (by.clone(), authority(host, port));
    let why = escape(error.message().trim_start_matches("Channel open failure").trim_matches(['(', ')', ' ']), 200);
    match error.code() {
        ErrorCode::Session(TIMEOUT) => {
            SshError::FarSide { node, to, why: format!("no answer within {} s", CONNECT.as_secs()) }
        }
        ErrorCode::Session(CHANNEL_FAILURE) if why == "connect failed" => SshError::FarSide { node, to, why },
        ErrorCode::Session(CHANNEL_FAILURE) => SshError::Forwarding { node, to, why },
        _ => SshError::Closed { node, phase: format!("connecting to {to}"), why },
    }
}

pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

// libssh2.h
const TIMEOUT: i32 = -9;
const CHANNEL_FAILURE: i32 = -21;

//! Opening a session: TCP or a jump host's channel, key exchange, host key, login.
//!
//! No call of libssh2 has a timeout of its own here. A deadline, or a caller that gave up, shuts the socket down from
//! another thread, and the blocked call fails at once; so does the disconnect message that libssh2 sends when dropped.

use core::time::Duration;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use ssh2::{ErrorCode, MethodType, Session};

use super::connection::{CloseOnDrop, Connection, Open, Socket};
use super::error::Stage;
use super::forward::CONNECT;
use super::host_key::{algorithms, fingerprint};
use super::login::log_in;
use super::pool::Login;
use super::{Endpoint, SshError};
use crate::cert::NodeName;
use crate::config::{HostKey, ssh_string};
use crate::descriptors;
use crate::text::escape;

/// Addresses of one name that are tried. One machine has two; more than this is an error in the zone.
const MOST_ADDRESSES: usize = 8;
/// For all addresses of one name but the last: connecting and key exchange together. The rest of a login's 30 s is left
/// for the last address.
const OTHERS: Duration = Duration::from_secs(20);
/// Characters of a server's line that are shown.
const LINE: usize = 120;

/// One address. `limit` bounds connecting and the key exchange each where another address follows; `None`: no limit but
/// the caller's deadline.
#[derive(Clone, Copy)]
pub(super) struct Try {
    address: SocketAddr,
    limit: Option<Duration>,
}

/// The result of `attempt` at the first address that leads to the node. The pinned keys show which one does: an address
/// with another host key is passed over.
pub(super) fn at_one_address<T>(
    endpoint: &Endpoint,
    connection: &Connection,
    mut attempt: impl FnMut(Try) -> Result<T, SshError>,
) -> Result<T, SshError> {
    let count = (1 + endpoint.others.len()).min(MOST_ADDRESSES);
    let share = OTHERS / 2 / u32::try_from(count).unwrap_or(u32::MAX);
    let mut tried = Vec::new();
    for address in core::iter::once(&endpoint.address).chain(&endpoint.others).take(count) {
        let limit = (tried.len() + 1 < count).then_some(share);
        match attempt(Try { address: *address, limit }) {
            Err(error) if count > 1 && is_of_the_address(&error) && connection.is_wanted() => tried.push(error),
            end => return end,
        }
    }
    Err(SshError::Addresses { node: endpoint.node.clone(), tried })
}

/// Whether another address may succeed.
fn is_of_the_address(error: &SshError) -> bool {
    match error {
        SshError::Refused { .. }
        | SshError::NoAnswer { .. }
        | SshError::Unreachable { .. }
        | SshError::Handshake { .. }
        | SshError::HostKeyChanged { .. }
        | SshError::HostKeyRevoked { .. } => true,
        SshError::Jump { source, .. } => matches!(**source, SshError::FarSide { .. }),
        _ => false,
    }
}

/// Pauses after a server dropped the connection, milliseconds, each plus or minus a half: nobody else's logins are in
/// step with ours. 9 s in all, less than a login may take.
const PAUSES: [u32; 5] = [300, 600, 1200, 2400, 4800];

/// Connects and logs in. Before the session is dropped, close its connection, as [`CloseOnDrop`] does.
pub(super) fn open(endpoint: &Endpoint, connection: &Connection) -> Result<Open, SshError> {
    again_if_dropped(connection, || open_once(endpoint, connection))
}

/// Tries again where the server drops the connection before it knows who wants to log in.
pub(super) fn again_if_dropped<T>(
    connection: &Connection,
    mut attempt: impl FnMut() -> Result<T, SshError>,
) -> Result<T, SshError> {
    let mut pauses = PAUSES.into_iter();
    loop {
        match attempt() {
            Err(error) if error.is_dropped() && connection.is_wanted() => {
                let Some(pause) = pauses.next() else { return Err(error) };
                connection.phase(&format!("waiting to connect again, after {}", error.without_node()));
                if !connection.pause(jitter(pause)) {
                    return Err(error);
                }
            }
            end => return end,
        }
    }
}

fn jitter(milliseconds: u32) -> Duration {
    let mut random = [0; 4];
    // Without random numbers no session gets this far.
    let _ = aws_lc_rs::rand::fill(&mut random);
    Duration::from_millis(u64::from(milliseconds / 2 + u32::from_be_bytes(random) % milliseconds))
}

fn open_once(endpoint: &Endpoint, connection: &Connection) -> Result<Open, SshError> {
    let (open, login) = at_one_address(endpoint, connection, |target| {
        let login = admitted(endpoint, target, connection)?;
        Ok((pinned_at(endpoint, target, connection)?, login))
    })?;
    let guard = CloseOnDrop(connection);
    connection.phase("logging in");
    log_in(endpoint, &open.session, connection)?;
    drop(login);
    core::mem::forget(guard);
    Ok(open)
}

/// Waits for its turn among the logins at the same address.
pub(super) fn admitted(endpoint: &Endpoint, target: Try, connection: &Connection) -> Result<Login, SshError> {
    connection.phase("waiting for other logins at the same address");
    let login = endpoint.pool.login(endpoint, target.address, connection);
    login.ok_or_else(|| connection.closed(&endpoint.node, &"no longer wanted"))
}

/// TCP and key exchange. `host_key_algorithms`: `None` offers all that libssh2 has.
pub(super) fn handshake(
    endpoint: &Endpoint,
    target: Try,
    host_key_algorithms: Option<&str>,
    connection: &Connection,
) -> Result<Open, SshError> {
    let (node, address) = (endpoint.node.clone(), target.address);
    let socket = match &endpoint.jump {
        Some(jump) => (endpoint.pool.jump_host(jump, open).reach(address, connection))
            .map_err(|source| SshError::Jump { node: node.clone(), source })?,
        None => Socket::Tcp(Arc::new(by_tcp(&node, target, connection)?)),
    };
    if let Err(gone) = connection.track(&socket) {
        return Err(connection.closed(&node, &gone));
    }
    connection.phase("exchanging keys");
    let failed = |error: ssh2::Error| {
        let why = escape(error.message(), 200);
        SshError::Handshake { node: node.clone(), address, stage: Stage::KeyExchange, why }
    };
    let mut session = Session::new().map_err(failed)?;
    let guard = CloseOnDrop(connection);
    if let Some(algorithms) = host_key_algorithms {
        session.method_pref(MethodType::HostKey, algorithms).map_err(failed)?;
    }
    session.set_tcp_stream(socket.clone());
    // Zero: no timeout.
    session.set_timeout(target.limit.map_or(0, |limit| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX)));
    session.handshake().map_err(|error| {
        let (stage, why) = (stage(&session, &error), escape(error.message(), 200));
        SshError::Handshake { node: node.clone(), address, stage, why }
    })?;
    session.set_timeout(0);
    core::mem::forget(guard);
    Ok(Open { session, socket })
}

fn by_tcp(node: &NodeName, Try { address, limit }: Try, connection: &Connection) -> Result<TcpStream, SshError> {
    let node = node.clone();
    connection.phase("connecting");
    let after = limit.unwrap_or(CONNECT).min(CONNECT);
    let mut left = descriptors::ATTEMPTS;
    let connected = loop {
        left -= 1;
        match TcpStream::connect_timeout(&address, after) {
            Err(error) if descriptors::ran_out(&error) && left > 0 && connection.pause(descriptors::PAUSE) => {}
            connected => break connected,
        }
    };
    let socket = connected.map_err(|error| match error.kind() {
        _ if descriptors::ran_out(&error) => SshError::Thread { node: node.clone(), source: error },
        ErrorKind::ConnectionRefused => SshError::Refused { node: node.clone(), address },
        ErrorKind::TimedOut => SshError::NoAnswer { node: node.clone(), address, after },
        _ => SshError::Unreachable { node: node.clone(), address, source: error },
    })?;
    // Nagle's algorithm holds back the second small packet of each step: a tenth of a session at 150 ms.
    socket.set_nodelay(true).map_err(|source| SshError::Unreachable { node, address, source })?;
    Ok(socket)
}

/// How far a handshake came that failed.
fn stage(session: &Session, error: &ssh2::Error) -> Stage {
    let ended = matches!(error.code(), ErrorCode::Session(SOCKET_SEND | SOCKET_DISCONNECT | SOCKET_RECV));
    // libssh2 keeps the last line that came, whether it is a banner or not.
    match session.banner_bytes() {
        Some(line) if !line.starts_with(b"SSH-") => Stage::Line(escape(String::from_utf8_lossy(line).trim_end(), LINE)),
        _ if ended => Stage::Dropped,
        Some(_) => Stage::KeyExchange,
        None => Stage::NoBanner,
    }
}

/// A session with a host that shows a pinned key.
fn pinned_at(endpoint: &Endpoint, target: Try, connection: &Connection) -> Result<Open, SshError> {
    let (node, address) = (endpoint.node.clone(), target.address);
    let pinned = &endpoint.host_keys;
    let wanted = (!pinned.is_empty()).then(|| algorithms(pinned));
    let open = match handshake(endpoint, target, wanted.as_deref(), connection) {
        // The host has no key of a pinned kind: connect once more to report which key it shows.
        Err(error @ SshError::Handshake { stage: Stage::KeyExchange, .. }) if wanted.is_some() => {
            handshake(endpoint, target, None, connection).map_err(|_| error)?
        }
        open => open?,
    };
    let key = host_key(&open.session);
    let revoked = key.as_ref().is_some_and(|key| endpoint.revoked.iter().any(|gone| gone.blob == key.blob));
    if !revoked && key.as_ref().is_some_and(|key| pinned.iter().any(|pin| pin.blob == key.blob)) {
        return Ok(open);
    }
    // Before the session is dropped, as in `CloseOnDrop`.
    connection.close();
    let offered = key.as_ref().map_or("none".to_owned(), fingerprint);
    Err(if revoked {
        SshError::HostKeyRevoked { node, address, offered }
    } else if pinned.is_empty() {
        let authorities = endpoint.authorities.iter().map(fingerprint).collect();
        SshError::HostKeyUnknown { node, address, offered, authorities }
    } else {
        SshError::HostKeyChanged { node, address, offered, pinned: pinned.iter().map(fingerprint).collect() }
    })
}

pub(super) fn host_key(session: &Session) -> Option<HostKey> {
    let (blob, _) = session.host_key()?;
    // RFC 4253 section 6.6: a key's blob begins with its kind.
    let algorithm = core::str::from_utf8(ssh_string(blob)?.0).ok()?;
    Some(HostKey { algorithm: escape(algorithm, 64), blob: blob.to_vec() })
}

// libssh2.h
const SOCKET_SEND: i32 = -7;
const SOCKET_DISCONNECT: i32 = -13;
const SOCKET_RECV: i32 = -43;

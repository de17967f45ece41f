//! What a login may do on a node beyond its purpose, found out by trying. Each attempt is harmless even if it succeeds,
//! and all of them share one connection.

use core::time::Duration;
use std::io::{Read as _, Write as _};

use ssh2::{ErrorCode, Session};

use super::connect::open;
use super::connection::Connection;
use super::thread::on_thread;
use super::{Endpoint, SshError};

/// One thing that a login may be able to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// An interactive shell; [`ECHO`] is written to its stdin.
    Shell,
    /// Empty: [`ECHO`].
    Command(String),
    /// By name: `sftp`.
    Subsystem(String),
    Terminal,
    /// Name and value of an environment variable.
    Variable(String, String),
    AgentForwarding,
    /// A connection from the node to this host and port.
    Forward(String, u16),
    /// A connection to the path of a socket that is listened at.
    ForwardToSocket(String),
    /// Remote forwarding: the node listens at this address, at a port of its choice.
    Listen(String),
}

/// Result of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Refused,
    /// A program started, but did not do what was asked.
    Inert,
    Granted,
}

/// Output of [`ECHO`] in a shell, which does not occur in any text that is sent.
const PROOF: &[u8] = b"certd-42-proof";
const ECHO: &str = "echo certd-$((6*7))-proof";
/// SSH_FXP_INIT, version 3 (draft-ietf-secsh-filexfer-02 section 4), and the first bytes of the answer.
const SFTP_INIT: &[u8] = &[0, 0, 0, 5, 1, 0, 0, 0, 3];
const SFTP_VERSION: &[u8] = &[2, 0, 0, 0, 3];
/// Bytes of output that are searched.
const MOST: u64 = 64 * 1024;

/// # Errors
/// The connection, the login, or the deadline for all of them.
pub async fn capabilities(
    endpoint: Endpoint,
    attempts: Vec<Capability>,
    deadline: Duration,
) -> Result<Vec<(Capability, Answer)>, SshError> {
    let connection = Connection::default();
    let node = endpoint.node.clone();
    let work = {
        let connection = connection.clone();
        move || {
            let session = open(&endpoint, &connection)?.session;
            session.set_blocking(true);
            connection.phase("trying what the key may do");
            let tried = attempts.into_iter().map(|attempt| {
                let answer = answer(&session, &attempt).map_err(|error| connection.closed(&endpoint.node, &error))?;
                Ok((attempt, answer))
            });
            let tried = tried.collect();
            // Before the session is dropped, as in `CloseOnDrop`.
            connection.close();
            tried
        }
    };
    match tokio::time::timeout(deadline, on_thread(&node, work)).await {
        Ok(tried) => tried,
        Err(_) => Err(connection.overdue(&node, deadline)),
    }
}

fn answer(session: &Session, attempt: &Capability) -> Result<Answer, std::io::Error> {
    match attempt {
        Capability::Forward(host, port) => opened(session.channel_direct_tcpip(host, *port, None)),
        // OpenSSH answers "connect failed" whatever the reason: only a socket that is listened at gives a proof.
        Capability::ForwardToSocket(path) => granted(session.channel_direct_streamlocal(path, None)),
        Capability::Listen(host) => granted(session.channel_forward_listen(0, Some(host), None)),
        Capability::Shell => {
            let mut channel = session.channel_session()?;
            if !started(channel.shell())? {
                return Ok(Answer::Refused);
            }
            converse(&mut channel, format!("{ECHO}\n").as_bytes(), PROOF)
        }
        Capability::Command(command) => {
            let mut channel = session.channel_session()?;
            let command = if command.is_empty() { ECHO } else { command };
            if !started(channel.exec(command))? {
                return Ok(Answer::Refused);
            }
            converse(&mut channel, b"", PROOF)
        }
        Capability::Subsystem(name) => {
            let mut channel = session.channel_session()?;
            if !started(channel.subsystem(name))? {
                return Ok(Answer::Refused);
            }
            converse(&mut channel, SFTP_INIT, SFTP_VERSION)
        }
        Capability::Terminal => granted(session.channel_session()?.request_pty("vt100", None, None)),
        Capability::Variable(name, value) => granted(session.channel_session()?.setenv(name, value)),
        Capability::AgentForwarding => granted(session.channel_session()?.request_auth_agent_forwarding()),
    }
}

/// False: the request was refused. Any other error is the session's.
fn started<T>(asked: Result<T, ssh2::Error>) -> Result<bool, std::io::Error> {
    match asked {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.code(), ErrorCode::Session(FAILED | DENIED | NOT_GRANTED)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn granted<T>(asked: Result<T, ssh2::Error>) -> Result<Answer, std::io::Error> {
    Ok(if started(asked)? { Answer::Granted } else { Answer::Refused })
}

/// A failed connection proves that forwarding is permitted (RFC 4254 section 5.1: "connect failed" is another reason than
/// "administratively prohibited"). libssh2 has one code for both, and only its message, which quotes sshd, differs.
fn opened(asked: Result<ssh2::Channel, ssh2::Error>) -> Result<Answer, std::io::Error> {
    match asked {
        Err(error) if error.message().contains("connect failed") => Ok(Answer::Granted),
        asked => granted(asked),
    }
}

/// Writes `input`, closes stdin, and searches the output for `proof`.
fn converse(channel: &mut ssh2::Channel, input: &[u8], proof: &[u8]) -> Result<Answer, std::io::Error> {
    // A program that has ended already takes no input, and is inert.
    let _ = channel.write_all(input).and_then(|()| Ok(channel.send_eof()?));
    let mut output = Vec::new();
    channel.take(MOST).read_to_end(&mut output)?;
    let found = output.windows(proof.len()).any(|window| window == proof);
    Ok(if found { Answer::Granted } else { Answer::Inert })
}

// libssh2.h
const FAILED: i32 = -21;
const DENIED: i32 = -22;
const NOT_GRANTED: i32 = -32;

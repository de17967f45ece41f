//! What a key may do on a node besides what it is meant for, found out by trying. Each attempt is harmless where it
//! succeeds, and all of them go over one connection.

use core::time::Duration;
use std::io::{Read as _, Write as _};

use ssh2::{ErrorCode, Session};

use super::connect::open;
use super::connection::Connection;
use super::thread::on_thread;
use super::{Endpoint, SshError};

/// One thing to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// `words` into its stdin; both make [`PROOF`] come out where a shell runs them.
    Shell,
    Command(String),
    /// By its name: `sftp`.
    Subsystem(String),
    Terminal,
    /// A variable for the program.
    Variable(String, String),
    AgentForwarding,
    /// A connection from the node to there.
    Forward(String, u16),
    /// The same to the path of a socket that somebody listens at.
    ForwardToSocket(String),
    /// The node listens for us, at a port of its choice on this address.
    Listen(String),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Refused,
    /// Something was started, and it said nothing that was asked of it.
    Inert,
    /// It worked.
    Granted,
}

/// What `echo` would say; it stands nowhere in what is sent.
const PROOF: &[u8] = b"certd-42-proof";
const ECHO: &str = "echo certd-$((6*7))-proof";
/// SSH_FXP_INIT, version 3 (draft-ietf-secsh-filexfer-02 section 4), and the first bytes of the answer.
const SFTP_INIT: &[u8] = &[0, 0, 0, 5, 1, 0, 0, 0, 3];
const SFTP_VERSION: &[u8] = &[2, 0, 0, 0, 3];
/// Bytes of an answer that are looked at.
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
            // Before libssh2 says its farewell, which nobody waits for.
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
        // OpenSSH says "connect failed" to this, whatever its reason was: only a socket that somebody listens at tells.
        Capability::ForwardToSocket(path) => granted(session.channel_direct_streamlocal(path, None)),
        Capability::Listen(host) => granted(session.channel_forward_listen(0, Some(host), None)),
        Capability::Shell => {
            let mut channel = session.channel_session()?;
            if !started(channel.shell())? {
                return Ok(Answer::Refused);
            }
            heard(&mut channel, format!("{ECHO}\n").as_bytes(), PROOF)
        }
        Capability::Command(command) => {
            let mut channel = session.channel_session()?;
            let command = if command.is_empty() { ECHO } else { command };
            if !started(channel.exec(command))? {
                return Ok(Answer::Refused);
            }
            heard(&mut channel, b"", PROOF)
        }
        Capability::Subsystem(name) => {
            let mut channel = session.channel_session()?;
            if !started(channel.subsystem(name))? {
                return Ok(Answer::Refused);
            }
            heard(&mut channel, SFTP_INIT, SFTP_VERSION)
        }
        Capability::Terminal => granted(session.channel_session()?.request_pty("vt100", None, None)),
        Capability::Variable(name, value) => granted(session.channel_session()?.setenv(name, value)),
        Capability::AgentForwarding => granted(session.channel_session()?.request_auth_agent_forwarding()),
    }
}

/// An error of the session ends everything; one of a request is an answer.
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

/// That nobody listens there is another answer than that it is not permitted (RFC 4254 section 5.1).
/// libssh2 has one code for both, and quotes sshd's words.
fn opened(asked: Result<ssh2::Channel, ssh2::Error>) -> Result<Answer, std::io::Error> {
    match asked {
        Err(error) if error.message().contains("connect failed") => Ok(Answer::Granted),
        asked => granted(asked),
    }
}

/// Says the words, closes its stdin, and listens to the end.
fn heard(channel: &mut ssh2::Channel, words: &[u8], proof: &[u8]) -> Result<Answer, std::io::Error> {
    // A program that has ended already takes no words, which is as good as any other way not to obey.
    let _ = channel.write_all(words).and_then(|()| Ok(channel.send_eof()?));
    let mut said = Vec::new();
    channel.take(MOST).read_to_end(&mut said)?;
    let found = said.windows(proof.len()).any(|window| window == proof);
    Ok(if found { Answer::Granted } else { Answer::Inert })
}

// libssh2.h
const FAILED: i32 = -21;
const DENIED: i32 = -22;
const NOT_GRANTED: i32 = -32;

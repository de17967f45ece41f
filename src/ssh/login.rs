//! Public-key login, with each identity file in turn, then with each key of the agent.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ssh2::{ErrorCode, Session};

use super::agent::{self, Agent};
use super::connection::Connection;
use super::identity::Identity;
use super::{Endpoint, SshError};
use crate::text::escape;

/// Does not ask the server for its methods, which would cost a round trip.
pub(super) fn log_in(endpoint: &Endpoint, session: &Session, connection: &Connection) -> Result<(), SshError> {
    let mut attempts = Attempts { endpoint, session, connection, tried: Vec::new() };
    for identity in &endpoint.identities {
        let name = identity.file.display().to_string();
        let passphrase = match passphrase(identity) {
            Ok(passphrase) => passphrase,
            Err(why) => {
                attempts.tried.push(format!("{name} ({why})"));
                continue;
            }
        };
        if let Some(flaw) = identity.flaw() {
            attempts.tried.push(format!("{name} ({})", flaw.what()));
            continue;
        }
        if let Some(certificate) = &identity.certificate {
            let name = certificate_file(&identity.file).display().to_string();
            let result = session.userauth_pubkey_memory(&endpoint.user, Some(certificate), &identity.pem, passphrase);
            if attempts.taken(&name, result, passphrase.is_some())? {
                return Ok(());
            }
        }
        let result = session.userauth_pubkey_memory(&endpoint.user, None, &identity.pem, passphrase);
        if attempts.taken(&name, result, passphrase.is_some())? {
            return Ok(());
        }
    }
    if let Some(socket) = &endpoint.agent
        && with_agent(session, socket, &mut attempts)?
    {
        return Ok(());
    }
    Err(attempts.refused())
}

/// Where OpenSSH keeps the certificate of a key.
pub fn certificate_file(identity: &Path) -> PathBuf {
    let mut file = identity.as_os_str().to_owned();
    file.push("-cert.pub");
    file.into()
}

/// The passphrase that opens the key, or why the key cannot be used.
fn passphrase(identity: &Identity) -> Result<Option<&str>, &'static str> {
    if identity.is_of_a_security_key() {
        return Err("a key of a security device, which must be touched");
    }
    match (identity.is_encrypted(), &identity.passphrase) {
        (false, _) => Ok(None),
        (true, Some(passphrase)) => Ok(Some(passphrase)),
        (true, None) => Err("encrypted, and ssh.passphrase_file is not set"),
    }
}

fn with_agent(session: &Session, socket: &Path, attempts: &mut Attempts<'_>) -> Result<bool, SshError> {
    if socket.as_os_str().is_empty() {
        attempts.tried.push("the agent (SSH_AUTH_SOCK is not set)".to_owned());
        return Ok(false);
    }
    let Attempts { endpoint, connection, .. } = *attempts;
    let lent = Agent::ask(socket, connection).and_then(|agent| agent.lend(session, &endpoint.node, connection));
    let listed = lent.and_then(|mut agent| {
        agent.list_identities()?;
        let keys = agent.identities()?;
        Ok((agent, keys))
    });
    let (agent, keys) = match listed {
        Ok(listed) => listed,
        Err(error) => {
            let why = escape(&agent::why(&error), 100);
            attempts.tried.push(format!("the agent at {} ({why})", socket.display()));
            return Ok(false);
        }
    };
    if keys.is_empty() {
        attempts.tried.push(format!("the agent at {} (has no keys)", socket.display()));
    }
    for key in keys {
        let name = format!("{} of the agent", escape(key.comment(), 60));
        if attempts.taken(&name, agent.userauth(&endpoint.user, &key), false)? {
            return Ok(true);
        }
    }
    Ok(false)
}

struct Attempts<'a> {
    endpoint: &'a Endpoint,
    session: &'a Session,
    connection: &'a Connection,
    /// Each key and its result.
    tried: Vec<String>,
}

impl Attempts<'_> {
    /// False: try the next key.
    fn taken(&mut self, name: &str, result: Result<(), ssh2::Error>, opened: bool) -> Result<bool, SshError> {
        let Err(error) = result else { return Ok(true) };
        let why = match error.code() {
            // libssh2 has one code for a refusal and for a connection that ended before the answer; only its text differs.
            ErrorCode::Session(PUBLICKEY_UNVERIFIED) if error.message().starts_with("Waiting for") => {
                return Err(self.ended(&error));
            }
            // The node knew the key and asked for a signature.
            ErrorCode::Session(PUBLICKEY_UNVERIFIED) if let Some(wanted) = self.wanted_besides() => {
                let (node, user) = (self.endpoint.node.clone(), self.endpoint.user.clone());
                return Err(SshError::SecondFactor { node, user, key: name.to_owned(), wanted });
            }
            ErrorCode::Session(AUTHENTICATION_FAILED | PUBLICKEY_UNVERIFIED) => "refused by the node",
            ErrorCode::Session(SOCKET_SEND | SOCKET_DISCONNECT | SOCKET_RECV | BAD_SOCKET) => {
                return Err(self.ended(&error));
            }
            // libssh2 does not tell a wrong passphrase from a damaged key.
            ErrorCode::Session(FILE | KEYFILE_AUTH_FAILED) if opened => "the passphrase does not open it",
            _ => error.message(),
        };
        self.tried.push(format!("{name} ({})", escape(why, 100)));
        Ok(false)
    }

    /// The methods that the node goes on with, if public keys are none of them any more: partial success (RFC 4252
    /// section 5.1), which libssh2 does not tell from a refusal.
    fn wanted_besides(&self) -> Option<String> {
        // The crate panics where the node's list is not UTF-8.
        let methods = AssertUnwindSafe(|| self.session.auth_methods(&self.endpoint.user).map(str::to_owned));
        let methods = catch_unwind(methods).ok()?.ok()?;
        let goes_on = methods.split(',').any(|method| method == "publickey");
        (!goes_on && !methods.is_empty()).then(|| escape(&methods.replace(',', " or "), 100))
    }

    /// sshd ends a session after MaxAuthTries keys, six by default, and counts each key offered.
    fn ended(&mut self, error: &ssh2::Error) -> SshError {
        if self.tried.iter().filter(|tried| tried.ends_with("(refused by the node)")).count() < 2 {
            let before = self.tried.iter().map(|tried| format!("; before it: {tried}")).collect::<String>();
            return self.connection.closed(&self.endpoint.node, &format!("{}{before}", error.message()));
        }
        self.tried.push("then the node ended the session (MaxAuthTries in its sshd_config)".to_owned());
        self.refused()
    }

    fn refused(&mut self) -> SshError {
        let tried = core::mem::take(&mut self.tried);
        SshError::Login { node: self.endpoint.node.clone(), user: self.endpoint.user.clone(), tried }
    }
}

// libssh2.h
const SOCKET_SEND: i32 = -7;
const SOCKET_DISCONNECT: i32 = -13;
const FILE: i32 = -16;
const AUTHENTICATION_FAILED: i32 = -18;
const PUBLICKEY_UNVERIFIED: i32 = -19;
const SOCKET_RECV: i32 = -43;
const BAD_SOCKET: i32 = -45;
const KEYFILE_AUTH_FAILED: i32 = -48;

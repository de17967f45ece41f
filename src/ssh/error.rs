//! Errors of an SSH session, each with the operator's next step.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use crate::cert::NodeName;
use crate::model::{Advice, Code};

#[derive(Debug, thiserror::Error)]
pub enum SshError {
    #[error("{node}: {address} refuses the connection")]
    Refused { node: NodeName, address: SocketAddr },
    #[error("{node}: {address} did not answer within {} s", .after.as_secs())]
    NoAnswer { node: NodeName, address: SocketAddr, after: Duration },
    #[error("{node}: {address} cannot be reached: {source}")]
    Unreachable { node: NodeName, address: SocketAddr, source: io::Error },
    /// Banner or key exchange failed: no SSH server, a server at its limit (MaxStartups), or no algorithm in common.
    #[error("{node}: no SSH session with {address}: {}", stage_text(.stage, .why))]
    Handshake { node: NodeName, address: SocketAddr, stage: Stage, why: String },
    /// `offered` as `ssh-keygen -l` shows it.
    /// `authorities`: fingerprints of the certificate authorities that a known_hosts file trusts for it.
    #[error("{node}: the host key of {address} is not known here; it shows {offered}{}", authorities_text(.authorities))]
    HostKeyUnknown { node: NodeName, address: SocketAddr, offered: String, authorities: Vec<String> },
    #[error("{node}: {address} shows the host key {offered}, which known_hosts marks as revoked")]
    HostKeyRevoked { node: NodeName, address: SocketAddr, offered: String },
    #[error("{node}: {address} shows the host key {offered}, and pinned is {}", .pinned.join(", "))]
    HostKeyChanged { node: NodeName, address: SocketAddr, offered: String, pinned: Vec<String> },
    /// `tried`: each key and its result.
    #[error("{node}: no login as {user}: {}", if .tried.is_empty() { "no identity file is configured".to_owned() } else { .tried.join("; ") })]
    Login { node: NodeName, user: String, tried: Vec<String> },
    /// Partial success: sshd took `key` and wants more. `wanted`: its methods.
    #[error("{node}: sshd takes {key} for {user}, and wants {wanted} besides")]
    SecondFactor { node: NodeName, user: String, key: String, wanted: String },
    #[error("{node}: logged in, but no program could be started: {why}")]
    Exec { node: NodeName, why: String },
    /// `phase` completes "while", as in "while logging in".
    #[error("{node}: the connection ended while {phase}: {why}")]
    Closed { node: NodeName, phase: String, why: String },
    #[error("{node}: not done after {} s, while {phase}", .after.as_secs())]
    Deadline { node: NodeName, phase: String, after: Duration },
    /// sshd does not forward, or not to `to` (AllowTcpForwarding, PermitOpen, the key's line in authorized_keys).
    #[error("{node}: sshd there does not forward to {to}: {why}")]
    Forwarding { node: NodeName, to: String, why: String },
    /// The connection that sshd forwards failed: nothing accepts it at `to`.
    #[error("{node}: no connection from there to {to}: {why}")]
    FarSide { node: NodeName, to: String, why: String },
    /// A jump host's error.
    #[error("{node}: {source}")]
    Jump { node: NodeName, source: Arc<Self> },
    /// The program on the node ended before it answered. `status`: `None` when the node sent none, which is not success.
    /// `signal`: what ended it (RFC 4254 section 6.10), such as KILL. `words`: its stderr, escaped.
    #[error("{node}: the program ended without an answer ({}){}", status_text(.status, .signal), words_text(.words))]
    Ended { node: NodeName, status: Option<i32>, signal: Option<String>, words: String },
    /// A login, or a program that it starts, prints without end; the session was closed.
    #[error("{node}: more than {} kB came on stderr", .most / 1024)]
    Noise { node: NodeName, most: usize },
    /// The error of each address of the node's name. Never empty.
    #[error("{node}: {}", tried_text(.node, .tried))]
    Addresses { node: NodeName, tried: Vec<Self> },
    /// This machine could not start another thread, or open another file.
    #[error("{node}: no session could be started: {source}")]
    Thread { node: NodeName, source: io::Error },
}

/// How far a session came that was never agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The server ended the connection without a word.
    Dropped,
    /// It sent this line in place of its banner.
    Line(String),
    /// What it sent is no banner, or nothing came in time.
    NoBanner,
    /// The keys could not be agreed on.
    KeyExchange,
}

fn stage_text(stage: &Stage, why: &str) -> String {
    match stage {
        Stage::Dropped => format!("the server ended the connection before a login ({why})"),
        Stage::Line(line) => format!("the server answered \"{line}\" in place of an SSH banner"),
        Stage::NoBanner | Stage::KeyExchange => why.to_owned(),
    }
}

/// What sshd (9.8 and newer) says to an address that PerSourcePenalties punishes.
const PENALTY: &str = "Not allowed at this time";
/// What sshd says beyond MaxStartups.
const AT_ITS_LIMIT: &str = "Exceeded MaxStartups";

/// The kernel has no route, or no address of that family: nothing was sent. (A router on the way gives "host unreachable".)
fn is_of_this_machine(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable)
}

fn authorities_text(authorities: &[String]) -> String {
    if authorities.is_empty() {
        return String::new();
    }
    let all = authorities.join(", ");
    format!(" (known_hosts has an @cert-authority for it, {all}, and certd does not support host certificates)")
}

fn status_text(status: &Option<i32>, signal: &Option<String>) -> String {
    match (signal, status) {
        (Some(signal), _) => format!("by SIG{signal}"),
        (None, Some(status)) => format!("exit status {status}"),
        (None, None) => "exit status unknown".to_owned(),
    }
}

fn words_text(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

/// Without the node in each, which the caller's text begins with.
fn tried_text(node: &NodeName, tried: &[SshError]) -> String {
    let texts = tried.iter().map(ToString::to_string);
    let texts = texts.map(|text| text.strip_prefix(&format!("{node}: ")).map(str::to_owned).unwrap_or(text));
    texts.collect::<Vec<_>>().join("; ")
}

impl SshError {
    /// The error of the address that needs a person (another host answers there); else the first.
    fn worst(&self) -> &Self {
        let Self::Addresses { tried, .. } = self else { return self };
        tried.iter().find(|error| error.advice() == Advice::Person).or(tried.first()).unwrap_or(self)
    }

    /// A server that is at its limit turned the connection away before it knew whose it is: it is tried again.
    pub(super) fn is_dropped(&self) -> bool {
        match self {
            Self::Handshake { stage: Stage::Dropped, .. } => true,
            Self::Handshake { stage: Stage::Line(line), .. } => line.starts_with(AT_ITS_LIMIT),
            Self::Addresses { tried, .. } => tried.iter().any(Self::is_dropped) && self.advice() != Advice::Person,
            _ => false,
        }
    }

    /// The server has judged this machine's address: it is asked no more for a while.
    pub(super) fn is_penalty(&self) -> bool {
        match self {
            Self::Handshake { stage: Stage::Line(line), .. } => line.starts_with(PENALTY),
            Self::Addresses { tried, .. } => tried.iter().any(Self::is_penalty),
            _ => false,
        }
    }

    /// The text after the node's name.
    pub(super) fn without_node(&self) -> String {
        let text = self.to_string();
        text.split_once(": ").map(|(_, rest)| rest.to_owned()).unwrap_or(text)
    }

    pub fn advice(&self) -> Advice {
        match self {
            Self::Addresses { tried, .. } if tried.iter().any(|error| error.advice() == Advice::Person) => {
                Advice::Person
            }
            Self::HostKeyUnknown { .. }
            | Self::HostKeyChanged { .. }
            | Self::HostKeyRevoked { .. }
            | Self::Login { .. }
            | Self::SecondFactor { .. }
            | Self::Forwarding { .. } => Advice::Person,
            Self::Jump { source, .. } => source.advice(),
            Self::Refused { .. }
            | Self::NoAnswer { .. }
            | Self::Unreachable { .. }
            | Self::Handshake { .. }
            | Self::Exec { .. }
            | Self::Closed { .. }
            | Self::Deadline { .. }
            | Self::Ended { .. }
            | Self::FarSide { .. }
            | Self::Noise { .. }
            | Self::Addresses { .. }
            | Self::Thread { .. } => Advice::Retry { after_seconds: None },
        }
    }

    pub fn code(&self) -> Code {
        match self {
            Self::Refused { .. } => Code::SshRefused,
            Self::NoAnswer { .. } => Code::SshNoAnswer,
            Self::Unreachable { .. } => Code::SshUnreachable,
            Self::Handshake { stage: Stage::Line(_), .. } => Code::SshTurnedAway,
            Self::Handshake { .. } => Code::SshHandshake,
            Self::HostKeyUnknown { .. } => Code::SshHostKeyUnknown,
            Self::HostKeyChanged { .. } => Code::SshHostKeyChanged,
            Self::HostKeyRevoked { .. } => Code::SshHostKeyRevoked,
            Self::Login { .. } => Code::SshLogin,
            Self::SecondFactor { .. } => Code::SshSecondFactor,
            Self::Exec { .. } => Code::SshExec,
            Self::Closed { .. } => Code::SshClosed,
            Self::Deadline { .. } => Code::SshDeadline,
            Self::Forwarding { .. } => Code::SshForwarding,
            Self::FarSide { .. } => Code::SshFarSide,
            Self::Jump { .. } => Code::SshJump,
            Self::Ended { .. } => Code::SshEnded,
            Self::Noise { .. } => Code::SshNoise,
            Self::Addresses { .. } => match self.worst() {
                Self::Addresses { .. } => Code::SshUnreachable,
                worst => worst.code(),
            },
            Self::Thread { .. } => Code::SshThread,
        }
    }

    /// The operator's next step.
    pub fn next(&self) -> String {
        match self {
            Self::Refused { node, address } => {
                format!("see that sshd runs on {node} and listens on port {}", address.port())
            }
            Self::Unreachable { address, source, .. } if is_of_this_machine(source) => format!(
                "give this machine a route to {address} (`ip route get {}` shows what it has), or name the node by an address \
                 that it reaches",
                address.ip()
            ),
            Self::NoAnswer { address, .. } | Self::Unreachable { address, .. } => {
                format!("see that the node is up and that no firewall drops connections to {address}")
            }
            Self::Handshake { address, stage: Stage::Line(line), .. } if line.starts_with(PENALTY) => format!(
                "sshd at {address} punishes this machine's address for earlier connections (PerSourcePenalties; its log has \
                 them): wait until that has run off, and exempt this machine's address there: PerSourcePenaltyExemptList in sshd_config"
            ),
            Self::Handshake { address, stage: Stage::Line(line), .. } if !line.starts_with(AT_ITS_LIMIT) => {
                format!("see that {address} is an SSH server, and that nothing before it (a proxy, fail2ban) answers")
            }
            Self::Handshake { address, stage: Stage::Dropped, .. } => format!(
                "see that {address} is an SSH server; its log says why it ends connections: MaxStartups, PerSourceMaxStartups, \
                 or a rule that turns this machine's address away"
            ),
            Self::Handshake { address, .. } => {
                format!(
                    "see that {address} is an SSH server; its log (MaxStartups, algorithms) says why it ends sessions"
                )
            }
            Self::HostKeyUnknown { node, .. } => {
                format!("compare with the node's console and pin it: certd trust {node}")
            }
            Self::HostKeyChanged { node, .. } => format!(
                "if the node was reinstalled, compare the new key on its console, remove the old one and pin it: certd trust {node}; \
                 if not, somebody else answers at its address"
            ),
            Self::HostKeyRevoked { node, .. } => {
                format!(
                    "give {node} a new host key, compare it on its console and pin it; the old one counts as stolen"
                )
            }
            Self::Login { user, .. } => {
                format!(
                    "put the public key of an identity file into ~{user}/.ssh/authorized_keys on the node, and see that the \
                     account is not locked or expired (passwd -S {user}) and that sshd_config lets it in (AllowUsers)"
                )
            }
            Self::SecondFactor { node, user, .. } => format!(
                "certd logs in by key alone: exempt the account in sshd_config on {node}, with the lines \
                 \"Match User {user}\" and \"AuthenticationMethods publickey\" at its end"
            ),
            Self::Exec { .. } => "see MaxSessions and ForceCommand in the node's sshd_config".to_owned(),
            Self::Closed { node, .. } => format!("look at the log of sshd on {node}; it is tried again"),
            Self::Deadline { node, .. } => format!("see whether {node} is slow or the way to it is; it is tried again"),
            Self::Ended { node, words, .. } if words.contains("sudo: ") => {
                format!("set the account up again, with an administrator's login: certd node setup {node}")
            }
            Self::Forwarding { node, to, .. } => format!(
                "permit it on {node}: AllowTcpForwarding and PermitOpen in sshd_config, or \
                 port-forwarding,permitopen=\"{to}\" before the key in authorized_keys"
            ),
            Self::FarSide { node, to, .. } => {
                format!("see that something listens at {to} and that {node} may connect to it")
            }
            Self::Jump { source, .. } => match source.as_ref() {
                Self::HostKeyUnknown { node, .. } | Self::HostKeyChanged { node, .. } => format!(
                    "compare with the console of {node}, then pin its key: host_key of its entry in ssh.jump, or the known_hosts file"
                ),
                other => other.next(),
            },
            Self::Ended { node, signal: Some(_), .. } => {
                format!("see who ends programs on {node} (memory, limits of the login, its log); it is tried again")
            }
            Self::Ended { status: Some(127 | 126), .. } => {
                "see that /bin/sh works for this user on the node".to_owned()
            }
            Self::Ended { node, .. } => {
                format!("see that the login shell on {node} runs commands (not nologin), then log in by hand with ssh")
            }
            Self::Noise { node, .. } => {
                format!("see what the login shell's start files, or a forced command, print on {node}")
            }
            Self::Addresses { node, .. } => match self.worst() {
                Self::Addresses { .. } => format!("see that {node} is up and that its name has the right addresses"),
                worst => worst.next(),
            },
            Self::Thread { .. } => {
                "raise this machine's limit of threads or of open files (LimitNOFILE= of the unit, ulimit -n), or lower \
                 `sessions`"
                    .to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(stage: Stage) -> SshError {
        let node = NodeName::parse("node-1").unwrap_or_else(|bad| panic!("{bad}"));
        SshError::Handshake {
            node,
            address: ([192, 0, 2, 1], 22).into(),
            stage,
            why: "Failed getting banner".to_owned(),
        }
    }

    #[test]
    fn a_server_at_its_limit_is_asked_again_and_one_that_punishes_is_not() {
        let line = |text: &str| handshake(Stage::Line(text.to_owned()));
        assert!(handshake(Stage::Dropped).is_dropped());
        assert!(line("Exceeded MaxStartups").is_dropped());
        for error in [line(PENALTY), line("HTTP/1.1 400 Bad Request"), handshake(Stage::NoBanner)] {
            assert!(!error.is_dropped(), "{error}");
        }
        assert!(!handshake(Stage::KeyExchange).is_dropped());
        for error in [handshake(Stage::Dropped), line("Exceeded MaxStartups"), handshake(Stage::KeyExchange)] {
            assert!(error.next().contains("MaxStartups"), "{}", error.next());
        }
        assert!(line(PENALTY).next().contains("PerSourcePenaltyExemptList"));
        assert!(line(PENALTY).is_penalty());
    }

    #[test]
    fn where_this_machine_has_no_route_the_node_is_not_asked_for_a_firewall() {
        let (node, address) = (NodeName::parse("node-1").unwrap(), "[2001:db8::1]:22".parse().unwrap());
        let unreachable =
            |kind: io::ErrorKind| SshError::Unreachable { node: node.clone(), address, source: kind.into() }.next();
        assert!(unreachable(io::ErrorKind::NetworkUnreachable).contains("give this machine a route"));
        assert!(unreachable(io::ErrorKind::HostUnreachable).contains("firewall"));
    }
}

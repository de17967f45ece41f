//! The script that removes from a node what certd has left there: to be read first, and run by root.

use core::fmt::Write as _;

use super::receiver::{Account, COMMON, quoted};
use super::takeover::TRUSTED;
use crate::cert::{CertName, NodeName};
use crate::model::Leftover;
use crate::text::escape;

const CLEAN: &str = include_str!("clean.sh");

/// What a line says of a folder or file that would go, that is gone, and that was not there any more.
pub const GOES: &str = "goes: ";
pub const REMOVED: &str = "removed: ";
pub const GONE: &str = "gone: ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Changes nothing.
    Show,
    Clean,
}

/// What may be there of certd's, and what the configuration has there.
#[derive(Clone, Debug)]
pub struct Leftovers {
    pub folders: Vec<Leftover>,
    pub paths: Vec<String>,
    /// Certificates that this controller has delivered there, and that its configuration has there no more.
    pub delivered: Vec<CertName>,
    /// Folders that are only named, and why.
    pub stay: Vec<(String, &'static str)>,
    /// The configuration tests of its servers.
    pub tests: Vec<Vec<String>>,
    /// Of its receiver, if it has one.
    pub account: Option<Account>,
}

pub fn clean(node: &NodeName, task: Task, leftovers: &Leftovers) -> String {
    let task = if task == Task::Show { "show" } else { "clean" };
    let mut text = format!(
        "#!/bin/sh\n# For {}. Removes folders of certd's that no configured certificate uses there.\n# Made by `certd node \
         clean`: to be read, and run by root (sh FILE). It can be run again, and it holds no secret.\nos='' task={task}\n",
        escape(node.as_str(), 100)
    );
    let delivered: Vec<&str> = leftovers.delivered.iter().map(CertName::as_str).collect();
    let params = leftovers.account.as_ref().map(|account| format!("$os{}", account.parameters())).unwrap_or_default();
    let _ = writeln!(text, "params={params} delivered={}", quoted(&delivered.join(" ")));
    let _ = writeln!(text, "tested={}", if leftovers.tests.is_empty() { "" } else { "yes" });
    let _ = writeln!(text, "configured={}", quoted(&leftovers.paths.join("\n")));
    text.push_str("# shellcheck disable=SC2016 # literal\nitems() {\n  :\n");
    for Leftover { folder, paths } in &leftovers.folders {
        let words: Vec<String> = core::iter::once(folder).chain(paths).map(|path| quoted(path)).collect();
        let _ = writeln!(text, "  $task {}", words.join(" "));
    }
    for (folder, why) in &leftovers.stay {
        let _ = writeln!(text, "  left {} {}", quoted(folder), quoted(why));
    }
    text.push_str("}\nworks() {\n  :");
    for test in &leftovers.tests {
        let words: Vec<String> = test.iter().map(|word| quoted(word)).collect();
        let _ = write!(text, " &&\n    timeout 30 {}", words.join(" "));
    }
    text.push_str("\n}\n");
    text.extend([COMMON, "\n", TRUSTED, "\n", CLEAN]);
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_script_passes_shellcheck_and_paths_and_words_are_words() {
        let node = NodeName::parse("上海").unwrap();
        let paths = ["/it's/$(id).pem".to_owned()].into();
        let leftovers = Leftovers {
            folders: vec![Leftover { folder: "/ssl/.certd/a.example".to_owned(), paths }],
            paths: vec!["/etc/a.pem".to_owned(), "/etc/k.pem".to_owned()],
            delivered: vec![CertName::parse("b.example").unwrap()],
            stay: vec![("/ssl/.certd/it's".to_owned(), "nobody's")],
            tests: vec![vec!["nginx".to_owned(), "-t".to_owned()], vec!["true; id".to_owned()]],
            account: Some(Account::parse("certd").unwrap()),
        };
        for task in [Task::Show, Task::Clean] {
            let script = clean(&node, task, &leftovers);
            assert!(script.lines().all(|line| line != "END"));
            assert!(script.contains("  $task '/ssl/.certd/a.example' '/it'\\''s/$(id).pem'\n"), "{script}");
            assert!(script.contains("    timeout 30 'nginx' '-t' &&\n    timeout 30 'true; id'\n"), "{script}");
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("script"), &script).unwrap();
            let mut lint = Command::new("shellcheck");
            let lint = lint
                .args(["-s", "sh", "-e", "SC2015,SC1007,SC2034,SC2154,SC2329,SC2317"])
                .arg(dir.path().join("script"));
            let output = lint.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

//! Where each node's web server reads the certificate: from a look, or asked for.

use std::collections::BTreeMap;

use crate::cert::DnsName;
use crate::config::SERVERS;
use crate::config::draft::{Draft, DraftInstall};
use crate::model::WebServers;
use crate::ops::init::{self, Administrator};
use crate::plan::web_servers::{Choice, Proposal, choose, propose};
use crate::text::{escape, list};

use super::asking::Session;
use super::{Fault, Missing, flaw, provisional};

const BY_HAND: &str = "--set install.fullchain=PATH --set install.key=PATH --set install.server=nginx (docs/consumers.md has \
                       the servers), or a login for a look: --login USER --login-identity FILE";

impl Session {
    /// Fills in each node's own `install` of a draft whose nodes have host keys, and `[install]` with what all may have.
    pub(super) fn installs(
        &self,
        draft: &mut Draft,
        name: &str,
        domains: &[DnsName],
        missing: &mut Vec<Missing>,
    ) -> Result<(), Fault> {
        if is_complete(&draft.install) {
            return Ok(());
        }
        let found = self.found(draft, name, domains)?;
        if found.is_empty() {
            if let Some(answers) = self.asked_install(draft, "the nodes", missing)? {
                draft.install = over(&draft.install, answers);
            }
            return Ok(());
        }
        let unfound = draft.nodes.iter().map(|node| &node.name).filter(|name| !found.contains_key(*name));
        let unfound: Vec<&String> = unfound.collect();
        let mut answers = None;
        if !unfound.is_empty() {
            answers = self.asked_install(draft, &list::first(10, unfound), missing)?;
        }
        for node in &mut draft.nodes {
            // What one node says is not another's answer.
            if let Some(own) = found.get(&node.name).or(answers.as_ref()) {
                node.install = over(&draft.install, own.clone());
            }
        }
        share(draft);
        Ok(())
    }

    /// By node.
    pub(super) fn found(
        &self,
        draft: &Draft,
        name: &str,
        domains: &[DnsName],
    ) -> Result<BTreeMap<String, DraftInstall>, Fault> {
        let mut found = BTreeMap::new();
        for (node, servers) in self.looked(draft)? {
            let proposals = propose(&servers.servers, name, domains);
            let one = match choose(&proposals) {
                Choice::One(proposal) => Some(proposal),
                Choice::Ask(several) => {
                    let mut lines: Vec<String> = several.iter().map(|proposal| line(proposal)).collect();
                    match &self.terminal {
                        Some(terminal) => {
                            lines.push("none of these".to_owned());
                            let prompt = format!("{node}: which files are this certificate's?");
                            several.get(terminal.choose(&prompt, &lines)?).copied()
                        }
                        None => {
                            self.say(&format!("{node}: not taken without being asked for:\n  {}", lines.join("\n  ")));
                            None
                        }
                    }
                }
                Choice::None => None,
            };
            match one {
                Some(proposal) => {
                    self.say(&format!("{node}: {}", line(proposal)));
                    proposal.notes.iter().for_each(|note| self.say(&format!("  {node}: {note}")));
                    found.insert(node.clone(), proposal.install.clone());
                }
                None if proposals.is_empty() => {
                    self.say(&format!("{node}: neither nginx, Apache, HAProxy nor Caddy was found"));
                }
                None => {
                    let notes = proposals.iter().flat_map(|proposal| &proposal.notes);
                    notes.for_each(|note| self.say(&format!("  {node}: {note}")));
                }
            }
            if let Some(other) = servers.other.as_ref().filter(|_| !one.is_some_and(|proposal| proposal.listens)) {
                self.say(&format!("  {node}: {other} listens at the port, whose configuration certd cannot read"));
            }
        }
        Ok(found)
    }

    /// `on`: which nodes.
    pub(super) fn asked_install(
        &self,
        draft: &Draft,
        on: &str,
        missing: &mut Vec<Missing>,
    ) -> Result<Option<DraftInstall>, Fault> {
        let Some(terminal) = &self.terminal else {
            let what = format!("where the web server on {on} reads its certificate, and what it is");
            missing.push(Missing { what, option: BY_HAND });
            return Ok(None);
        };
        let names = SERVERS.each_ref().map(|server| server.name);
        let check = |answer: &str| {
            let known = names.contains(&answer);
            if known { Ok(()) } else { Err(format!("one of {}", names.join(", "))) }
        };
        let server = terminal.line(&format!("Server on {on}"), "nginx", check)?;
        let try_with = |change: &dyn Fn(&mut DraftInstall)| {
            let mut draft = draft.clone();
            change(&mut draft.install);
            flaw(&draft)
        };
        let folder = format!("/etc/{server}/ssl/{{name}}");
        let check = |answer: &str| try_with(&|install| install.fullchain = Some(answer.to_owned()));
        let fullchain = terminal.line("Where it reads the full chain", &format!("{folder}/fullchain.pem"), check)?;
        let beside = fullchain.rsplit_once('/').map_or("", |(folder, _)| folder);
        let check = |answer: &str| try_with(&|install| install.key = Some(answer.to_owned()));
        let key = terminal.line("Where it reads the key", &format!("{beside}/privkey.pem"), check)?;
        Ok(Some(DraftInstall {
            fullchain: Some(fullchain),
            key: Some(key),
            server: Some(server),
            ..DraftInstall::default()
        }))
    }

    /// Nothing, where there is no way to log in yet.
    pub(super) fn looked(&self, draft: &Draft) -> Result<Vec<(String, WebServers)>, Fault> {
        let Some(administrator) = self.administrator() else {
            self.say(
                "no look at the web servers: there is no key to log in with yet (--login USER --login-identity FILE)",
            );
            return Ok(Vec::new());
        };
        let context = self.context(provisional(draft)?, None)?;
        let mut found = Vec::new();
        for (node, result) in self.runtime.block_on(init::web_servers(&context, &administrator)) {
            match result {
                Ok(servers) => found.push((node.to_string(), servers)),
                Err(failure) => self.say(&format!("certd: {}\n  next: {}", failure.named(), failure.next)),
            }
        }
        Ok(found)
    }

    /// `None`: no key to log in with.
    pub(super) fn administrator(&self) -> Option<Administrator> {
        let agent = self.agent.clone();
        let some = self.read.has_key || !self.init.login_identity.is_empty() || agent.is_some();
        let identities = self.read.login_identities.clone();
        some.then(|| Administrator { user: self.init.login.clone(), identities, agent })
    }
}

fn is_complete(install: &DraftInstall) -> bool {
    let commands = install.server.is_some() || !(install.test.is_empty() || install.reload.is_empty());
    install.fullchain.is_some() && install.key.is_some() && commands
}

/// What is set by hand wins.
pub(super) fn over(set: &DraftInstall, found: DraftInstall) -> DraftInstall {
    // A server's preset has commands.
    let by_server = set.server.is_some();
    let texts = |set: &Vec<String>, found: Vec<String>| if set.is_empty() && !by_server { found } else { set.clone() };
    let mut further = found.further;
    further.retain(|(key, _)| set.further.iter().all(|(other, _)| other != key));
    further.extend(set.further.iter().cloned());
    DraftInstall {
        fullchain: set.fullchain.clone().or(found.fullchain),
        key: set.key.clone().or(found.key),
        server: set.server.clone().or(found.server),
        test: texts(&set.test, found.test),
        reload: texts(&set.reload, found.reload),
        further,
    }
}

/// What nodes may inherit that have not said it becomes `[install]`, where most say it; all else stays with its node.
fn share(draft: &mut Draft) {
    let said = || draft.nodes.iter().map(|node| &node.install);
    let by_all = said().all(|install| Some(install) == said().next());
    let mut counted: Vec<(usize, &DraftInstall)> = Vec::new();
    for install in said() {
        let mut of_node = install.clone();
        of_node.further.retain(|pair| !draft.install.further.contains(pair));
        if !of_node.may_be_for_all(by_all) {
            continue;
        }
        match counted.iter_mut().find(|(_, other)| *other == install) {
            Some((count, _)) => *count += 1,
            None => counted.push((1, install)),
        }
    }
    // The first of several that are as frequent.
    let most = counted.iter().map(|(count, _)| *count).max();
    let common = counted.into_iter().find(|(count, _)| Some(*count) == most).map(|(_, install)| install.clone());
    let common = common.unwrap_or_else(|| draft.install.clone());
    for node in &mut draft.nodes {
        node.install = differing(core::mem::take(&mut node.install), &common);
    }
    draft.install = common;
}

/// The keys that this has otherwise than all.
fn differing(own: DraftInstall, common: &DraftInstall) -> DraftInstall {
    // A server's preset stands behind the commands of its own layer only.
    let same_commands = own.server == common.server && own.test == common.test && own.reload == common.reload;
    let (server, test, reload) =
        if same_commands { (None, Vec::new(), Vec::new()) } else { (own.server, own.test, own.reload) };
    let mut further = own.further;
    further.retain(|pair| !common.further.contains(pair));
    DraftInstall {
        fullchain: own.fullchain.filter(|path| Some(path) != common.fullchain.as_ref()),
        key: own.key.filter(|path| Some(path) != common.key.as_ref()),
        server,
        test,
        reload,
        further,
    }
}

/// All of it that would be written or run.
pub(super) fn line(proposal: &Proposal) -> String {
    let install = &proposal.install;
    let whole = |text: &str| escape(text, usize::MAX);
    let path = |path: &Option<String>| whole(path.as_deref().unwrap_or("?"));
    let combined = install.further.iter().find(|(key, _)| key == "combined").and_then(|(_, value)| value.as_str());
    let files = match combined {
        Some(path) => whole(path),
        None => format!("{} and {}", path(&install.fullchain), path(&install.key)),
    };
    let default = if proposal.by_name { "" } else { ", of its default, since it has none of these names" };
    let others = match proposal.others.as_slice() {
        [] => String::new(),
        others => format!(", and shows the same for {}", list::first(5, others)),
    };
    let how = match &install.server {
        Some(server) if install.test.is_empty() => format!("server = {server:?}"),
        _ => format!("test = [{}], reload = [{}]", quoted(&install.test), quoted(&install.reload)),
    };
    format!("{} ({}) reads {files}{default}{others}; {how}", proposal.kind.as_str(), proposal.program)
}

/// Each word by itself, so that none passes for two.
pub(super) fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("\"{}\"", escape(word, usize::MAX))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::draft::DraftNode;

    fn install(fullchain: &str, server: Option<&str>, test: &[&str]) -> DraftInstall {
        DraftInstall {
            fullchain: Some(fullchain.to_owned()),
            server: server.map(str::to_owned),
            test: test.iter().map(|&word| word.to_owned()).collect(),
            ..DraftInstall::default()
        }
    }

    #[test]
    fn a_node_writes_what_differs_and_commands_all_at_once() {
        let common = install("/a", Some("nginx"), &[]);
        assert_eq!(differing(common.clone(), &common), DraftInstall::default());
        let other = differing(install("/b", Some("nginx"), &[]), &common);
        assert_eq!(other, DraftInstall { fullchain: Some("/b".to_owned()), ..DraftInstall::default() });
        let own = differing(install("/a", None, &["/x/nginx", "-t"]), &common);
        assert_eq!((own.fullchain, own.test.len()), (None, 2));
    }

    fn said(by_node: &[DraftInstall]) -> Draft {
        let node = |(number, install): (usize, &DraftInstall)| {
            let (name, addresses) = (format!("n{number}"), vec![format!("192.0.2.{}", number + 1)]);
            DraftNode { name, addresses, install: install.clone(), ..DraftNode::default() }
        };
        let nodes = by_node.iter().enumerate().map(node).collect();
        let mut draft = Draft { nodes, ..Draft::default() };
        share(&mut draft);
        draft
    }

    fn found(folder: &str, server: Option<&str>, program: &str) -> DraftInstall {
        let commands = |words: &[&str]| match server {
            None => core::iter::once(&program).chain(words).map(|word| (*word).to_owned()).collect(),
            Some(_) => Vec::new(),
        };
        DraftInstall {
            key: Some(format!("{folder}/{{name}}/privkey.pem")),
            reload: commands(&["-s", "reload"]),
            ..install(&format!("{folder}/{{name}}/fullchain.pem"), server, &[])
        }
        .with_test(commands(&["-t"]))
    }

    impl DraftInstall {
        fn with_test(self, test: Vec<String>) -> Self {
            Self { test, ..self }
        }
    }

    /// Whoever is root on a node says what he likes of it: of that node.
    #[test]
    fn a_nodes_own_commands_and_paths_stay_with_it() {
        let good = found("/etc/nginx/ssl", Some("nginx"), "");
        let custom = found("/etc/nginx/ssl", None, "/usr/local/nginx/sbin/nginx");
        for hostile in [
            found("/etc/nginx/ssl", None, "/bin/sh"),
            found("/etc/nginx/ssl", None, "/tmp/nginx"),
            found("/etc/cron.d", Some("nginx"), ""),
            DraftInstall { key: Some("/root/.ssh/authorized_keys".to_owned()), ..good.clone() },
        ] {
            // The first on a tie, the most frequent, the only one.
            for nodes in [&[hostile.clone(), good.clone()][..], &[hostile.clone(), hostile.clone(), good.clone()]] {
                let draft = said(nodes);
                assert_eq!((&draft.install, &draft.nodes.last().unwrap().install), (&good, &DraftInstall::default()));
                assert_ne!(draft.nodes[0].install, DraftInstall::default());
            }
            let alone = said(&[hostile.clone(), hostile.clone()]);
            assert_eq!((alone.install, &alone.nodes[1].install), (DraftInstall::default(), &hostile));
        }
        // Where every node has its own, its own is for all; else one of them is no answer for others.
        let draft = said(&[custom.clone(), custom.clone()]);
        assert_eq!((&draft.install, &draft.nodes[0].install), (&custom, &DraftInstall::default()));
        let draft = said(&[custom.clone(), custom.clone(), good.clone()]);
        assert_eq!((draft.install, draft.nodes[0].install.test.len()), (good, 2));
    }

    #[test]
    fn what_is_set_by_hand_stays_for_all() {
        let set = DraftInstall {
            further: vec![("owner".to_owned(), "root".into())],
            ..install("/mine/{name}.pem", None, &[])
        };
        let own = over(&set, found("/etc/nginx/ssl", Some("nginx"), ""));
        let mut draft = Draft { install: set.clone(), ..said(core::slice::from_ref(&own)) };
        draft.nodes[0].install = own;
        share(&mut draft);
        assert_eq!(draft.install, set);
        let node = &draft.nodes[0].install;
        assert_eq!((node.server.as_deref(), &node.fullchain, node.further.len()), (Some("nginx"), &None, 0));
    }

    #[test]
    fn all_that_would_be_run_or_written_is_shown() {
        let install = found("/etc/\u{1b}x", None, "/usr/sbin/nginx");
        let proposal = Proposal {
            kind: crate::model::ServerKind::Nginx,
            program: "/usr/sbin/nginx".to_owned(),
            install,
            by_name: true,
            others: Vec::new(),
            listens: true,
            notes: Vec::new(),
        };
        assert_eq!(
            line(&proposal),
            "nginx (/usr/sbin/nginx) reads /etc/\\u{1b}x/{name}/fullchain.pem and /etc/\\u{1b}x/{name}/privkey.pem; test = \
             [\"/usr/sbin/nginx\", \"-t\"], reload = [\"/usr/sbin/nginx\", \"-s\", \"reload\"]"
        );
    }

    #[test]
    fn what_is_set_by_hand_wins() {
        let merged = over(&install("/mine", None, &["true"]), install("/found", Some("nginx"), &["nginx", "-t"]));
        assert_eq!((merged.fullchain.as_deref(), merged.test.len()), (Some("/mine"), 1));
        assert_eq!(merged.server.as_deref(), Some("nginx"));
        let merged = over(&install("/mine", Some("nginx"), &[]), install("/found", None, &["/tmp/x"]));
        assert_eq!(merged.test, [""; 0], "the node's commands would stand before the preset's");
    }
}

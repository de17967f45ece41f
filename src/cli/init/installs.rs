//! Where each node's web server reads the certificate: from a look, or asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cert::DnsName;
use crate::config::SERVERS;
use crate::config::draft::{Draft, DraftInstall};
use crate::model::WebServers;
use crate::ops::init::{self, Administrator};
use crate::plan::web_servers::{Choice, Proposal, choose, propose};
use crate::text::list;

use super::asking::Session;
use super::{Fault, Missing, flaw, provisional};

const BY_HAND: &str = "--set install.fullchain=PATH --set install.key=PATH --set install.server=nginx (docs/consumers.md has \
                       the servers), or a login for a look: --login USER --login-identity FILE";

impl Session {
    /// Fills in `[install]` of a draft whose nodes have host keys, and of those nodes that differ.
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
        let mut found: BTreeMap<String, DraftInstall> = BTreeMap::new();
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
        self.spread(draft, &found, missing)
    }

    /// The most frequent one for all nodes, the others for their own.
    fn spread(
        &self,
        draft: &mut Draft,
        found: &BTreeMap<String, DraftInstall>,
        missing: &mut Vec<Missing>,
    ) -> Result<(), Fault> {
        let of_node = |name: &str| found.get(name).cloned();
        let mut counted: Vec<(usize, DraftInstall)> = Vec::new();
        for install in draft.nodes.iter().filter_map(|node| of_node(&node.name)) {
            match counted.iter_mut().find(|(_, other)| *other == install) {
                Some((count, _)) => *count += 1,
                None => counted.push((1, install)),
            }
        }
        // The first of several that are as frequent.
        let most = counted.iter().map(|(count, _)| *count).max();
        let common = counted.into_iter().find(|(count, _)| Some(*count) == most).map(|(_, install)| install);
        let Some(common) = common else { return self.asked_install(draft, missing) };
        draft.install = over(&draft.install, common);
        let common = draft.install.clone();
        for node in &mut draft.nodes {
            match of_node(&node.name) {
                Some(own) => node.install = differing(own, &common),
                None => node.notes.push("its web server was not found: this is what the others have".to_owned()),
            }
        }
        Ok(())
    }

    fn asked_install(&self, draft: &mut Draft, missing: &mut Vec<Missing>) -> Result<(), Fault> {
        let Some(terminal) = &self.terminal else {
            let what = "where the web server reads its certificate, and what it is".to_owned();
            missing.push(Missing { what, option: BY_HAND });
            return Ok(());
        };
        let names = SERVERS.each_ref().map(|server| server.name);
        let check = |answer: &str| {
            let known = names.contains(&answer);
            if known { Ok(()) } else { Err(format!("one of {}", names.join(", "))) }
        };
        let server = terminal.line("Server on the nodes", "nginx", check)?;
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
        let answers = DraftInstall {
            fullchain: Some(fullchain),
            key: Some(key),
            server: Some(server),
            ..DraftInstall::default()
        };
        draft.install = over(&draft.install, answers);
        Ok(())
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
        let agent = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from);
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
    let texts = |set: &Vec<String>, found: Vec<String>| if set.is_empty() { found } else { set.clone() };
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

fn line(proposal: &Proposal) -> String {
    let install = &proposal.install;
    let path = |path: &Option<String>| crate::text::escape(path.as_deref().unwrap_or("?"), 200);
    let combined = install.further.iter().find(|(key, _)| key == "combined").and_then(|(_, value)| value.as_str());
    let files = match combined {
        Some(path) => crate::text::escape(path, 200),
        None => format!("{} and {}", path(&install.fullchain), path(&install.key)),
    };
    let default = if proposal.by_name { "" } else { ", of its default, since it has none of these names" };
    let others = match proposal.others.as_slice() {
        [] => String::new(),
        others => format!(", and shows the same for {}", list::first(5, others)),
    };
    format!("{} ({}) reads {files}{default}{others}", proposal.kind.as_str(), proposal.program)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_is_set_by_hand_wins() {
        let merged = over(&install("/mine", None, &["true"]), install("/found", Some("nginx"), &["nginx", "-t"]));
        assert_eq!((merged.fullchain.as_deref(), merged.test.len()), (Some("/mine"), 1));
        assert_eq!(merged.server.as_deref(), Some("nginx"));
    }
}

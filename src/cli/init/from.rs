//! A first configuration whose answers are in acme.sh's folders on the nodes.

use std::collections::BTreeMap;
use std::process::Command;

use clap::Args;
use zeroize::Zeroizing;

use crate::cert::{DnsName, Roots};
use crate::config::draft::{Draft, DraftNode};
use crate::context::clock;
use crate::import::{self, Client, EAB_FILE, Files, Found, LeftOut, Place, Proposal};
use crate::model::{WebServers, worst};
use crate::ops::init;
use crate::plan::web_servers::{Choice, choose, propose};
use crate::report::Exit;
use crate::report::import as report;

use super::super::import::node_draft;
use super::asking::Session;
use super::installs::line;
use super::token::Token;
use super::{Answers, Fault, Init, Missing, Options, absolute, missing, provisional};

const OF_LOGIN: &str = "--identity FILE (such as /root/.ssh/id_ed25519), or --login USER with --login-identity FILE";

#[derive(Args, Clone)]
pub(super) struct From {
    /// Take the answers from acme.sh on these nodes [default: those of --node, or the addresses of the names in DNS]
    #[arg(long = "from-acme.sh", value_name = "[NAME=][USER@]HOST[:PORT]", num_args = 0..)]
    from_acme_sh: Option<Vec<String>>,
    /// acme.sh's folder on the nodes [default: what the login, root and their cron lines have]
    #[arg(long, value_name = "PATH", requires = "from_acme_sh")]
    home: Option<String>,
    /// With --from-acme.sh and --yes: also write a reload command or a CA that certd does not know.
    #[arg(long, requires = "from_acme_sh")]
    accept_unknown: bool,
    /// Give acme.sh's account a new key at the CA, where its key is not ECDSA P-256.
    #[arg(long, requires = "from_acme_sh")]
    new_account_key: bool,
}

impl From {
    /// Of the command line; `None`: acme.sh is not asked.
    pub(super) fn nodes(&self) -> Option<&[String]> {
        self.from_acme_sh.as_deref()
    }

    /// Account and certificates, in a process of its own: it gives root up, and what comes after it takes root again.
    pub(super) fn import(&self, nodes: &[String], init: &Init, options: &Options) -> Result<u8, Fault> {
        let failed = |error: std::io::Error| Fault {
            exit: Exit::Internal,
            texts: vec![format!(
                "the import does not start: {error}\n  next: certd import acme.sh {}",
                nodes.join(" ")
            )],
        };
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["import", "acme.sh", "--yes", "--shown", "--config"]).arg(absolute(&options.config));
        command.args(init.login.iter().flat_map(|login| ["--login", login]));
        init.login_identity.iter().for_each(|file| _ = command.arg("--identity").arg(file));
        command.args(self.home.iter().flat_map(|home| ["--home", home]));
        command.args(self.new_account_key.then_some("--new-account-key"));
        command.args(options.quiet.then_some("--quiet"));
        let status = command.args(nodes).status().map_err(failed)?;
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Internal.code());
        Ok(code)
    }
}

impl Session {
    pub(super) fn first_from_acme_sh(&self, begun: Draft, nodes: &[String]) -> Result<Answers, Fault> {
        let mut lacking = Vec::new();
        self.agreed(&mut lacking);
        if self.administrator().is_none() {
            let (what, option) = ("key that the nodes let in already, to read acme.sh's folder", OF_LOGIN);
            if self.terminal.is_some() {
                return Err(Fault::usage(format!("nothing was written: there is no {what}\n  next: give {option}")));
            }
            lacking.push(Missing { what: format!("a {what}"), option });
        }
        let generates = self.generates(&begun, &mut lacking)?;
        let candidates = self.of_acme_sh(&begun, nodes, &mut lacking)?;
        missing(&lacking)?;
        let pinned = self.pinned(&begun, candidates)?;
        let nodes = self.named(&begun, pinned, &[])?;
        let with_nodes = Draft { nodes, ..begun.clone() };
        let found = self.homes(&with_nodes)?;
        self.say(report::found(Client::AcmeSh, &found, clock::now()).trim_end());
        let Proposal { draft, secrets, left_out, unusual } = self.proposed(&with_nodes, &found)?;
        let all = found.iter().flat_map(|home| &home.left_out).chain(&left_out).cloned();
        self.left_out(&all.collect::<Vec<_>>());
        let draft = self.overridden(draft, &begun)?;
        let config = provisional(&draft)?;
        if !unusual.is_empty() {
            let shown = unusual.join("\n    ");
            if self.terminal.is_none() && !self.init.from.accept_unknown {
                return Err(Fault::usage(format!(
                    "--yes does not write what certd does not know:\n    {shown}\n  next: look at it, and run this again without \
                     --yes, or with --accept-unknown"
                )));
            }
            self.say(&format!("certd does not know, and you should:\n    {shown}"));
        }
        let is_eab = |path: &str| path.ends_with(EAB_FILE);
        let eab = secrets.iter().find(|secret| is_eab(&secret.path)).map(|secret| secret.content.to_string());
        let found_token = secrets.iter().find(|secret| !is_eab(&secret.path));
        let found_token = found_token.filter(|_| self.read.token.is_none() && draft.dns.provider == "cloudflare");
        let token = match found_token {
            Some(secret) => Token::New(Zeroizing::new(secret.content.trim().to_owned())),
            None => self.token(&draft, &mut lacking)?,
        };
        missing(&lacking)?;
        let domains: Vec<DnsName> = config.certificates.iter().flat_map(|it| it.names.iter().cloned()).collect();
        let token = self.tried(&draft, token, &domains)?;
        let import = draft.nodes.iter().map(|node| node.name.clone()).collect();
        Ok(Answers { eab, import, ..self.confirmed(&draft, token, generates)? })
    }

    fn of_acme_sh(&self, begun: &Draft, nodes: &[String], lacking: &mut Vec<Missing>) -> Result<Vec<DraftNode>, Fault> {
        if !nodes.is_empty() {
            if !self.init.nodes.is_empty() || !self.init.names.is_empty() {
                return Err(Fault::usage(
                    "--from-acme.sh has nodes, and --node or --name is given as well\n  next: give the nodes once; acme.sh \
                     has the names",
                ));
            }
            return nodes.iter().map(|written| node_draft(written)).collect();
        }
        let domains: Vec<DnsName> = match begun.certificates.is_empty() {
            true => Vec::new(),
            false => provisional(begun)?.certificates.iter().flat_map(|it| it.names.iter().cloned()).collect(),
        };
        let context = self.context(provisional(begun)?, None)?;
        let candidates = self.candidates(&context, &domains, &Default::default())?;
        self.asked_nodes(begun, candidates, lacking)
    }

    /// What acme.sh keeps on every node: a configuration is made once, of all of them.
    fn homes(&self, draft: &Draft) -> Result<Vec<Found>, Fault> {
        let config = provisional(draft)?;
        let cas: Vec<url::Url> = config.cas().map(|ca| ca.directory.clone()).collect();
        let context = self.context(config, None)?;
        let administrator = self.administrator().unwrap_or_default();
        let home = self.init.from.home.as_deref();
        let (mut files, mut faults): (Vec<Files>, Vec<Fault>) = (Vec::new(), Vec::new());
        for (_, read) in self.runtime.block_on(init::acme_homes(&context, &administrator, home)) {
            match read {
                Ok(of_node) => files.extend(of_node),
                Err(failure) => faults.push(Fault::from(failure)),
            }
        }
        if faults.is_empty() {
            return Ok(files.iter().map(|files| import::read(Client::AcmeSh, files, &cas)).collect());
        }
        let exits: Vec<Exit> = faults.iter().map(|fault| fault.exit).collect();
        let last = "nothing was written: not every node could be read\n  next: see above, and run this again, or without that \
                    node (`certd init --node` adds one later)";
        let texts = faults.into_iter().flat_map(|fault| fault.texts).chain([last.to_owned()]).collect();
        Err(Fault { exit: worst(&exits), texts })
    }

    fn proposed(&self, draft: &Draft, found: &[Found]) -> Result<Proposal, Fault> {
        let servers: BTreeMap<String, WebServers> = self.looked(draft)?.into_iter().collect();
        let looked = |node: usize, name: &str, domains: &[DnsName]| {
            let servers = servers.get(&draft.nodes.get(node)?.name)?;
            match choose(&propose(&servers.servers, name, domains)) {
                Choice::One(proposal) => {
                    self.say(&format!("{}: {}", draft.nodes.get(node)?.name, line(proposal)));
                    Some(proposal.install.clone())
                }
                Choice::Ask(_) | Choice::None => None,
            }
        };
        let none = Roots::from_ders(Vec::<Vec<u8>>::new());
        let roots = self.read.roots.as_ref().unwrap_or(&none);
        let path = absolute(&self.options.config);
        let folder = path.parent().unwrap_or(&path);
        let place = Place { folder, ssh: draft.ssh.clone(), nodes: draft.nodes.clone(), roots, looked: &looked };
        import::propose(found, place, clock::now()).map_err(|of_proposal| {
            let all = found.iter().flat_map(|home| &home.left_out).chain(&of_proposal).cloned();
            self.left_out(&all.collect::<Vec<_>>());
            Fault::usage("no certificate was found that certd can renew\n  next: see above what was left out, and why")
        })
    }

    fn left_out(&self, all: &[LeftOut]) {
        if !all.is_empty() {
            self.say(report::left_out(all).trim_end());
        }
    }

    /// What the command line says wins.
    fn overridden(&self, mut draft: Draft, begun: &Draft) -> Result<Draft, Fault> {
        if let Some(directory) = &self.init.directory {
            draft.directory.clone_from(directory);
        }
        if !self.init.contact.is_empty() {
            draft.contact.clone_from(&self.init.contact);
        }
        for text in &self.init.set {
            draft.set(text).map_err(|why| Fault::usage(format!("--set {text:?} {why}")))?;
        }
        draft.dns.token_file.clone_from(&begun.dns.token_file);
        Ok(draft)
    }
}

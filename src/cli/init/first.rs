//! The first configuration: every answer, then one draft, then its files.

use crate::cert::DnsName;
use crate::config::draft::Draft;

use super::asking::Session;
use super::token::Token;
use super::{Answers, Fault, Missing, certificates, flaw, missing, provisional};

impl Session {
    pub(super) fn first(&self, mut draft: Draft) -> Result<Answers, Fault> {
        let mut lacking = Vec::new();
        self.asked_names(&mut draft, &mut lacking)?;
        let certificates = if draft.certificates.is_empty() { Vec::new() } else { provisional(&draft)?.certificates };
        let (name, domains) = match certificates.first() {
            Some(certificate) => (certificate.name.to_string(), certificate.names.iter().cloned().collect()),
            None => (String::new(), Vec::<DnsName>::new()),
        };
        let token = self.token(&draft, &mut lacking)?;
        self.agreed(&mut lacking);
        let generates = self.generates(&draft, &mut lacking)?;
        let context = self.context(provisional(&draft)?, token.text())?;
        let candidates = self.candidates(&context, &domains, &Default::default())?;
        let candidates = if domains.is_empty() && candidates.is_empty() {
            Vec::new()
        } else {
            self.asked_nodes(&draft, candidates, &mut lacking)?
        };
        missing(&lacking)?;
        let token = self.tried(&draft, token, &domains)?;
        let pinned = self.pinned(&draft, candidates)?;
        draft.nodes = self.named(&draft, pinned, &[])?;
        self.installs(&mut draft, &name, &domains, &mut lacking)?;
        missing(&lacking)?;
        self.confirmed(&draft, token, generates)
    }

    /// What takes a person, or these options.
    pub(super) fn agreed(&self, lacking: &mut Vec<Missing>) {
        if self.terminal.is_some() {
            return;
        }
        if !self.init.accept_host_keys && self.init.fingerprint.is_empty() {
            let what = "whether the host keys that the nodes show are theirs".to_owned();
            lacking
                .push(Missing { what, option: "--fingerprint SHA256:… for each node, or --accept-host-keys unseen" });
        }
        if !self.init.yes {
            lacking.push(Missing { what: "whether to write the files".to_owned(), option: "--yes" });
        }
    }

    fn asked_names(&self, draft: &mut Draft, lacking: &mut Vec<Missing>) -> Result<(), Fault> {
        let mut names = self.init.names.clone();
        if names.is_empty() {
            let Some(terminal) = &self.terminal else {
                lacking.push(Missing {
                    what: "the names of the certificate".to_owned(),
                    option: "--name DOMAIN, for each",
                });
                return Ok(());
            };
            let check = |answer: &str| match split(answer).is_empty() {
                true => Err("at least one".to_owned()),
                false => flaw(&Draft { certificates: certificates(&split(answer)), ..draft.clone() }),
            };
            names = split(&terminal.line("Names of the certificate, the service's first", "", check)?);
        }
        draft.certificates = certificates(&names);
        if let Some(terminal) = self.terminal.as_ref().filter(|_| draft.contact.is_empty()) {
            let check = |answer: &str| flaw(&Draft { contact: split(answer), ..draft.clone() });
            draft.contact = split(&terminal.line("Mail address for the CA (Enter for none)", "", check)?);
        }
        Ok(())
    }

    /// Whether a key has to be made.
    pub(super) fn generates(&self, draft: &Draft, lacking: &mut Vec<Missing>) -> Result<bool, Fault> {
        let Some(file) = draft.ssh.identity_files.first().filter(|_| !self.read.has_key) else { return Ok(false) };
        if self.init.generate_key {
            return Ok(true);
        }
        let Some(terminal) = &self.terminal else {
            let what = format!("the private key for logins, since {file} does not exist");
            lacking.push(Missing { what, option: "--identity FILE, or --generate-key" });
            return Ok(false);
        };
        if terminal.confirm(&format!("There is no key {file} to log in with. Generate one?"), true)? {
            return Ok(true);
        }
        Err(Fault::usage("nothing was written\n  next: put the private key there, or give --identity FILE"))
    }

    pub(super) fn confirmed(&self, draft: &Draft, token: Token, generate_key: bool) -> Result<Answers, Fault> {
        let text = draft.render();
        if let Some(terminal) = &self.terminal {
            self.say(&format!("\n{text}"));
            if !terminal.confirm(&format!("Write this to {}?", self.options.config.display()), true)? {
                return Err(Fault::usage("nothing was written\n  next: run certd init again"));
            }
        }
        let token = if let Token::New(token) = &token { Some(token.to_string()) } else { None };
        Ok(Answers { config: Some(text), token, generate_key, ..Answers::default() })
    }
}

fn split(answer: &str) -> Vec<String> {
    answer.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

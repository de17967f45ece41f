//! The DNS provider's token: from its file, from stdin, or asked for; tried at once.

use zeroize::Zeroizing;

use crate::cert::DnsName;
use crate::config::draft::Draft;
use crate::dns::malformed_token;
use crate::model::Finding;
use crate::ops::init;
use crate::text::list;

use super::asking::Session;
use super::{Fault, Missing, provisional, read_stdin};

pub(super) enum Token {
    /// Of a provider that has none, or whose secret the operator writes himself.
    None,
    /// In its file already.
    Kept(Zeroizing<String>),
    /// To be written.
    New(Zeroizing<String>),
}

impl Token {
    pub(super) fn text(&self) -> Option<&Zeroizing<String>> {
        match self {
            Self::None => None,
            Self::Kept(text) | Self::New(text) => Some(text),
        }
    }
}

const PROMPT: &str = "Cloudflare API token with Zone:Read and DNS:Edit (not shown)";

impl Session {
    pub(super) fn token(&self, draft: &Draft, missing: &mut Vec<Missing>) -> Result<Token, Fault> {
        let Some(file) = draft.dns.token_file.as_deref().filter(|_| draft.dns.provider == "cloudflare") else {
            return Ok(Token::None);
        };
        if let Some(token) = &self.read.token {
            if self.init.token_stdin {
                return Err(Fault::usage(format!(
                    "{file} is there, and is not overwritten\n  next: leave --token-stdin out, or move the file away"
                )));
            }
            self.say(&format!("token: {file} is used as it is"));
            return Ok(Token::Kept(token.clone()));
        }
        let given = if self.init.token_stdin {
            read_stdin()?
        } else if let Some(terminal) = &self.terminal {
            self.say("The token is made at https://dash.cloudflare.com/profile/api-tokens, for the zone of these names alone.");
            terminal.secret(PROMPT)?
        } else {
            let option = "--token-file FILE that holds it (0600), or --token-stdin";
            missing.push(Missing { what: "Cloudflare's API token".to_owned(), option });
            return Ok(Token::None);
        };
        Ok(Token::New(given))
    }

    /// A wrong token that was typed is asked for again.
    pub(super) fn tried(&self, draft: &Draft, mut token: Token, domains: &[DnsName]) -> Result<Token, Fault> {
        loop {
            let error = match self.try_once(draft, &token, domains) {
                Ok(zones) => {
                    let one = if zones.len() == 1 { "zone" } else { "zones" };
                    self.say(&format!(
                        "token: ok; a TXT record was made and removed in the {one} {}",
                        list::first(5, &zones)
                    ));
                    return Ok(token);
                }
                Err(error) => error,
            };
            let (Some(terminal), Token::New(_)) = (&self.terminal, &token) else { return Err(error) };
            super::super::fault::show(&error);
            token = Token::New(terminal.secret(PROMPT)?);
        }
    }

    fn try_once(&self, draft: &Draft, token: &Token, domains: &[DnsName]) -> Result<Vec<String>, Fault> {
        if let Some(why) = token.text().and_then(|text| malformed_token(text)) {
            return Err(Fault::usage(format!("what was given as the token {why}\n  next: copy it again, on one line")));
        }
        let context = self.context(provisional(draft)?, token.text())?;
        let tried: Result<_, Finding> = self.change(|| self.runtime.block_on(init::try_provider(&context, domains)));
        Ok(tried?)
    }
}

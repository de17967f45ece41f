use core::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::sync::watch;

use crate::acme::About;
use crate::config::{self, Acme};
use crate::context::Context;
use crate::context::progress::Event;
use crate::model::Finding;
use crate::ops::account;
use crate::ops::account::{AccountView, Accounts, Ours, Record};
use crate::report::Exit;

use super::fault::Fault;
use super::{Options, Output, output, progress, renew, setup};

/// Manage the account at a CA
#[derive(Args)]
pub(super) struct Account {
    #[command(subcommand)]
    command: Command,
    /// Host of the CA, as `account show` prints it [default: the first CA of the configuration; for `show`, all]
    #[arg(long, global = true, value_name = "HOST")]
    ca: Option<String>,
    /// How long to wait for another certd to release the lock.
    #[arg(long, global = true, value_name = "TIME", default_value = "10m", value_parser = renew::wait)]
    wait: Duration,
}

#[derive(Subcommand)]
enum Command {
    /// Show the account and what the CA offers: status, contacts, terms, profiles, room in the ledger
    ///
    /// Changes nothing and takes no lock.
    Show,
    /// Create the account if there is none
    ///
    /// Writes the key to disk before sending it to the CA. `certd renew` does the same before its first order.
    Register,
    /// Replace the account's key
    ///
    /// Writes the new key to disk before sending it to the CA. If certd is killed in between, the next run that opens
    /// the account asks the CA which key it knows, and continues from there.
    Rollover,
    /// Create the permanent TXT records of dns-persist-01 through the DNS provider
    ///
    /// For CAs with `challenge = "dns-persist-01"`. To create the records by hand, see `account show`, which prints
    /// them.
    Persist,
    /// Deactivate the account permanently
    ///
    /// Certificates stay valid. The account accepts no more orders, and the CA cannot reactivate it.
    Deactivate {
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
}

impl Account {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let ca = self.chosen(&config)?;
        match self.command {
            Command::Show => return self.show(config, options),
            Command::Deactivate { yes: false } => confirm(&ca.host)?,
            _ => {}
        }
        let (stop, stopped) = watch::channel(false);
        let context = setup::context(config, progress::progress(options), stopped)?;
        let _lock = setup::lock(&context.store, self.wait, options)?;
        let runtime = setup::runtime()?;
        setup::install_signal_handlers(&runtime, stop, options)?;
        let done = runtime.block_on(context.unless_stopped(self.act(&context, &ca)));
        let done = done.unwrap_or_else(|| Err(crate::context::failure::interrupted(&ca.host)));
        context.progress.say(Event::Over);
        let (text, value) = done?;
        match options.output {
            Output::Text => output::text(&text),
            Output::Json => output::json(&value),
        }
        Ok(Exit::Ok.code())
    }

    async fn act(&self, context: &Context, ca: &Acme) -> Result<(String, serde_json::Value), Finding> {
        let host = &ca.host;
        let outcome = |text: String, value| (text, json!({ "schema": "certd.account/1", "ca": host, "done": value }));
        Ok(match self.command {
            Command::Register => {
                let (made, url) = account::register(context, ca).await?;
                let text = if made { "account made" } else { "the account is there already" };
                outcome(format!("{host}: {text}: {url}\n"), json!({ "registered": made, "url": url }))
            }
            Command::Rollover => {
                let thumbprint = account::roll_over(context, ca).await?;
                let text = format!("{host}: the account has a new key (thumbprint {thumbprint})\n");
                outcome(text, json!({ "rolled_over": true, "thumbprint": thumbprint }))
            }
            Command::Show => (String::new(), serde_json::Value::Null),
            Command::Persist => {
                let records = account::persist(context, ca).await?;
                let line = |record: &Record| format!("{host}: made: {}. TXT \"{}\"\n", record.name, record.value);
                let text = if records.is_empty() {
                    format!("{host}: no record is needed: `challenge` is not dns-persist-01\n")
                } else {
                    records.iter().map(line).collect()
                };
                outcome(text, json!({ "records": records }))
            }
            Command::Deactivate { .. } => {
                let url = account::deactivate(context, ca).await?;
                let next = format!("move {} away before a new account is made", folder(context, host));
                let text = format!("{host}: the account is deactivated: {url}\n  next: {next}\n");
                outcome(text, json!({ "deactivated": true, "url": url }))
            }
        })
    }

    fn show(&self, config: config::Config, options: &Options) -> Result<u8, Fault> {
        let (_stop, stopped) = watch::channel(false);
        let context = setup::looking(config, progress::progress(options), stopped)?;
        let cas: Vec<&Acme> =
            context.config.cas().filter(|ca| self.ca.as_ref().is_none_or(|it| *it == ca.host)).collect();
        let shown = setup::runtime()?.block_on(account::show(&context, &cas))?;
        match options.output {
            Output::Text => output::text(&text(&shown)),
            Output::Json => output::json(&shown),
        }
        let failed = shown.accounts.iter().any(|view| view.failure.is_some());
        Ok(if failed { Exit::IssuanceFailed } else { Exit::Ok }.code())
    }

    fn chosen(&self, config: &config::Config) -> Result<Acme, Fault> {
        let Some(host) = &self.ca else { return Ok(config.acme.clone()) };
        config.ca(host).cloned().ok_or_else(|| {
            let known: Vec<&str> = config.cas().map(|ca| ca.host.as_str()).collect();
            Fault::usage(format!("no CA has the host {host:?}\n  next: the configuration has {}", known.join(", ")))
        })
    }
}

fn folder(context: &Context, host: &str) -> String {
    context.store.root().join("accounts").join(host).display().to_string()
}

/// On a terminal, asks for the host; elsewhere `--yes` is required.
fn confirm(host: &str) -> Result<(), Fault> {
    let refused =
        || Fault::usage("nothing was done: this deactivates the account permanently\n  next: give --yes to confirm");
    if !std::io::stdin().is_terminal() {
        return Err(refused());
    }
    progress::line(&format!("This deactivates the account at {host} permanently. Type the CA's host to continue:"));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == host { Ok(()) } else { Err(refused()) }
}

fn text(shown: &Accounts) -> String {
    let mut out = String::new();
    for view in &shown.accounts {
        // Writing to a String cannot fail.
        let _ = one(&mut out, view);
    }
    out
}

fn one(out: &mut String, view: &AccountView) -> core::fmt::Result {
    writeln!(out, "{}  ({})", view.ca, view.directory)?;
    match &view.account {
        Some(ours) => account_lines(out, ours)?,
        None => writeln!(out, "  account:   none yet; `certd account register` or the first renewal creates it")?,
    }
    if let Some(offer) = &view.about {
        offer_lines(out, offer)?;
    }
    for record in &view.records {
        writeln!(out, "  record:    {}. TXT \"{}\"", record.name, record.value)?;
    }
    for (name, week) in &view.week {
        let (used, room, most) = (week.used, week.room, week.emergency_room);
        writeln!(out, "  ledger:    {name}: {used} of {room} this week ({most} in an emergency)")?;
    }
    if let Some(failure) = &view.failure {
        writeln!(out, "! {}: {}\n  next: {}", view.ca, failure.what, failure.next)?;
    }
    Ok(())
}

fn account_lines(out: &mut String, ours: &Ours) -> core::fmt::Result {
    writeln!(out, "  account:   {}", ours.url.as_deref().unwrap_or("URL not known yet"))?;
    writeln!(out, "  status:    {}", ours.status.as_deref().unwrap_or("unknown"))?;
    let contact = if ours.contact.is_empty() { "none".to_owned() } else { ours.contact.join(", ") };
    writeln!(out, "  contact:   {contact}")?;
    writeln!(out, "  key:       {} (thumbprint {})", ours.key_file.display(), ours.thumbprint)?;
    if ours.key_change_begun {
        writeln!(out, "  key change: unfinished; the next renewal or `certd account rollover` completes it")?;
    }
    Ok(())
}

fn offer_lines(out: &mut String, offer: &About) -> core::fmt::Result {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    writeln!(out, "  terms:     {}", or_none(&offer.terms))?;
    writeln!(out, "  website:   {}", or_none(&offer.website))?;
    let caa = if offer.caa_identities.is_empty() { "none".to_owned() } else { offer.caa_identities.join(", ") };
    writeln!(out, "  CAA:       {caa}")?;
    let yes = |is: bool| if is { "yes" } else { "no" };
    writeln!(out, "  external account required: {}", yes(offer.external_account_required))?;
    writeln!(out, "  renewal information (ARI): {}", yes(offer.renewal_information))?;
    if offer.profiles.is_empty() {
        writeln!(out, "  profiles:  none")?;
    }
    offer.profiles.iter().try_for_each(|(name, what)| writeln!(out, "  profile:   {name}: {what}"))
}

use core::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use crate::config::{Config, Node};
use crate::context::Context;
use crate::context::clock;
use crate::context::progress::Event;
use crate::model::{AcmeClient, Finding, Renewal, Scope};
use crate::node::takeover as script;
use crate::ops::{receiver as ops, takeover};
use crate::plan::hold::NEAR_THE_END;
use crate::plan::rollout::Outcome;
use crate::plan::takeover::Takeover as Found;
use crate::reconcile;
use crate::report::{Delivery, Exit, Report, Verdict, takeover_text};
use crate::ssh::{Endpoint, Identity};

use super::administrator::{confirm, say};
use super::fault::{self, Fault};
use super::{Options, administrator, output, progress, renew, setup};

#[derive(Args)]
pub(super) struct Takeover {
    /// Nodes, or all nodes with a tag (tag:…).
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
    /// The administrator's login: root, or a user with sudo that asks for no password [default: the node's `ssh.user`]
    #[arg(long, value_name = "USER[@HOST]")]
    login: Option<String>,
    /// Private keys for that login [default: the configured identities]
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// Put back what was switched off. certd goes on delivering; to end that, take the node out of the configuration.
    #[arg(long)]
    undo: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Look, and only print the script for what was found, to review and run on the node as root.
    #[arg(long, conflicts_with = "yes")]
    print: bool,
    /// How long to wait for another certd to release the lock.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = renew::wait)]
    wait: Duration,
}

/// A node, and how its administrator logs in.
struct Place {
    node: Node,
    administrator: Endpoint,
}

impl Takeover {
    pub(super) fn run(&self, config: Config, options: &Options) -> Result<u8, Fault> {
        let names = setup::nodes(&config, &self.nodes)?;
        let identities = administrator::identities(&self.identity)?;
        let (stop, stopped) = watch::channel(false);
        let context = setup::context(config, progress::progress(options), stopped)?;
        let runtime = setup::runtime()?;
        setup::install_signal_handlers(&runtime, stop, options)?;
        let context = Arc::new(runtime.block_on(context.discovered()));
        setup::known(&context.config, &names)?;
        let nodes: Vec<&Node> = context.config.nodes.iter().filter(|node| names.contains(&node.name)).collect();
        if self.print && nodes.len() > 1 {
            return Err(Fault::usage("--print makes the script of one node\n  next: give one NODE"));
        }
        let mut exits = Vec::new();
        let places = runtime.block_on(self.places(&context, &nodes, &identities))?;
        if self.undo {
            self.undone(&context, &runtime, &places, &mut exits, options)?;
        } else {
            self.taken_over(&context, &runtime, &places, &mut exits, options)?;
        }
        runtime.shutdown_background();
        context.progress.say(Event::Over);
        Ok(crate::report::worst(&exits).code())
    }

    async fn places(&self, context: &Context, nodes: &[&Node], identities: &[Identity]) -> Result<Vec<Place>, Fault> {
        let mut places = Vec::new();
        for node in nodes {
            let (user, host) = administrator::administrator(self.login.as_deref(), node, None)?;
            let administrator = ops::endpoint(&context.secrets, node, host.as_ref(), &user).await?;
            let administrator = administrator::with(administrator, identities.to_vec());
            places.push(Place { node: (*node).clone(), administrator });
        }
        Ok(places)
    }

    fn taken_over(
        &self,
        context: &Arc<Context>,
        runtime: &tokio::runtime::Runtime,
        places: &[Place],
        exits: &mut Vec<Exit>,
        options: &Options,
    ) -> Result<(), Fault> {
        if !self.print {
            can_deliver(context, places)?;
        }
        let mut found = Vec::new();
        for place in places {
            let looked = runtime.block_on(takeover::look(context, &place.node, place.administrator.clone()));
            match looked {
                Ok(takeover) => found.push((place, takeover)),
                Err(failure) => exits.push(failed(failure)),
            }
        }
        if self.print {
            let script = |(place, found): &(&Place, Found)| {
                script::switch_off(&place.node.name, &found.off, &configured(context, place), None)
            };
            found.iter().for_each(|found| output::text(&script(found)));
            return Ok(());
        }
        let mut agreed = Vec::new();
        for (place, takeover) in found {
            say(&takeover_text(&place.node.name, &takeover), options);
            let script = script::dry_run(&place.node.name, &takeover.off, &configured(context, place));
            match runtime.block_on(takeover::run(place.administrator.clone(), &script)) {
                Ok(lines) => {
                    exits.extend(told(place, &lines, options));
                    let would = lines.iter().filter_map(|line| line.strip_prefix(script::WOULD).map(str::to_owned));
                    agreed.push((place, takeover, would.collect::<Vec<_>>()));
                }
                Err(failure) => exits.push(failed(failure)),
            }
        }
        if agreed.is_empty() {
            return Ok(());
        }
        let nothing = agreed.iter().all(|(_, _, would)| would.is_empty());
        self.confirm(if nothing { "deliver" } else { "do what is marked \"would\", and deliver" })?;
        let _lock = setup::lock(&context.store, self.wait, options)?;
        let mut off: Vec<(&Place, Vec<Renewal>)> = Vec::new();
        for (place, takeover, would) in agreed {
            if would.is_empty() {
                off.push((place, Vec::new()));
                continue;
            }
            let configured = configured(context, place);
            let script = script::switch_off(&place.node.name, &takeover.off, &configured, Some(&would));
            let done = match runtime.block_on(takeover::run(place.administrator.clone(), &script)) {
                Ok(lines) => {
                    exits.extend(told(place, &lines, options));
                    let done = |renewal: &Renewal| {
                        lines.iter().any(|line| line.starts_with("off: ") && line.contains(&renewal.file))
                    };
                    takeover.off.into_iter().filter(done).collect()
                }
                Err(failure) => {
                    exits.push(failed(failure));
                    let name = &place.node.name;
                    say(
                        &format!("{name}: what is off stays off; run this again, or put it back with --undo\n"),
                        options,
                    );
                    Vec::new()
                }
            };
            off.push((place, done));
        }
        if off.is_empty() {
            return Ok(());
        }
        let nodes = off.iter().map(|(place, _)| place.node.name.clone()).collect();
        let scope = Scope { nodes, ignore_backoff: true, compares_disks: true, ..Scope::default() };
        let report = runtime.block_on(reconcile::reconcile(context, "deploy", scope))?;
        output::report(&report, options);
        exits.extend(report.exits.iter().map(|code| exit_of(*code)));
        let mut text = String::new();
        for (place, done) in &off {
            let again = runtime.block_on(takeover::look(context, &place.node, place.administrator.clone()));
            let again = match again {
                Ok(again) => again,
                Err(failure) => {
                    exits.push(failed(failure));
                    continue;
                }
            };
            if again.leaves_some() || !again.off.is_empty() {
                exits.push(Exit::Warning);
                let _ = write!(text, "still there on {}", takeover_text(&place.node.name, &again));
            }
            if is_proven(&report, &place.node) {
                remove(&mut text, place, done);
            }
        }
        if off.iter().any(|(place, done)| !done.is_empty() && !is_proven(&report, &place.node)) {
            text.push_str(
                "what is off is still off: do what the report says, and run certd deploy; or put it back with --undo\n",
            );
        }
        say(&text, options);
        Ok(())
    }

    fn undone(
        &self,
        context: &Context,
        runtime: &tokio::runtime::Runtime,
        places: &[Place],
        exits: &mut Vec<Exit>,
        options: &Options,
    ) -> Result<(), Fault> {
        if self.print {
            places.iter().for_each(|place| output::text(&script::put_back(&place.node.name)));
            return Ok(());
        }
        let mut recorded = Vec::new();
        for place in places {
            let script = script::recorded(&place.node.name);
            match runtime.block_on(takeover::run(place.administrator.clone(), &script)) {
                Ok(lines) if lines.iter().any(|line| line.starts_with(script::RECORDED)) => {
                    say(&administrator::heading(place.node.name.as_str(), &lines), options);
                    recorded.push(place);
                }
                Ok(_) => {
                    say(&format!("{}\n  nothing is recorded there that was switched off\n", place.node.name), options)
                }
                Err(failure) => exits.push(failed(failure)),
            }
        }
        if recorded.is_empty() {
            return Ok(());
        }
        self.confirm("put that back")?;
        let _lock = setup::lock(&context.store, self.wait, options)?;
        for place in recorded {
            let script = script::put_back(&place.node.name);
            match runtime.block_on(takeover::run(place.administrator.clone(), &script)) {
                Ok(lines) => exits.extend(told(place, &lines, options)),
                Err(failure) => exits.push(failed(failure)),
            }
        }
        Ok(())
    }

    fn confirm(&self, what: &str) -> Result<(), Fault> {
        if self.yes { Ok(()) } else { confirm(what) }
    }
}

/// certd's paths there: what names them reads certd's files.
fn configured(context: &Context, place: &Place) -> Vec<String> {
    let config = &context.config;
    let installs = config.certificates.iter().filter_map(|it| config.install(&place.node.name, &it.name));
    let paths = installs.flat_map(|it| [&it.fullchain, &it.key].into_iter().chain(&it.chain).chain(&it.combined));
    paths.cloned().collect()
}

/// Nothing else may be off before certd has something to serve, and may deliver it.
fn can_deliver(context: &Context, places: &[Place]) -> Result<(), Fault> {
    let now = clock::now();
    let refuse = |what: String, next: String| Fault {
        exit: Exit::NotDelivered,
        texts: vec![format!("{what}, and nothing was done\n  next: {next}")],
    };
    for Place { node, .. } in places {
        let name = &node.name;
        if let Some(until) = context.config.paused_until(name, now) {
            let next = "take paused_until out of its configuration, and run this again".to_owned();
            return Err(refuse(format!("{name}: it is paused until {until}"), next));
        }
        if let Some(opens) = node.windows.opens(now) {
            return Err(refuse(format!("{name}: its maintenance window is closed"), format!("run this after {opens}")));
        }
    }
    for certificate in &context.config.certificates {
        let name = &certificate.name;
        if !places.iter().any(|place| certificate.nodes.contains(&place.node.name)) {
            continue;
        }
        let next = format!("certd renew {name} issues and delivers it, beside whatever renews there");
        let Some(kept) = context.store.stored(name)?.current else {
            return Err(refuse(format!("{name}: nothing is stored that could be delivered"), next));
        };
        let leaf = &kept.leaf;
        if certificate.names.iter().any(|name| !leaf.names.iter().any(|has| has == name)) {
            return Err(refuse(format!("{name}: what is stored lacks some of its names"), next));
        }
        let lifetime = leaf.not_after.duration_since(leaf.not_before);
        if leaf.not_after.duration_since(now) < lifetime / NEAR_THE_END {
            return Err(refuse(format!("{name}: what is stored ends on {}", leaf.not_after), next));
        }
    }
    Ok(())
}

/// Whether this pass has shown that the node serves everything it should.
fn is_proven(report: &Report, node: &Node) -> bool {
    let here = report.certificates.iter().flat_map(|it| &it.nodes).filter(|it| it.node == node.name);
    let mut all = here.map(|it| match &it.delivery {
        Some(Delivery::Ended(Outcome::Served)) => true,
        Some(_) => false,
        None => !it.served.is_empty() && it.served.iter().all(|served| matches!(served.verdict, Verdict::Ok)),
    });
    all.next() == Some(true) && all.all(|it| it)
}

/// The lines of a script; a warning where it left something alone.
fn told(place: &Place, lines: &[String], options: &Options) -> Option<Exit> {
    say(&administrator::heading(place.node.name.as_str(), lines), options);
    lines.iter().any(|line| line.starts_with(script::LEFT)).then_some(Exit::Warning)
}

/// What the takeover leaves on the node, whose use has ended.
fn remove(text: &mut String, place: &Place, off: &[Renewal]) {
    for Renewal { client, file, .. } in off {
        let name = file.rsplit('/').next().and_then(|name| name.strip_suffix(".conf")).unwrap_or_default();
        let what = match client {
            AcmeClient::AcmeSh => {
                let folder = file.rsplit_once('/').map_or(file.as_str(), |(folder, _)| folder);
                format!(
                    "{folder} (files and key of acme.sh), and revoke the DNS token there if it has no other certificate"
                )
            }
            AcmeClient::Certbot => {
                format!("/etc/letsencrypt/live/{name} and archive/{name}, if no server reads them, and its DNS token")
            }
            AcmeClient::Lego => format!("the commented line in {file}, lego's files, and its DNS token"),
        };
        let _ = writeln!(
            text,
            "to remove on {}, once you are sure (--undo cannot bring it back then): {what}",
            place.node.name
        );
    }
}

fn failed(failure: Finding) -> Exit {
    let fault = Fault::from(failure);
    let exit = fault.exit;
    fault::show(&fault);
    exit
}

fn exit_of(code: u8) -> Exit {
    let all = [
        Exit::Ok,
        Exit::Internal,
        Exit::Usage,
        Exit::Warning,
        Exit::Hurt,
        Exit::IssuanceFailed,
        Exit::NotDelivered,
        Exit::Locked,
    ];
    all.into_iter().find(|exit| exit.code() == code).unwrap_or(Exit::Internal)
}

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use crate::cert::CertName;
use crate::config::{self, Config, Install};
use crate::context::Context;
use crate::context::progress::Event;
use crate::node::clean::{self as script, Leftovers, Task};
use crate::node::receiver::Account;
use crate::node::takeover::LEFT;
use crate::observe::{discover, disks};
use crate::ops::{receiver as ops, takeover};
use crate::plan::places;
use crate::report::Exit;

use super::administrator::{self, confirm, say};
use super::fault::Fault;
use super::{Options, output, progress, renew, setup};

const NO_RECORD: &str = "this controller has no record of having delivered it: another one may; if none does and no server reads it, remove it by hand";
const DISCOVERED: &str = "DNS says where this certificate goes, and may name the node again";

#[derive(Args)]
pub(super) struct Clean {
    /// Name of the node in the configuration.
    #[arg(value_name = "NODE")]
    node: String,
    /// The administrator's login: root, or a user with sudo that asks for no password [default: the node's `ssh.user`]
    #[arg(long, value_name = "USER[@HOST]")]
    login: Option<String>,
    /// Private keys for that login [default: the configured identities]
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// Name of the receiver account, whose parameters of certificates that are gone are removed too.
    #[arg(long, default_value = "certd", value_name = "NAME")]
    account: String,
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

impl Clean {
    pub(super) fn run(&self, config: Config, options: &Options) -> Result<u8, Fault> {
        let names = setup::nodes(&config, core::slice::from_ref(&self.node))?;
        let account = Account::parse(&self.account).map_err(administrator::bad_word)?;
        let identities = administrator::identities(&self.identity)?;
        let (stop, stopped) = watch::channel(false);
        let context = setup::context(config, progress::progress(options), stopped)?;
        let runtime = setup::runtime()?;
        setup::install_signal_handlers(&runtime, stop, options)?;
        let (looking, failures) = runtime.block_on(discover::for_a_look(&context))?;
        let (store, context) = (context.store, looking);
        // Where DNS did not answer, live folders would look like leftovers.
        if let Some(failure) = failures.into_iter().next() {
            return Err(Fault::from(failure));
        }
        setup::known(&context.config, &names)?;
        let found = context.config.nodes.iter().find(|node| names.contains(&node.name));
        let place = found.ok_or_else(|| Fault::usage("no node was named\n  next: give its name"))?.clone();
        let (user, host) = administrator::administrator(self.login.as_deref(), &place, Some(&account))?;
        let administrator = runtime.block_on(ops::endpoint(&context.secrets, &place, host.as_ref(), &user))?;
        let administrator = administrator::with(administrator, identities);
        let looked = runtime.block_on(disks::as_root(&context, &place.name, administrator.clone()))?;
        let leftovers = || leftovers(&context, &place, &looked.left, &account);
        if self.print {
            output::text(&script::clean(&place.name, Task::Clean, &leftovers()?));
            return Ok(Exit::Ok.code());
        }
        let show = script::clean(&place.name, Task::Show, &leftovers()?);
        let mut lock = None;
        let mut lines = runtime.block_on(takeover::run(administrator.clone(), &show))?;
        say(&administrator::heading(place.name.as_str(), &lines), options);
        if lines.iter().any(|line| line.starts_with(script::GOES)) {
            if !self.yes {
                confirm("remove that")?;
            }
            lock = Some(setup::lock(&store, self.wait, options)?);
            let leftovers = leftovers()?;
            if script::clean(&place.name, Task::Show, &leftovers) != show {
                return Err(Fault::usage(
                    "nothing was done: certd has delivered there meanwhile\n  next: run this again",
                ));
            }
            let clean = script::clean(&place.name, Task::Clean, &leftovers);
            lines = runtime.block_on(takeover::run(administrator, &clean))?;
            say(&administrator::heading(place.name.as_str(), &lines), options);
        } else if lines.is_empty() {
            say("  nothing is left there that the configuration does not have\n", options);
        }
        let gone = |line: &String| {
            [script::REMOVED, script::GONE].iter().find_map(|word| line.strip_prefix(word).map(str::to_owned))
        };
        let gone: Vec<String> = lines.iter().filter_map(gone).collect();
        if !gone.is_empty() {
            let _lock = lock.map_or_else(|| setup::lock(&store, self.wait, options), Ok)?;
            let mut state = store.state()?;
            gone.iter().for_each(|folder| places::forget(&mut state, &place.name, folder));
            store.write_state(&state)?;
        }
        runtime.shutdown_background();
        context.progress.say(Event::Over);
        let left = lines.iter().any(|line| line.starts_with(LEFT));
        Ok(if left { Exit::Warning } else { Exit::Ok }.code())
    }
}

/// What this controller has delivered there goes; of what else is seen there nobody knows whose it is.
fn leftovers(context: &Context, place: &config::Node, seen: &[String], account: &Account) -> Result<Leftovers, Fault> {
    let config = &context.config;
    let mut folders = places::delivered(&context.store.state()?, config, &place.name);
    let unknown = seen.iter().filter(|folder| folders.iter().all(|known| known.folder != **folder));
    let mut stay: Vec<(String, &'static str)> = unknown.map(|folder| (folder.clone(), NO_RECORD)).collect();
    let name = |folder: &str| folder.rsplit('/').next().unwrap_or_default().to_owned();
    folders.retain(|left| {
        let is_discovered = places::is_discovered(config, &name(&left.folder));
        if is_discovered {
            stay.push((left.folder.clone(), DISCOVERED));
        }
        // What has been escaped is no path.
        !is_discovered && left.folder.starts_with('/') && !left.folder.contains('\\')
    });
    let here = config.certificates.iter().filter_map(|it| Some((&it.name, config.install(&place.name, &it.name)?)));
    let here: Vec<(_, &Install)> = here.map(|(name, install)| (name, &**install)).collect();
    let paths = |install: &Install| {
        let Install { fullchain, key, chain, combined, .. } = install;
        [fullchain, key].into_iter().chain(chain).chain(combined).cloned().collect::<Vec<_>>()
    };
    let mut tests: Vec<Vec<String>> = Vec::new();
    for (_, install) in &here {
        if !install.test.is_empty() && !tests.contains(&install.test) {
            tests.push(install.test.clone());
        }
    }
    let delivered = folders.iter().filter_map(|left| CertName::parse(&name(&left.folder)).ok());
    let delivered = delivered.filter(|name| here.iter().all(|(configured, _)| *configured != name)).collect();
    Ok(Leftovers {
        folders,
        paths: here.iter().flat_map(|(_, install)| paths(install)).collect(),
        delivered,
        stay,
        tests,
        account: Some(account.clone()),
    })
}

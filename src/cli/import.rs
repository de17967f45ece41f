//! From another ACME client: what it keeps becomes certd's.

mod places;

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::sync::watch;

use crate::cert::Roots;
use crate::config::{self, Config};
use crate::context::secrets::{Secrets, system_roots};
use crate::context::{self, Context, clock};
use crate::import::{self, Adoption, Client, Files, Found, LeftOut, Proposal};
use crate::model::worst;
use crate::ops::import as ops;
use crate::report::Exit;
use crate::report::import as report;
use crate::store::{Store, fresh, owner};
use crate::text::{as_word, list};

use super::fault::{self, Fault};
use super::{Options, output, progress, renew, setup};
use places::{Nodes, Places};

pub(super) use places::node_draft;

/// Import certificates, accounts and the DNS token from acme.sh, certbot or lego
///
/// Shows what the other client has and what would be written, asks, and writes: where there is no configuration yet, one
/// made from what was found, with the DNS token; then, into the state directory, the account at the CA and each
/// certificate that passes certd's own checks. Nothing is ordered, and the first renewal replaces the imported
/// certificate (ARI). A configuration that is there is never changed: certificates are imported for what it lists, and
/// the sections for others are printed.
///
/// The other client's files are read and never changed, and nothing in them is executed. It goes on renewing until it is
/// switched off. Prints only text.
#[derive(Args)]
pub(super) struct Import {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Import from acme.sh: from its folder on this machine, or from nodes over SSH
    ///
    /// Of several nodes with a certificate each, the one with the longest life becomes the shared one.
    #[command(name = "acme.sh")]
    AcmeSh {
        /// Folders on this machine, with a slash, and nodes: names in the configuration, or, without one,
        /// [NAME=][USER@]HOST[:PORT] [default: ~/.acme.sh on this machine]
        #[arg(value_name = "PATH|NODE")]
        from: Vec<String>,
        /// The folder on the nodes [default: what the login, root and their cron lines have]
        #[arg(long, value_name = "PATH")]
        home: Option<String>,
        #[command(flatten)]
        nodes: Nodes,
        #[command(flatten)]
        how: How,
    },
    /// Import from certbot's folder on this machine
    Certbot {
        /// The folder with `renewal` and `live`.
        #[arg(default_value = "/etc/letsencrypt")]
        path: PathBuf,
        #[command(flatten)]
        nodes: Nodes,
        #[command(flatten)]
        how: How,
    },
    /// Import from lego's folder on this machine
    Lego {
        /// The folder with `certificates` and `accounts`: lego's --path.
        path: PathBuf,
        #[command(flatten)]
        nodes: Nodes,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Args)]
struct How {
    /// Write without asking.
    #[arg(long)]
    yes: bool,
    /// With --yes and without a configuration: also write a reload command or a CA that certd does not know.
    #[arg(long)]
    accept_unknown: bool,
    /// Give an account whose key is not ECDSA P-256 a new key at the CA. The other client cannot use it any more.
    #[arg(long)]
    new_account_key: bool,
    /// Without a configuration: the state directory to write into it [default: /var/lib/certd]
    #[arg(long, value_name = "PATH")]
    state_dir: Option<PathBuf>,
    /// After `certd init --from-acme.sh`, which has shown what was found.
    #[arg(long, hide = true)]
    shown: bool,
    /// How long to wait for another certd to release the lock.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = renew::wait)]
    wait: Duration,
}

/// Nodes in a command that is shown.
const MOST_NODES: usize = 10;

/// What was read, and from which nodes.
struct Source {
    client: Client,
    found: Vec<Found>,
    /// Of nodes that could not be read, and are shown.
    failed: Vec<Exit>,
}

impl Import {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let (client, nodes, how) = match &self.command {
            Command::AcmeSh { nodes, how, .. } => (Client::AcmeSh, nodes, how),
            Command::Certbot { nodes, how, .. } => (Client::Certbot, nodes, how),
            Command::Lego { nodes, how, .. } => (Client::Lego, nodes, how),
        };
        let (paths, names, home) = self.sources();
        // As root, before it is given up: another user's folder.
        let local: Vec<Files> = paths.iter().map(|path| ops::local(client, path)).collect::<Result<_, _>>()?;
        // A link that leads nowhere is a configuration that cannot be read, and not none.
        if options.config.symlink_metadata().is_ok() {
            let config = setup::configuration(&options.config)?;
            let names: Vec<String> = names.iter().map(|name| known_name(&config, name)).collect();
            let places = Places::configured(&config, nodes, &names)?;
            return how.with(config, options, |config| read(client, local, &places, home, config));
        }
        if names.is_empty() && local.is_empty() {
            return Err(Fault::usage("nothing to import from\n  next: give a folder or nodes"));
        }
        let places = Places::first(nodes, &names, !local.is_empty(), &options.config)?;
        let source = read(client, local, &places, home, places.config())?;
        how.first(source, places, options)
    }

    /// Folders on this machine, names of nodes, and the folder there.
    fn sources(&self) -> (Vec<PathBuf>, Vec<String>, Option<&str>) {
        match &self.command {
            Command::Certbot { path, .. } | Command::Lego { path, .. } => (vec![path.clone()], Vec::new(), None),
            Command::AcmeSh { from, home, .. } if from.is_empty() => {
                let own = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
                (vec![own.join(".acme.sh")], Vec::new(), home.as_deref())
            }
            Command::AcmeSh { from, home, .. } => {
                let is_path = |text: &&String| text.contains('/') || text.starts_with('.');
                let (paths, names): (Vec<&String>, Vec<&String>) = from.iter().partition(is_path);
                let paths = paths.into_iter().map(PathBuf::from).collect();
                (paths, names.into_iter().cloned().collect(), home.as_deref())
            }
        }
    }
}

fn read(
    client: Client,
    mut files: Vec<Files>,
    places: &Places,
    home: Option<&str>,
    config: Option<&Config>,
) -> Result<Source, Fault> {
    let (of_nodes, failures) = places.read(home)?;
    files.extend(of_nodes);
    let faults: Vec<Fault> = failures.into_iter().map(Fault::from).collect();
    let failed: Vec<Exit> = faults.iter().map(|fault| fault.exit).collect();
    if files.is_empty() && !faults.is_empty() {
        return Err(Fault { exit: worst(&failed), texts: faults.into_iter().flat_map(|fault| fault.texts).collect() });
    }
    for fault in &faults {
        fault::show(fault);
    }
    let cas: Vec<url::Url> = config.iter().flat_map(|config| config.cas()).map(|ca| ca.directory.clone()).collect();
    let found = files.iter().map(|files| import::read(client, files, &cas)).collect();
    Ok(Source { client, found, failed })
}

impl How {
    /// A configuration is there.
    fn with(
        &self,
        config: Config,
        options: &Options,
        read: impl FnOnce(Option<&Config>) -> Result<Source, Fault>,
    ) -> Result<u8, Fault> {
        let config = setup::with_environment(config)?;
        let (secrets, _) = Secrets::read_what_can_be(&config);
        let roots = context::roots(&config)?;
        owner::become_owner(&config.state_dir)?;
        let source = read(Some(&config))?;
        let store = Store::look(&config.state_dir)?;
        let adoption = self.adoption(&config, &store, &source.found, &roots)?;
        let shown = if self.shown { &[] } else { source.found.as_slice() };
        output::text(&report::found(source.client, shown, clock::now()));
        output::text(&report::left_out(&left_out(shown, &[], &adoption.left_out)));
        let writes = report::adoption(&adoption);
        output::text(&report::sections(&adoption));
        if writes.is_empty() {
            output::text("nothing to import\n");
            return Ok(worst(&source.failed).code());
        }
        output::text(&format!("to be written to {}\n{writes}", config.state_dir.display()));
        if !self.confirmed()? {
            return Ok(worst(&source.failed).code());
        }
        self.store(config, secrets, roots, &source, options)
    }

    /// There is no configuration yet.
    fn first(&self, source: Source, places: Places, options: &Options) -> Result<u8, Fault> {
        let now = clock::now();
        output::text(&report::found(source.client, &source.found, now));
        let folder = options.config.parent().unwrap_or(Path::new("/")).to_owned();
        let Proposal { mut draft, secrets, left_out: of_proposal, unusual } =
            import::propose(&source.found, places.place(&folder, &system_roots()), now).map_err(|of_proposal| {
                output::text(&report::left_out(&left_out(&source.found, &of_proposal, &[])));
                Fault::usage(
                    "no certificate was found that certd can renew\n  next: see above what was left out, and why",
                )
            })?;
        draft.state_dir = self.state_dir.as_ref().map(|path| places::absolute(path));
        let text = draft.render();
        let path = options.config.display().to_string();
        let config = config::parse(&text).map_err(|mistakes| {
            output::text(&text);
            let mut texts: Vec<String> = mistakes.iter().map(|mistake| mistake.render(&path)).collect();
            texts.push(format!(
                "{path}: nothing was written\n  next: save the text above as {path}, correct it, and run this again"
            ));
            Fault { exit: Exit::Usage, texts }
        })?;
        let roots = context::roots(&config)?;
        let adoption = self.adoption(&config, &Store::look(&config.state_dir)?, &source.found, &roots)?;
        // What the proposal leaves out is no part of its configuration either.
        let proposed: BTreeSet<&str> = of_proposal.iter().map(|left| left.what.as_str()).collect();
        let named = |left: &&LeftOut| !proposed.contains(left.what.as_str());
        let of_adoption: Vec<LeftOut> = adoption.left_out.iter().filter(named).cloned().collect();
        output::text(&report::left_out(&left_out(&source.found, &of_proposal, &of_adoption)));
        let writes = report::files(&path, &text, &secrets) + &report::adoption(&adoption);
        output::text(&format!("to be written\n{writes}"));
        if !source.failed.is_empty() {
            // A configuration is made once.
            output::text(
                "nothing was written: not every node could be read; see above, and run this again, or without that node\n",
            );
            return Ok(worst(&source.failed).code());
        }
        if self.yes && !self.accept_unknown && !unusual.is_empty() {
            return Err(Fault::usage(format!(
                "--yes does not write what certd does not know:\n    {}\n  next: look at it, and run this again without --yes, or \
                 with --accept-unknown",
                unusual.join("\n    ")
            )));
        }
        if !self.confirmed()? {
            return Ok(Exit::Ok.code());
        }
        ops::check_folder(&folder)?;
        for secret in &secrets {
            fresh::publish(Path::new(&secret.path), secret.content.as_bytes(), 0o600)?;
        }
        // Last: from now on it is a configuration that is there.
        fresh::publish(&options.config, text.as_bytes(), 0o644)?;
        let config = setup::with_environment(setup::configuration(&options.config)?)?;
        let (secrets, _) = Secrets::read_what_can_be(&config);
        owner::become_owner(&config.state_dir)?;
        self.store(config, secrets, roots, &source, options)
    }

    fn adoption(&self, config: &Config, store: &Store, found: &[Found], roots: &Roots) -> Result<Adoption, Fault> {
        let standing = ops::standing(store, config)?;
        Ok(import::adopt(config, &standing, found, roots, clock::now(), self.new_account_key))
    }

    /// Writes under the lock what is still to be written.
    fn store(
        &self,
        config: Config,
        secrets: Secrets,
        roots: Roots,
        source: &Source,
        options: &Options,
    ) -> Result<u8, Fault> {
        let found = &source.found;
        let (stop, stopped) = watch::channel(false);
        let store = Store::open(&config.state_dir)?;
        let context = Context::new(config, store, roots, secrets, progress::progress(options), stopped);
        let _lock = setup::lock(&context.store, self.wait, options)?;
        let adoption = self.adoption(&context.config, &context.store, found, &context.roots)?;
        let runtime = setup::runtime()?;
        setup::install_signal_handlers(&runtime, stop, options)?;
        // Each write is whole, so there is nothing to interrupt.
        let written = runtime.block_on(ops::write(&context, &adoption))?;
        let mut text = String::new();
        for (ca, url) in &written.accounts {
            let url = url.as_deref().unwrap_or("its URL is asked of the CA when it is first needed");
            text.push_str(&format!("written: the account at {ca}: {url}\n"));
        }
        for (name, generation) in &written.generations {
            text.push_str(&format!("written: {name}, generation {generation}\n"));
        }
        for failure in &written.failures {
            text.push_str(&format!("FAILED {}\n  next: {}\n", failure.named(), failure.next));
        }
        for file in missing_keys(&context.config) {
            text.push_str(&format!(
                "next: make certd's SSH key for the nodes: ssh-keygen -t ed25519 -N '' -f {file}\n"
            ));
        }
        let nodes: Vec<&str> = context.config.nodes.iter().map(|node| node.name.as_str()).collect();
        text.push_str(&format!(
            "next: certd node takeover {} switches the other client off for these names, delivers, and proves it\nthen: give the \
             account a new key (certd account rollover) and replace the DNS token: these still have both: {}\n",
            if nodes.len() > MOST_NODES { "NODE…".to_owned() } else { nodes.join(" ") },
            list::first(20, found.iter().map(place))
        ));
        output::text(&text);
        let failed = written.failures.iter().map(|failure| failure.code.area().exit());
        let failed: Vec<Exit> = failed.chain(source.failed.iter().copied()).collect();
        Ok(worst(&failed).code())
    }

    /// On a terminal, asks; elsewhere only `--yes` writes.
    fn confirmed(&self) -> Result<bool, Fault> {
        if self.yes {
            return Ok(true);
        }
        let nothing = || output::text("nothing was written: give --yes to write it\n");
        if !std::io::stdin().is_terminal() {
            nothing();
            return Ok(false);
        }
        progress::line("Write this? Type yes to continue:");
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        let yes = read.is_ok() && line.trim() == "yes";
        if !yes {
            nothing();
        }
        Ok(yes)
    }
}

/// Keys that the configuration names and that are not there, so that no command can log in.
fn missing_keys(config: &Config) -> Vec<String> {
    let files = config.nodes.iter().flat_map(|node| &node.ssh.identity_files);
    let mut missing: Vec<String> = files
        .filter(|file| file.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound))
        .map(|file| as_word(&file.display().to_string()))
        .collect();
    missing.dedup();
    missing
}

/// `[NAME=][USER@]HOST[:PORT]`, as a first import took it, for a node that the configuration has since.
fn known_name(config: &Config, written: &str) -> String {
    let (name, _) = written.split_once('=').unwrap_or((written.rsplit('@').next().unwrap_or(written), ""));
    let has = |name: &str| config.nodes.iter().any(|node| node.name.as_str() == name);
    if !has(written) && has(name) { name.to_owned() } else { written.to_owned() }
}

fn place(found: &Found) -> String {
    found.node.as_ref().map_or_else(|| found.home.clone(), |node| format!("{node}:{}", found.home))
}

fn left_out(found: &[Found], proposal: &[LeftOut], adoption: &[LeftOut]) -> Vec<LeftOut> {
    found.iter().flat_map(|home| &home.left_out).chain(proposal).chain(adoption).cloned().collect()
}

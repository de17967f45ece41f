//! What commands have in common before they begin: the configuration, the secrets, giving up root, the store, the lock.

use core::num::NonZero;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::RwLock;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::cert::{CertName, NodeName, Roots, WatchName};
use crate::config::{self, Config, Node, Proxy};
use crate::context;
use crate::context::Context;
use crate::context::progress::Progress;
use crate::context::secrets::{NeededFor, Secrets, Unread};
use crate::model::Finding;
use crate::report::Exit;
use crate::store::guard::Writers;
use crate::store::started::Started;
use crate::store::{Lock, Store, StoreError, owner};

use super::Options;
use super::fault::Fault;

/// # Errors
/// Others can write the file, it cannot be read, or every mistake in it.
pub(super) fn configuration(path: &Path) -> Result<Config, Fault> {
    let guarded = Writers::of_configuration().check(path);
    guarded.map_err(|error| Fault::of_configuration(&Finding::from(&error)))?;
    let text = std::fs::read_to_string(path).map_err(|error| {
        let next = "give --config FILE, or write it (an annotated example is config/certd.toml)".to_owned();
        let next = Started::now().next(&error, next);
        Fault::usage(format!("{}: {error}\n  next: {next}", path.display()))
    })?;
    config::parse(&text).map_err(|mistakes| Fault {
        exit: Exit::Usage,
        texts: mistakes.iter().map(|mistake| mistake.render(&path.display().to_string())).collect(),
    })
}

/// For commands that only look: no secrets but those that a look takes, no lock, nothing made.
pub(super) fn look(config: Config, progress: Progress) -> Result<Context, Fault> {
    let roots = context::roots(&config).map_err(|failure| Fault::of_configuration(&failure))?;
    let secrets = Secrets::for_probes(&config).map_err(|failure| Fault::of_configuration(&failure))?;
    owner::become_owner(&config.state_dir).map_err(|error| Fault::from(&error))?;
    let context = Context::look(config.into(), roots, secrets.into(), progress);
    context.map_err(|error| Fault::from(&Finding::from(&error)))
}

/// For commands that change things. Secrets are read before root is given up, the store is opened after.
pub(super) fn context(config: Config, progress: Progress, stop: watch::Receiver<bool>) -> Result<Context, Fault> {
    context_on(Store::open, config, progress, stop)
}

/// For commands that only look and need an account for it: makes nothing.
pub(super) fn looking(config: Config, progress: Progress, stop: watch::Receiver<bool>) -> Result<Context, Fault> {
    context_on(Store::look, config, progress, stop)
}

/// For `doctor`: as [`context`], and what is missing is told beside it.
pub(super) fn incomplete(
    config: Config,
    progress: Progress,
    stop: watch::Receiver<bool>,
) -> Result<(Context, Vec<Unread>), Fault> {
    let config = with_environment(config)?;
    let (secrets, mut unread) = Secrets::read_what_can_be(&config);
    let roots = context::roots(&config).unwrap_or_else(|failure| {
        if unread.iter().all(|unread| unread.needed_for != NeededFor::IssuerRoots) {
            unread.push(Unread { needed_for: NeededFor::IssuerRoots, failure });
        }
        Roots::from_ders(Vec::<Vec<u8>>::new())
    });
    owner::become_owner(&config.state_dir).map_err(|error| Fault::from(&error))?;
    let store = Store::open(&config.state_dir).map_err(|error| Fault::from(&Finding::from(&error)))?;
    Ok((Context::new(config, store, roots, secrets, progress, stop), unread))
}

fn context_on(
    open: impl Fn(&Path) -> Result<Store, StoreError>,
    config: Config,
    progress: Progress,
    stop: watch::Receiver<bool>,
) -> Result<Context, Fault> {
    let config = with_environment(config)?;
    let roots = context::roots(&config).map_err(|failure| Fault::of_configuration(&failure))?;
    let secrets = Secrets::read(&config).map_err(|failure| Fault::of_configuration(&failure))?;
    owner::become_owner(&config.state_dir).map_err(|error| Fault::from(&error))?;
    let store = open(&config.state_dir).map_err(|error| Fault::from(&Finding::from(&error)))?;
    Ok(Context::new(config, store, roots, secrets, progress, stop))
}

/// For whoever sends requests: the proxy of the environment, where the configuration names none.
pub(super) fn with_environment(mut config: Config) -> Result<Config, Fault> {
    if config.network.proxy.is_none() {
        config.network.proxy = proxy_of_environment()?;
    }
    Ok(config)
}

fn proxy_of_environment() -> Result<Option<Proxy>, Fault> {
    let next = "next: write http://, https:// or socks5h:// with a host, or set `network.proxy`, which comes first";
    let wrong = |name: &str| Fault::usage(format!("{name} in the environment: not the URL of a proxy\n  {next}"));
    Proxy::of_environment(|name| std::env::var(name).ok()).map_err(wrong)
}

/// Waits for the lock so long and no longer.
pub(super) fn lock(store: &Store, wait: Duration, options: &Options) -> Result<Lock, Fault> {
    let failed = |error: &StoreError| Fault::from(&Finding::from(error));
    if let Some(lock) = store.lock().map_err(|error| failed(&error))? {
        return Ok(lock);
    }
    let waited = format!("{} s", wait.as_secs());
    if !options.quiet && !wait.is_zero() {
        super::progress::line(&format!("another certd holds the lock; waiting up to {waited}"));
    }
    // A blocked flock cannot be called off; its thread ends with the process.
    let (tell, told) = std::sync::mpsc::channel();
    let root = store.root().to_owned();
    std::thread::spawn(move || tell.send(Store::open(&root).and_then(|store| store.lock_wait())));
    match told.recv_timeout(wait) {
        Ok(lock) => lock.map_err(|error| failed(&error)),
        Err(_) => Err(Fault::locked(&waited)),
    }
}

pub(super) fn runtime() -> Result<Runtime, Fault> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let built = have_files()
        .and_then(|()| have_threads(workers))
        .and_then(|()| builder.worker_threads(workers).enable_all().build());
    built.map_err(|error| Fault {
        exit: Exit::Internal,
        texts: vec![format!("the runtime did not start: {error}\n  next: are there threads and files left (ulimit)?")],
    })
}

/// Whether there are descriptors for the runtime's own pipes and for one connection: it does without neither, and says
/// so by a panic.
fn have_files() -> std::io::Result<()> {
    const FEW: usize = 12;
    let files: std::io::Result<Vec<_>> = (0..FEW).map(|_| std::fs::File::open("/dev/null")).collect();
    files.map(drop)
}

/// Whether so many threads can be had at one time. A runtime that gets only some of its own waits for ever for those
/// that it has, with the lock in its hands.
fn have_threads(count: usize) -> std::io::Result<()> {
    let gate = RwLock::new(());
    std::thread::scope(|scope| {
        // Nobody passes before the last one was started, or could not be.
        let _shut = gate.write();
        let wait = || drop(gate.read());
        (0..count).try_for_each(|_| std::thread::Builder::new().spawn_scoped(scope, wait).map(drop))
    })
}

/// SIGINT and SIGTERM ask for an end: nothing new is begun, what is committed is finished.
pub(super) fn install_signal_handlers(
    runtime: &Runtime,
    stop: watch::Sender<bool>,
    options: &Options,
) -> Result<(), Fault> {
    let _in_runtime = runtime.enter();
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let quiet = options.quiet;
    runtime.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if !quiet {
            super::progress::line("stopping: nothing new is begun, what is committed finishes");
        }
        // Kept to the end of the process: a receiver without a sender would never hear of it.
        stop.send_replace(true);
        core::future::pending::<()>().await;
    });
    Ok(())
}

/// SIGHUP asks for the configuration to be read again.
pub(super) fn install_hangup_handler(runtime: &Runtime, tell: mpsc::UnboundedSender<()>) -> Result<(), Fault> {
    let _in_runtime = runtime.enter();
    let mut hangup = listen(SignalKind::hangup())?;
    runtime.spawn(async move { while hangup.recv().await.is_some() && tell.send(()).is_ok() {} });
    Ok(())
}

fn listen(kind: SignalKind) -> Result<Signal, Fault> {
    signal(kind).map_err(|error| Fault {
        exit: Exit::Internal,
        texts: vec![format!("signals cannot be heeded: {error}\n  next: this is a fault of the system")],
    })
}

/// The certificates of these names; none: all.
pub(super) fn certificates(config: &Config, names: &[String]) -> Result<BTreeSet<CertName>, Fault> {
    let known = || config.certificates.iter().map(|certificate| certificate.name.as_str());
    names
        .iter()
        .map(|name| {
            let found = config.certificates.iter().find(|certificate| certificate.name.as_str() == name);
            found.map(|certificate| certificate.name.clone()).ok_or_else(|| unknown("certificate", name, known()))
        })
        .collect()
}

/// The certificates and the watched endpoints of these names; none: all. No two have the same name.
pub(super) fn selection(config: &Config, names: &[String]) -> Result<(BTreeSet<CertName>, BTreeSet<WatchName>), Fault> {
    let watch = |name: &String| config.watches.iter().find(|watch| watch.name.as_str() == name);
    let watches = names.iter().filter_map(watch).map(|watch| watch.name.clone()).collect();
    let others: Vec<String> = names.iter().filter(|name| watch(name).is_none()).cloned().collect();
    let known = config.certificates.iter().map(|certificate| certificate.name.as_str());
    let known: Vec<&str> = known.chain(config.watches.iter().map(|watch| watch.name.as_str())).collect();
    match others.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(unknown("certificate", name, known.into_iter())),
        None => Ok((certificates(config, &others)?, watches)),
    }
}

/// The nodes of these names, and with `tag:…` those of a tag.
pub(super) fn nodes(config: &Config, names: &[String]) -> Result<BTreeSet<NodeName>, Fault> {
    let mut found = BTreeSet::new();
    for name in names {
        let tag = name.strip_prefix("tag:");
        let meant = |node: &&Node| match tag {
            Some(tag) => node.tags.iter().any(|own| own == tag),
            None => node.name.as_str() == name,
        };
        let nodes = config.nodes.iter().filter(meant).map(|node| node.name.clone());
        let meant: Vec<NodeName> = nodes.collect();
        if let (true, Some(tag)) = (meant.is_empty(), tag) {
            let known: BTreeSet<&str> = config.nodes.iter().flat_map(|node| &node.tags).map(String::as_str).collect();
            return Err(unknown("tag", tag, known.into_iter()));
        }
        // Where DNS names nodes, an address may be one.
        let discovered = || Some(config.node_at(name.parse().ok()?)?.name);
        if let (true, Some(node)) = (meant.is_empty(), discovered()) {
            found.insert(node);
            continue;
        }
        if meant.is_empty() {
            return Err(unknown("node", name, config.nodes.iter().map(|node| node.name.as_str())));
        }
        found.extend(meant);
    }
    Ok(found)
}

/// Whether all of these are nodes, now that DNS has named its own.
pub(super) fn known(config: &Config, nodes: &BTreeSet<NodeName>) -> Result<(), Fault> {
    match nodes.iter().find(|name| config.node(name).is_none()) {
        Some(name) => Err(unknown("node", name.as_str(), config.nodes.iter().map(|node| node.name.as_str()))),
        None => Ok(()),
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Fault {
    let known: Vec<&str> = known.collect();
    let near = config::nearest(name, &known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    let next = if known.is_empty() { "none at all".to_owned() } else { known.join(", ") };
    Fault::usage(format!("no {what} is called {name:?}{near}\n  next: the configuration has {next}"))
}

//! The steps that commands share before they begin: configuration, secrets, dropping root, store, lock.

use core::num::NonZero;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::RwLock;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::cert::{CertName, NodeName, Roots, WatchName};
use crate::config::{self, Certificate, Config, Node, Proxy};
use crate::context;
use crate::context::Context;
use crate::context::health_headers::HealthHeaders;
use crate::context::progress::Progress;
use crate::context::secrets::{NeededFor, Secrets, Unread};
use crate::descriptors;
use crate::report::Exit;
use crate::store::guard::Writers;
use crate::store::started::Started;
use crate::store::{Lock, Store, StoreError, owner};

use super::Options;
use super::fault::Fault;

/// # Errors
/// Other users can write the file, it cannot be read, or it has errors (all are returned).
pub(super) fn configuration(path: &Path) -> Result<Config, Fault> {
    Writers::of_configuration().check(path)?;
    let text = std::fs::read_to_string(path).map_err(|error| {
        let next = "give --config FILE, or write it (an annotated example is config/certd.toml)".to_owned();
        let next = Started::now().next(&error, next);
        Fault::usage(format!("{}: {error}\n  next: {next}", path.display()))
    })?;
    let config = config::parse(&text).map_err(|mistakes| Fault {
        exit: Exit::Usage,
        texts: mistakes.iter().map(|mistake| mistake.render(&path.display().to_string())).collect(),
    })?;
    Ok(Config { sessions: descriptors::sessions(config.sessions), ..config })
}

/// For read-only commands: takes no lock, creates nothing, and reads only the secrets that probes need.
pub(super) fn look(config: Config, health: bool, progress: Progress) -> Result<Context, Fault> {
    let roots = context::roots(&config)?;
    let mut secrets = Secrets::for_probes(&config)?;
    if health {
        secrets.health_headers = HealthHeaders::read(&config);
    }
    owner::become_owner(&config.state_dir)?;
    let context = Context::look(config.into(), roots, secrets.into(), progress);
    context.map_err(Fault::from)
}

/// For read-only commands that use what secrets there are, such as the DNS token; also returns the files that cannot be used.
pub(super) fn look_with_secrets(config: Config, progress: Progress) -> Result<(Context, Vec<Unread>), Fault> {
    let config = with_environment(config)?;
    let roots = context::roots(&config)?;
    let (secrets, unread) = Secrets::read_what_can_be(&config);
    owner::become_owner(&config.state_dir)?;
    Ok((Context::look(config.into(), roots, secrets.into(), progress)?, unread))
}

/// # Errors
/// None of these certificates (of all, if there are none) has a health check.
pub(super) fn has_health(config: &Config, certificates: &BTreeSet<CertName>) -> Result<(), Fault> {
    let mut wanted = config.certificates.iter().filter(|it| certificates.is_empty() || certificates.contains(&it.name));
    let has = |certificate: &Certificate| {
        let own = certificate.health.as_ref().is_some_and(|health| health.enabled);
        own || certificate
            .nodes
            .iter()
            .filter_map(|node| config.node(node))
            .any(|node| config.health(certificate, node).is_some())
    };
    if wanted.any(has) {
        return Ok(());
    }
    let next = "write [health] with `path`, and `status` if a good answer has another than 200; see docs/operations.md";
    Err(Fault::usage(format!("no health check is configured\n  next: {next}")))
}

/// For commands that change something. Reads secrets before dropping root, and opens the store afterwards.
pub(super) fn context(config: Config, progress: Progress, stop: watch::Receiver<bool>) -> Result<Context, Fault> {
    context_on(Store::open, config, progress, stop)
}

/// For read-only commands that need the account at the CA: creates nothing.
pub(super) fn looking(config: Config, progress: Progress, stop: watch::Receiver<bool>) -> Result<Context, Fault> {
    context_on(Store::look, config, progress, stop)
}

/// For `doctor`: like [`context`], but also returns the files that cannot be used.
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
    owner::become_owner(&config.state_dir)?;
    let store = Store::open(&config.state_dir)?;
    Ok((Context::new(config, store, roots, secrets, progress, stop), unread))
}

fn context_on(
    open: impl Fn(&Path) -> Result<Store, StoreError>,
    config: Config,
    progress: Progress,
    stop: watch::Receiver<bool>,
) -> Result<Context, Fault> {
    let config = with_environment(config)?;
    let roots = context::roots(&config)?;
    let secrets = Secrets::read(&config)?;
    owner::become_owner(&config.state_dir)?;
    let store = open(&config.state_dir)?;
    Ok(Context::new(config, store, roots, secrets, progress, stop))
}

/// Takes the proxy for outgoing requests from the environment when the configuration names none.
pub(super) fn with_environment(mut config: Config) -> Result<Config, Fault> {
    if config.network.proxy.is_none() {
        config.network.proxy = proxy_of_environment()?;
    }
    Ok(config)
}

fn proxy_of_environment() -> Result<Option<Proxy>, Fault> {
    let next = "next: give http://, https:// or socks5h:// with a host, or set `network.proxy`, which takes precedence";
    let wrong = |name: &str| Fault::usage(format!("{name} in the environment: not the URL of a proxy\n  {next}"));
    Proxy::of_environment(|name| std::env::var(name).ok()).map_err(wrong)
}

/// Waits for the lock, at most `wait`.
pub(super) fn lock(store: &Store, wait: Duration, options: &Options) -> Result<Lock, Fault> {
    locked(store, wait, options, Store::lock, Store::lock_wait)
}

/// The same for that of failover's journal, which a pass does not hold.
pub(super) fn lock_withdrawals(store: &Store, wait: Duration, options: &Options) -> Result<Lock, Fault> {
    locked(store, wait, options, Store::lock_withdrawals, Store::lock_withdrawals_wait)
}

fn locked(
    store: &Store,
    wait: Duration,
    options: &Options,
    at_once: fn(&Store) -> Result<Option<Lock>, StoreError>,
    blocking: fn(&Store) -> Result<Lock, StoreError>,
) -> Result<Lock, Fault> {
    if let Some(lock) = at_once(store)? {
        return Ok(lock);
    }
    let waited = format!("{} s", wait.as_secs());
    if !options.quiet && !wait.is_zero() {
        super::progress::line(&format!("another certd holds the lock; waiting up to {waited}"));
    }
    // A blocked flock cannot be cancelled; its thread ends with the process.
    let (sender, receiver) = std::sync::mpsc::channel();
    let root = store.root().to_owned();
    std::thread::spawn(move || sender.send(Store::open(&root).and_then(|store| blocking(&store))));
    match receiver.recv_timeout(wait) {
        Ok(lock) => lock.map_err(Fault::from),
        Err(_) => Err(Fault::locked(&waited)),
    }
}

pub(super) fn runtime() -> Result<Runtime, Fault> {
    draw_entropy();
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

/// AWS-LC takes 30 to 50 ms for the first random number of a process, in which it measures the CPU's jitter: a thread
/// draws it while the first connections are made. Without the thread, the first handshake does.
fn draw_entropy() {
    let _ = std::thread::Builder::new().spawn(|| aws_lc_rs::rand::fill(&mut [0]));
}

/// Checks for enough file descriptors for the runtime's own pipes and one connection; without them tokio panics.
fn have_files() -> std::io::Result<()> {
    const FEW: usize = 12;
    let files: std::io::Result<Vec<_>> = (0..FEW).map(|_| std::fs::File::open("/dev/null")).collect();
    files.map(drop)
}

/// Checks that `count` threads can run at the same time. A runtime that gets only some of its threads would wait for
/// ever, holding the lock.
fn have_threads(count: usize) -> std::io::Result<()> {
    let gate = RwLock::new(());
    std::thread::scope(|scope| {
        // All threads block here until the last one has started or failed to.
        let _shut = gate.write();
        let wait = || drop(gate.read());
        (0..count).try_for_each(|_| std::thread::Builder::new().spawn_scoped(scope, wait).map(drop))
    })
}

/// On SIGINT and SIGTERM certd starts nothing new and finishes what is committed.
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
        // Keep the sender alive to the end of the process: receivers rely on it.
        stop.send_replace(true);
        core::future::pending::<()>().await;
    });
    Ok(())
}

/// SIGHUP reloads the configuration.
pub(super) fn install_hangup_handler(runtime: &Runtime, sender: mpsc::UnboundedSender<()>) -> Result<(), Fault> {
    let _in_runtime = runtime.enter();
    let mut hangup = listen(SignalKind::hangup())?;
    runtime.spawn(async move { while hangup.recv().await.is_some() && sender.send(()).is_ok() {} });
    Ok(())
}

fn listen(kind: SignalKind) -> Result<Signal, Fault> {
    signal(kind).map_err(|error| Fault {
        exit: Exit::Internal,
        texts: vec![format!("cannot install a signal handler: {error}\n  next: see why the system refuses it")],
    })
}

/// The certificates with these names; no names: all.
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

/// The certificates and the watched endpoints with these names; no names: all. Names are unique across both.
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

/// The nodes with these names, or with a tag (`tag:…`).
pub(super) fn nodes(config: &Config, names: &[String]) -> Result<BTreeSet<NodeName>, Fault> {
    let mut found = BTreeSet::new();
    for name in names {
        let tag = name.strip_prefix("tag:");
        let matches = |node: &&Node| match tag {
            Some(tag) => node.tags.iter().any(|own| own == tag),
            None => node.name.as_str() == name,
        };
        let nodes = config.nodes.iter().filter(matches).map(|node| node.name.clone());
        let matching: Vec<NodeName> = nodes.collect();
        if let (true, Some(tag)) = (matching.is_empty(), tag) {
            let known: BTreeSet<&str> = config.nodes.iter().flat_map(|node| &node.tags).map(String::as_str).collect();
            return Err(unknown("tag", tag, known.into_iter()));
        }
        // With `discover`, an address may be a node.
        let discovered = || Some(config.node_at(name.parse().ok()?)?.name);
        if let (true, Some(node)) = (matching.is_empty(), discovered()) {
            found.insert(node);
            continue;
        }
        if matching.is_empty() {
            return Err(unknown("node", name, config.nodes.iter().map(|node| node.name.as_str())));
        }
        found.extend(matching);
    }
    Ok(found)
}

/// Checks that all of these are nodes, once DNS has named the discovered ones.
pub(super) fn known(config: &Config, nodes: &BTreeSet<NodeName>) -> Result<(), Fault> {
    match nodes.iter().find(|name| config.node(name).is_none()) {
        Some(name) => Err(unknown("node", name.as_str(), config.nodes.iter().map(|node| node.name.as_str()))),
        None => Ok(()),
    }
}

pub(super) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Fault {
    let known: Vec<&str> = known.collect();
    let near = config::nearest(name, &known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    let next = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Fault::usage(format!("no {what} is called {name:?}{near}\n  next: the configuration has {next}"))
}

//! One certificate and everything that issuing it takes, on a lab, through the library.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certd::cert::{CertName, Roots};
use certd::config::{self, Config};
use certd::context::Context;
use certd::context::progress::{Event, Progress};
use certd::context::secrets::Secrets;
use certd::execute::issue::{Issued, issue};
use certd::model::{Finding, LedgerEvent};
use certd::plan::{Issue, RenewalReason};
use certd::store::Store;

use super::cloudflare::Record;
use super::config::ConfigText;
use super::pebble::PebbleOptions;
use super::script::Held;
use super::{Lab, Options, SERVICE, Service};

pub const CHALLENGE: &str = "_acme-challenge.newapi.example.test";

pub struct Bench {
    pub lab: Lab,
    pub context: Context,
    pub task: Issue,
    steps: Arc<Mutex<Vec<String>>>,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    pub fn start() -> Self {
        Self::with(PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() }, &[SERVICE], &ConfigText::default())
    }

    pub fn with(pebble: PebbleOptions, domains: &[&str], text: &ConfigText) -> Self {
        Self::of(Lab::start(Options { pebble, services: vec![Service::new(domains)], ..Options::nodes(1) }), text)
    }

    pub fn of(lab: Lab, text: &ConfigText) -> Self {
        let path = lab.write_config_with(text);
        let config = config::parse(&fs::read_to_string(path).expect("the lab wrote it"))
            .expect("the lab's configuration is right");
        let steps = Arc::new(Mutex::new(Vec::new()));
        let context = context(config, Arc::clone(&steps));
        let task = task(&context.config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime starts");
        Self { lab, context, task, steps, runtime }
    }

    pub fn issue(&self) -> Result<Issued, Finding> {
        self.run(issue(&self.context, &self.task))
    }

    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// What is left when this process is killed while the request that is held is under way.
    pub fn killed_at(&self, held: Held) {
        let (tell, reply) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            held.wait();
            // Held on until nobody waits for the answer any more.
            _ = tell.send(held);
        });
        let until = async {
            loop {
                if let Ok(held) = reply.try_recv() {
                    return held;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let held = self.run(async {
            tokio::select! {
                ended = issue(&self.context, &self.task) => panic!("it was to be interrupted: {ended:?}"),
                held = until => held,
            }
        });
        held.release();
    }

    /// Changes the configuration, as if the file had it.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        change(Arc::get_mut(&mut self.context.config).expect("nobody else holds it"));
    }

    pub fn name(&self) -> &CertName {
        &self.task.certificate
    }

    pub fn steps(&self) -> String {
        self.steps.lock().expect("no holder panics").join("\n")
    }

    pub fn count(&self, kind: &str) -> usize {
        self.lab.proxy.script.count(kind)
    }

    pub fn records(&self) -> Vec<Record> {
        self.lab.cloudflare.records()
    }

    pub fn finalizes(&self) -> usize {
        let ledger = self.context.store.ledger().expect("the ledger can be read");
        ledger.iter().filter(|entry| matches!(entry.event, LedgerEvent::Finalize { .. })).count()
    }

    /// Nothing is left behind anywhere.
    pub fn assert_clean(&self) {
        assert!(self.records().is_empty(), "{:?}", self.records());
        assert!(self.lab.dns.txt(CHALLENGE).is_empty());
        assert!(self.context.store.txt_journal().expect("the journal can be read").is_empty());
    }
}

/// What a plan would say of the configuration's first certificate when nothing is stored.
pub fn task(config: &Config) -> Issue {
    let certificate = &config.certificates[0];
    Issue {
        certificate: certificate.name.clone(),
        ca: config.acme.host.clone(),
        reason: RenewalReason::Nothing,
        names: certificate.names.clone(),
        key_type: certificate.key_type,
        profile: certificate.profile.clone(),
        keep_key: false,
        replaces: None,
        exempt: false,
        passed_over: Vec::new(),
        forced: false,
        emergency: false,
        outlives: None,
        youngest: None,
        seen: 0,
        above: None,
        then: Vec::new(),
    }
}

fn context(config: Config, steps: Arc<Mutex<Vec<String>>>) -> Context {
    let read = |path: &Path| fs::read_to_string(path).expect("the lab wrote it");
    let store = Store::open(&config.state_dir).expect("the lab's folder is ours");
    let roots = Roots::new(&[read(config.acme.issuer_root_file.as_deref().expect("the lab names one"))])
        .expect("it holds roots");
    let secrets = Secrets::read(&config).expect("the lab wrote them");
    let progress = Progress::new(move |event| {
        if let Event::Issue { step, .. } = event {
            steps.lock().expect("no holder panics").push(step);
        }
    });
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    Context::new(config, store, roots, secrets, progress, stopped)
}

//! `cargo bench`: what grows with a fleet and needs no network: the configuration, the plan, the rollout, the report.
//! Each at two sizes at least, so that what is not linear shows. Timings are no tests: docs/performance.md has the limits
//! that they are held to.

mod fleet;

use core::hint::black_box;
use core::time::Duration;
use std::collections::BTreeMap;

use certd::config;
use certd::model::{Committed, ConfigTest, Prepared};
use certd::plan::rollout::{Action, Event, Outcome, Rollout, Verdict};
use certd::plan::{Deliver, Step, plan};
use certd::report::{Done, Style, build, text};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fleet::NOW;

const SIZES: [usize; 2] = [1_000, 10_000];
const CERTIFICATES: usize = 10;

fn configuration(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("config");
    for nodes in [10_000, 40_000] {
        let written = fleet::text(nodes, 1);
        group.throughput(Throughput::Elements(nodes as u64));
        group.bench_function(BenchmarkId::new("parse", nodes), |bench| bench.iter(|| config::parse(&written)));
    }
}

fn plans(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("plan");
    for nodes in SIZES {
        let config = fleet::config(nodes, CERTIFICATES);
        group.throughput(Throughput::Elements((nodes * CERTIFICATES) as u64));
        for (name, observed) in [("in sync", fleet::in_sync(&config)), ("renewed", fleet::renewed(&config))] {
            let id = BenchmarkId::new(name, format!("{nodes} x {CERTIFICATES}"));
            group.bench_function(id, |bench| bench.iter(|| plan(&config, black_box(&observed), NOW)));
        }
    }
}

fn rollouts(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("rollout");
    for nodes in SIZES {
        let config = fleet::config(nodes, 1);
        let plan = plan(&config, &fleet::renewed(&config), NOW);
        let [Step::Deliver(deliver)] = plan.steps.as_slice() else { panic!("one rollout: {:?}", plan.steps) };
        group.throughput(Throughput::Elements(nodes as u64));
        group.bench_function(BenchmarkId::new("all served", nodes), |bench| bench.iter(|| roll_out(deliver)));
    }
}

/// Every node answers, in the configuration's order.
fn roll_out(deliver: &Deliver) -> Rollout {
    let mut machine = Rollout::new(deliver);
    let names = || deliver.nodes.iter().map(|task| task.node.clone());
    let mut actions: Vec<Action> = names().flat_map(|node| machine.on(Event::Started(node))).collect();
    for node in names() {
        let prepared = Prepared { test: ConfigTest::Ok, bases: BTreeMap::new(), clock: None, narrowed: Vec::new() };
        actions.extend(machine.on(Event::Prepared(node, prepared)));
    }
    while let Some(action) = actions.pop() {
        let event = match action {
            Action::Commit(node) => Event::Committed(node, Committed::Committed),
            Action::Verify(node) => Event::Verified(node, Verdict::Expected),
            Action::Done(_) => continue,
            other => panic!("{other:?}"),
        };
        actions.extend(machine.on(event));
    }
    assert!(machine.outcomes().all(|(_, outcome)| *outcome == Outcome::Served));
    machine
}

fn reports(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("report");
    for nodes in SIZES {
        let config = fleet::config(nodes, 1);
        let observed = fleet::in_sync(&config);
        let plan = plan(&config, &observed, NOW);
        let report = || build("check", &config, &observed, plan.clone(), Done::default(), false, NOW);
        group.throughput(Throughput::Elements(nodes as u64));
        group.bench_function(BenchmarkId::new("build", nodes), |bench| bench.iter(report));
        let built = report();
        group.bench_function(BenchmarkId::new("text", nodes), |bench| bench.iter(|| text(&built, Style::default())));
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = pure; config = quick(); targets = configuration, plans, rollouts, reports }
criterion_main!(pure);

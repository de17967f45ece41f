//! The servers of docs/consumers.md, as Debian packages them: brought certificates that certd had from a CA, by nothing but
//! their name in `[install]`, proven by handshakes, and taken back. tests/soak/consumers.sh brings the packages.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use certd::cert::{KeyType, PrivateKey};
use certd::config::Install;
use certd::model::Committed;
use certd::node::{Bundle, Dialogue};

use crate::lab::bench::Bench;
use crate::lab::consumers::{Debian, install_of};

use servers::{CONSUMERS, Consumer};

mod servers;

const LIMIT: Duration = Duration::from_secs(60);
/// lighttpd serves new clients when the old ones are gone, and a new smtpd comes with the next client.
const SERVED: Duration = Duration::from_secs(30);

/// What is issued now, for a server.
fn issued(bench: &Bench, install: &Install) -> Bundle {
    let issued = bench.issue().unwrap_or_else(|failure| panic!("{failure:?}"));
    let pair = bench.context.store.pair(bench.name(), &issued.generation).unwrap();
    Bundle {
        certificate: bench.name().clone(),
        generation: issued.generation,
        pair: Arc::new(pair),
        install: Arc::new(install.clone()),
        older: false,
    }
}

async fn delivered(inside: &Debian, bundle: &Bundle) -> (Dialogue, Committed) {
    let (mut dialogue, _) = Dialogue::open(inside.sshd.endpoint(), vec![bundle.clone()], LIMIT)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}", inside.said()));
    let committed = dialogue.commit().await.unwrap_or_else(|error| panic!("{error}\n{}", inside.said()));
    (dialogue, committed)
}

fn serves(bench: &Bench, consumer: &Consumer, root: &Path) {
    let inside = Debian::new(root);
    let install = install_of(consumer.server, consumer.more);
    inside.well(&consumer.configure.replace("@F", &install.fullchain).replace("@K", &install.key));
    let serves = |what: &str, bundle: &Bundle| {
        let leaf = Some(bundle.pair.chain().leaf_pem());
        let what = format!("{} serves {what}", consumer.server);
        inside.until(&what, SERVED, || inside.served(consumer.port, consumer.client) == leaf);
    };
    // A new node, whose server does not run yet.
    let first = issued(bench, &install);
    let (dialogue, committed) = bench.run(delivered(&inside, &first));
    assert!(!matches!(committed, Committed::RolledBack { .. }), "{}: {committed:?}", consumer.server);
    bench.run(dialogue.done());
    inside.well(consumer.start);
    serves("the first", &first);
    // A renewal, and one that is taken back.
    let second = issued(bench, &install);
    let (dialogue, committed) = bench.run(delivered(&inside, &second));
    assert_eq!(committed, Committed::Committed, "{}\n{}", consumer.server, inside.said());
    serves("the second", &second);
    bench.run(dialogue.done());
    let third = issued(bench, &install);
    let (dialogue, committed) = bench.run(delivered(&inside, &third));
    assert_eq!(committed, Committed::Committed, "{}\n{}", consumer.server, inside.said());
    serves("the third", &third);
    assert_eq!(bench.run(dialogue.rollback()).unwrap(), Ok(()), "{}", consumer.server);
    serves("the second again", &second);
    println!("{}: issued, delivered, renewed, taken back", consumer.server);
    // What its own test says of the chain with the key of another, as the document has it.
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    inside.write("/run/key", key.pem());
    inside.well(&format!("cat /run/key >{}", install.key));
    if let Some(combined) = &install.combined {
        inside.write("/run/combined", &(key.pem().to_owned() + &second.pair.chain().pem()));
        inside.well(&format!("cat /run/combined >{combined}"));
    }
    let passes = inside.run(&install.test.join(" ")).status.success();
    let (tested, expected) = (install.test != ["true"], documented(consumer.server));
    let found = if !tested {
        "no test"
    } else if passes {
        "**passes**"
    } else {
        "refused"
    };
    assert_eq!(found, expected, "{}: a chain with the key of another\n{}", consumer.server, inside.said());
}

const DOCUMENT: &str = include_str!("../../docs/consumers.md");

/// The rows of the table, each from the server's name on.
fn rows() -> impl Iterator<Item = &'static str> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter(|row| !row.starts_with("server`"))
}

/// The document's column "torn".
fn documented(server: &str) -> &'static str {
    let row = rows().find(|row| row.split('`').next() == Some(server)).unwrap();
    row.split(" | ").nth(2).unwrap()
}

/// One by one, by its name: `CONSUMER=redis cargo test --test soak consumers -- --nocapture`.
#[test]
fn each_server_takes_its_certificates_by_its_name_alone_and_goes_back() {
    let set_up = Command::new("tests/soak/consumers.sh").status().unwrap();
    assert!(set_up.success(), "the servers are not to be had");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/consumers/bookworm");
    let one = std::env::var("CONSUMER").ok();
    let wanted = CONSUMERS.iter().filter(|consumer| one.as_ref().is_none_or(|one| one == consumer.server));
    let bench = Bench::start();
    let mut ran = 0;
    for consumer in wanted {
        serves(&bench, consumer, &root);
        ran += 1;
    }
    bench.assert_clean();
    assert_eq!(bench.lab.pebble.issued(), 3 * ran, "one for each delivery, and no other");
    assert!(ran > 0, "no server of that name");
}

/// The document says so of each server that certd knows.
#[test]
fn each_server_of_the_document_is_run() {
    let names = rows().filter_map(|row| row.split('`').next());
    let run: Vec<&str> = CONSUMERS.iter().map(|consumer| consumer.server).collect();
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(names.collect()), sorted(run));
}

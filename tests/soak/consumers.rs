//! The servers of docs/consumers.md, as Debian packages them: brought their certificates by nothing but their name in
//! `[install]`, proven by handshakes, and taken back. tests/soak/consumers.sh brings the packages.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use certd::cert::{CertName, Chain, Pair, PrivateKey};
use certd::config::Install;
use certd::model::Committed;
use certd::node::{Bundle, Dialogue};
use zeroize::Zeroizing;

use crate::lab::consumers::{Debian, SERVICE, install_of};

use servers::{CONSUMERS, Consumer};

mod servers;

const LIMIT: Duration = Duration::from_secs(60);
/// lighttpd serves new clients when the old ones are gone, and a new smtpd comes with the next client.
const SERVED: Duration = Duration::from_secs(30);

/// A leaf, and the intermediate that signed it.
fn pair() -> Pair {
    let valid = |names: Vec<String>| {
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        // Erlang has no timer for rcgen's year 4096, and ejabberd ends at it.
        params.not_after = rcgen::date_time_ymd(2090, 1, 1);
        params
    };
    let ca = |name: &str| {
        let mut params = valid(Vec::new());
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        (params, rcgen::KeyPair::generate().unwrap())
    };
    let ((root, root_key), (issuer, issuer_key)) = (ca("root"), ca("issuer"));
    let intermediate = issuer.signed_by(&issuer_key, &rcgen::Issuer::new(root, root_key)).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = valid(vec![SERVICE.to_owned()]);
    let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(issuer, issuer_key)).unwrap();
    let chain = Chain::parse(&(leaf.pem() + &intermediate.pem())).unwrap();
    Pair::new(chain, PrivateKey::parse(Zeroizing::new(key.serialize_pem())).unwrap()).unwrap()
}

fn bundle(install: &Install, second: u32) -> Bundle {
    Bundle {
        certificate: CertName::parse(SERVICE).unwrap(),
        generation: format!("202611230615{second:02}-04c3").parse().unwrap(),
        pair: Arc::new(pair()),
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

async fn serves(consumer: &Consumer, root: &Path) {
    let inside = Debian::new(root);
    let install = install_of(consumer.server, consumer.more);
    inside.well(&consumer.configure.replace("@F", &install.fullchain).replace("@K", &install.key));
    let serves = |what: &str, bundle: &Bundle| {
        let leaf = Some(bundle.pair.chain().leaf_pem());
        let what = format!("{} serves {what}", consumer.server);
        inside.until(&what, SERVED, || inside.served(consumer.port, consumer.client) == leaf);
    };
    // A new node, whose server does not run yet.
    let first = bundle(&install, 1);
    let (dialogue, committed) = delivered(&inside, &first).await;
    assert!(!matches!(committed, Committed::RolledBack { .. }), "{}: {committed:?}", consumer.server);
    dialogue.done().await;
    inside.well(consumer.start);
    serves("the first", &first);
    // A renewal, and one that is taken back.
    let second = bundle(&install, 2);
    let (dialogue, committed) = delivered(&inside, &second).await;
    assert_eq!(committed, Committed::Committed, "{}\n{}", consumer.server, inside.said());
    serves("the second", &second);
    dialogue.done().await;
    let third = bundle(&install, 3);
    let (dialogue, committed) = delivered(&inside, &third).await;
    assert_eq!(committed, Committed::Committed, "{}\n{}", consumer.server, inside.said());
    serves("the third", &third);
    assert_eq!(dialogue.rollback().await.unwrap(), Ok(()), "{}", consumer.server);
    serves("the second again", &second);
    println!("{}: delivered, renewed, taken back", consumer.server);
    // What its own test says of the chain with the key of another, as the document has it.
    let key = pair();
    inside.write("/run/key", key.key().pem());
    inside.well(&format!("cat /run/key >{}", install.key));
    if let Some(combined) = &install.combined {
        inside.write("/run/combined", &(key.key().pem().to_owned() + &second.pair.chain().pem()));
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
#[tokio::test]
async fn each_server_takes_its_certificates_by_its_name_alone_and_goes_back() {
    let set_up = Command::new("tests/soak/consumers.sh").status().unwrap();
    assert!(set_up.success(), "the servers are not to be had");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/consumers/bookworm");
    let one = std::env::var("CONSUMER").ok();
    let wanted = CONSUMERS.iter().filter(|consumer| one.as_ref().is_none_or(|one| one == consumer.server));
    let mut ran = 0;
    for consumer in wanted {
        serves(consumer, &root).await;
        ran += 1;
    }
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

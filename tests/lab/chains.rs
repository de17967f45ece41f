//! What the CA sends as a certificate, when it is not what it should be: a proxy before the CA puts other chains in its
//! place, signed by an authority that this certd trusts. Nothing that is flawed is ever kept or delivered, and no second
//! certificate is spent where fetching again can help.

use crate::lab;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, date_time_ymd,
};
use x509_parser::pem::Pem;

use certd::cert::Roots;
use certd::config;
use certd::context::Context;
use certd::context::progress::{Event, Progress};
use certd::context::secrets::Secrets;
use certd::execute::issue::{Issued, issue};
use certd::model::Finding;
use certd::plan::Issue;
use certd::store::Store;

use lab::pebble::PebbleOptions;
use lab::printed::{exits, stderr, stdout};
use lab::{Lab, Options, SERVICE};

const DAY: i64 = 24 * 3600;

/// Signs for the key of whatever leaf it is shown.
struct Forge {
    root: CertifiedIssuer<'static, KeyPair>,
    /// Ends in so many seconds from now.
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Forge {
    fn new(intermediate_ends: i64) -> Self {
        let authority = |name: &str, ends: i64| {
            let mut params = dated(CertificateParams::default(), -90 * DAY, ends);
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let key = || KeyPair::generate().expect("a key can be made");
        let root = CertifiedIssuer::self_signed(authority("Forged Root", 3000 * DAY), key()).expect("it signs itself");
        let params = authority("Forged Intermediate", intermediate_ends);
        let intermediate = CertifiedIssuer::signed_by(params, key(), &root).expect("the root signs");
        Self { root, intermediate }
    }

    /// Leaf and intermediate, for the key of the first certificate in `pem`; from and to in seconds from now.
    fn chain(&self, pem: &str, names: &[&str], from: i64, to: i64) -> String {
        let block = Pem::iter_from_buffer(pem.as_bytes()).flatten().next().expect("the CA sent a chain");
        let real = block.parse_x509().expect("the CA sent certificates");
        let key = P256(real.public_key().subject_public_key.data.to_vec());
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = dated(CertificateParams::new(names).expect("the names are valid"), from, to);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.signed_by(&key, &self.intermediate).expect("the intermediate signs").pem() + &self.intermediate.pem()
    }
}

/// A key's public half, as certd's own default type.
struct P256(Vec<u8>);

impl PublicKeyData for P256 {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn dated(mut params: CertificateParams, from: i64, to: i64) -> CertificateParams {
    #[allow(clippy::disallowed_methods, reason = "the CA's certificates must be old or young today")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
    let at = |later: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(now.saturating_add_signed(later));
    (params.not_before, params.not_after) = (at(from), at(to));
    params
}

/// Issuing alone, without the plan and its back-off.
struct Bench {
    lab: Lab,
    context: Context,
    task: Issue,
    steps: Arc<Mutex<Vec<String>>>,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn start(forge: &Forge) -> Self {
        let lab = started(forge);
        let text = fs::read_to_string(lab.config_path()).expect("the lab wrote it");
        let config = config::parse(&text).expect("the lab's configuration is right");
        let read = |path: &Path| fs::read_to_string(path).expect("the lab wrote it");
        let roots = read(config.acme.issuer_root_file.as_deref().expect("the lab names one"));
        let store = Store::open(&config.state_dir).expect("the lab's folder is ours");
        let secrets = Secrets::read(&config).expect("the lab wrote them");
        let task = lab::bench::task(&config);
        let steps = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&steps);
        let progress = Progress::new(move |event| match event {
            Event::Issue { step, .. } => sink.lock().expect("no holder panics").push(step),
            Event::Checked { found, .. } => sink.lock().expect("no holder panics").push(format!("checked {found}")),
            _ => {}
        });
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        let roots = Roots::new(&[roots]).expect("it holds roots");
        let context = Context::new(config, store, roots, secrets, progress, stopped);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
        Self { lab, context, task, steps, runtime }
    }

    fn issue(&self) -> Result<Issued, Finding> {
        self.runtime.block_on(issue(&self.context, &self.task))
    }

    /// The next chain that the CA sends is changed.
    fn instead(&self, body: impl FnOnce(String) -> String + Send + 'static) {
        self.lab.proxy.script.rewrite("certificate", 1, body);
    }

    fn orders(&self) -> usize {
        self.lab.proxy.script.count("new-order")
    }

    fn steps(&self) -> String {
        core::mem::take(&mut *self.steps.lock().expect("no holder panics")).join("\n")
    }

    fn kept(&self) -> Option<String> {
        let pem = self.context.config.state_dir.join("certs").join(SERVICE).join("current/fullchain.pem");
        fs::read_to_string(pem).ok()
    }
}

fn started(forge: &Forge) -> Lab {
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let lab = Lab::start(Options { pebble, ..Options::nodes(1) });
    let roots = lab.folder.join("issuer-roots.pem");
    let both = fs::read_to_string(&roots).expect("the lab wrote it") + &forge.root.pem();
    fs::write(&roots, both).expect("the lab's folder is ours");
    lab.write_config("");
    lab
}

type Change = Box<dyn FnOnce(String) -> String + Send>;

#[test]
fn a15_a16_a18_a19_a20_a_flawed_chain_is_put_aside_and_fetched_again_without_another_order() {
    let (forge, ended) = (Arc::new(Forge::new(900 * DAY)), Forge::new(-DAY));
    let bench = Bench::start(&forge);
    let forged = |names: &'static [&'static str], from: i64, to: i64| -> Change {
        let forge = Arc::clone(&forge);
        Box::new(move |pem| forge.chain(&pem, names, from, to))
    };
    let foreign = forge.intermediate.pem();
    let cases: Vec<(&str, Change)> = vec![
        ("the intermediate by", Box::new(|pem| first(&pem))),
        ("the leaf must come first", Box::new(|pem| rest(&pem) + &first(&pem))),
        ("is not signed by the next one", Box::new(move |pem| first(&pem) + &foreign)),
        (
            "certificate 2 of the chain (Forged Intermediate) ended at",
            Box::new(move |pem| ended.chain(&pem, &[SERVICE], -DAY, 80 * DAY)),
        ),
        ("it also holds www.example.test, not asked for", forged(&[SERVICE, "www.example.test"], -DAY, 80 * DAY)),
        ("it lacks newapi.example.test", forged(&["www.example.test"], -DAY, 80 * DAY)),
        ("the leaf is valid only from", forged(&[SERVICE], DAY, 80 * DAY)),
        ("the leaf ended at", forged(&[SERVICE], -80 * DAY, -DAY)),
        ("it is valid for", forged(&[SERVICE], -DAY, 800 * DAY)),
        (
            "only CERTIFICATE blocks and empty lines may stand in a chain",
            Box::new(|pem| format!("subject=/CN=x\n{pem}")),
        ),
        ("only CERTIFICATE blocks", Box::new(|_| "\u{1b}[2J{\"not\": \"a chain\"}".to_owned())),
        ("it ends within a CERTIFICATE block", Box::new(|pem| pem[..pem.len() / 3].to_owned())),
        ("no certificate", Box::new(|_| "\n".to_owned())),
    ];
    let count = cases.len();
    for (flaw, change) in cases {
        bench.instead(change);
        let failure = bench.issue().expect_err(flaw);
        assert_eq!(failure.code.as_str(), "acme-rejected-certificate", "{flaw}: {failure:?}");
        assert!(failure.what.contains(flaw), "{flaw}: {}", failure.what);
        assert!(!failure.what.contains('\u{1b}'), "{}", failure.what);
        assert_eq!(bench.kept(), None, "{flaw}");
    }
    let rejected = fs::read_dir(bench.context.config.state_dir.join("certs").join(SERVICE).join("rejected")).unwrap();
    assert!((1..=10.min(count)).contains(&rejected.count()), "kept to be looked at, and bounded");
    bench.issue().unwrap();
    assert_eq!((bench.orders(), bench.lab.pebble.issued()), (1, 1), "one order, one certificate, {count} faults");
}

#[test]
fn a16_a_root_at_the_end_is_left_out_and_line_ends_of_either_kind_are_read() {
    let bench = Bench::start(&Forge::new(900 * DAY));
    let root = bench.lab.pebble.root_pem();
    let sent = Arc::new(Mutex::new(String::new()));
    let note = Arc::clone(&sent);
    bench.instead(move |pem| {
        note.lock().unwrap().clone_from(&pem);
        (pem + &root).replace('\n', "\r\n")
    });
    bench.issue().unwrap();
    let squeeze = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(squeeze(&bench.kept().unwrap()), squeeze(&sent.lock().unwrap()));
    assert!(!bench.kept().unwrap().contains('\r'));
}

#[test]
fn a09_a_megabyte_in_place_of_a_chain_is_not_read_and_the_chain_is_asked_for_again() {
    let bench = Bench::start(&Forge::new(900 * DAY));
    bench.instead(|pem| pem.repeat(1_000_000 / pem.len()));
    bench.issue().unwrap();
    assert_eq!((bench.orders(), bench.lab.pebble.issued()), (1, 1));
    assert_eq!(bench.lab.proxy.script.count("certificate"), 2);
}

#[test]
fn a17_a_certificate_for_another_key_is_thrown_away_ordered_anew_once_and_then_told() {
    let forge = Arc::new(Forge::new(900 * DAY));
    let bench = Bench::start(&forge);
    let of_another = || {
        let (forge, key) = (Arc::clone(&forge), KeyPair::generate().unwrap());
        move |_| {
            let own = dated(CertificateParams::new([SERVICE.to_owned()]).unwrap(), -DAY, DAY);
            forge.chain(&own.self_signed(&key).unwrap().pem(), &[SERVICE], -DAY, 80 * DAY)
        }
    };
    bench.lab.proxy.script.rewrite("certificate", 1, of_another());
    bench.lab.proxy.script.rewrite("certificate", 2, of_another());
    let failure = bench.issue().unwrap_err();
    assert_eq!(failure.code.as_str(), "acme-foreign-key", "{failure:?}");
    assert_eq!((bench.orders(), bench.kept()), (2, None));
    bench.issue().unwrap();
}

#[test]
fn a19_a_certificate_that_begins_in_seconds_is_waited_for_in_the_same_run() {
    let forge = Arc::new(Forge::new(900 * DAY));
    let bench = Bench::start(&forge);
    bench.instead(move |pem| forge.chain(&pem, &[SERVICE], 4, 80 * DAY));
    bench.issue().unwrap();
    let steps = bench.steps();
    assert!(steps.contains("which is ahead of this clock"), "{steps}");
    assert_eq!((bench.orders(), bench.lab.proxy.script.count("certificate")), (1, 1), "nothing is asked twice");
}

#[test]
fn a22_a_chain_whose_issuer_ends_before_the_leaf_is_kept_with_a_warning_and_verbose_tells_every_check() {
    let forge = Arc::new(Forge::new(20 * DAY));
    let lab = started(&forge);
    let short_lived = Arc::clone(&forge);
    lab.proxy.script.rewrite("certificate", 1, move |pem| short_lived.chain(&pem, &[SERVICE], -DAY, 80 * DAY));
    let output = lab.certd(&["renew", "-v"]);
    exits(&output, 3);
    let caveat = "certificate 2 of the chain (Forged Intermediate) ends at";
    let (report, reply) = (stdout(&output), stderr(&output));
    assert!(report.contains(&format!("the chain that was issued has a caveat: {caveat}")), "{report}");
    for line in [
        "checked names: newapi.example.test, as asked for",
        "checked key: ecdsa-p256, the one that was made for it",
        "checked leaf first: yes, serial ",
        "checked links: 2 certificates, each signed by the next",
        "checked path: leads to Forged Root, by Forged Intermediate",
        "checked dates: ",
        "checked lifetime: 81 days",
        &format!("checked caveats: {caveat}"),
    ] {
        assert!(reply.contains(line), "{line}: {reply}");
    }
    let (checked, kept) = (reply.find("checked names").unwrap(), reply.find("keep the certificate").unwrap());
    assert!(checked < kept, "printed before it is kept: {reply}");
    exits(&lab.certd(&["check"]), 0);
    let again = lab.certd(&["renew", "--force"]);
    exits(&again, 0);
    assert!(!stderr(&again).contains("checked"), "{}", stderr(&again));
}

#[test]
fn a15_force_ends_the_days_wait_after_a_rejected_certificate_and_fetching_again_is_tried_first() {
    let lab = started(&Forge::new(900 * DAY));
    let orders = || lab.proxy.script.count("new-order");
    lab.proxy.script.rewrite("certificate", 1, |pem| first(&pem));
    let output = lab.certd(&["renew"]);
    exits(&output, 5);
    assert!(stdout(&output).contains("or now with --force"), "{}", stdout(&output));
    exits(&lab.certd(&["renew"]), 5);
    assert_eq!((orders(), lab.proxy.script.count("certificate")), (1, 1), "it backs off");
    lab.proxy.script.rewrite("certificate", 1, |pem| first(&pem));
    exits(&lab.certd(&["renew", "--force"]), 0);
    assert_eq!((orders(), lab.proxy.script.count("certificate")), (2, 3), "fetched, flawed still, ordered anew");
    assert_eq!(lab.pebble.issued(), 2);
}

fn first(pem: &str) -> String {
    pem.split_inclusive("-----END CERTIFICATE-----\n").next().expect("the CA sent a chain").to_owned()
}

fn rest(pem: &str) -> String {
    pem[first(pem).len()..].trim_start().to_owned()
}

//! The nodes' disks: when they are looked at, what a look means, and what follows.

use std::sync::Arc;

use super::golden;
use super::scene::{SERVICE, Scene, cert, days, failure, hours, name, now};
use crate::cert::RevokedByCa;
use crate::cert::{CertName, DnsName, Generation};
use crate::config::Install;
use crate::model::ConfigTest;
use crate::model::{AcmeClient, AtPath, Crl, Disk, Drift, Found, Looked, Renewal};
use crate::plan::{DeliveryReason, RenewalReason, Step, crls, disks, installs, renewals};
use crate::report::plan_text;

fn fleet() -> Scene {
    Scene::new().stored(days(30), days(90))
}

impl Scene {
    fn desired(&self) -> Vec<(CertName, Option<Generation>)> {
        let kept = self.observed.store[&cert(SERVICE)].current.as_ref();
        vec![(cert(SERVICE), kept.map(|kept| kept.generation.clone()))]
    }

    /// Records the result of a look at a node now.
    fn found(&mut self, node: &str, found: Found, renewers: &[&str]) {
        let certificates = [(cert(SERVICE), found)].into_iter().collect();
        let renewers = renewers.iter().map(ToString::to_string).collect();
        let (test, left, renewals) = (ConfigTest::Ok, Vec::new(), Vec::new());
        let unbounded_workers = false;
        let looked = Looked {
            test,
            clock: None,
            room: None,
            renewers,
            renewals,
            left,
            unbounded_workers,
            certificates,
            receiver: None,
        };
        self.looked(node, Ok(looked));
    }

    fn looked(&mut self, node: &str, looked: Result<Looked, crate::model::Finding>) {
        let disk = Disk { node: name(node), at: self.now, looked };
        let desired = self.desired();
        disks::record(&mut self.observed.state, &self.config, &desired, &disk);
    }

    fn due(&self) -> Vec<String> {
        disks::due(&self.config, &self.observed, self.now).iter().map(ToString::to_string).collect()
    }
}

fn links(current: &str, same: bool) -> Found {
    let current = Some(current.to_owned());
    Found { fullchain: AtPath::Link, key: AtPath::Link, current, same, digest: None, exposed: Vec::new() }
}

fn plain(same: bool) -> Found {
    Found { fullchain: AtPath::Plain, key: AtPath::Plain, ..links("", same) }
}

#[test]
fn disks_are_compared_once_a_day_by_a_pass_over_everything_and_by_no_other() {
    let mut scene = fleet();
    assert_eq!(scene.due(), ["guangzhou", "shenzhen", "上海"]);
    let desired = scene.desired()[0].1.clone().unwrap();
    scene.found("guangzhou", links(&desired.to_string(), true), &[]);
    scene.looked("shenzhen", Err(failure("ssh-refused", "refused")));
    assert_eq!(scene.due(), ["上海"]);
    scene.now = now() + hours(1);
    assert_eq!(scene.due(), ["shenzhen", "上海"], "what could not be seen is tried again sooner");
    scene.now = now() + hours(24);
    assert_eq!(scene.due().len(), 3);
    scene.now = now() - hours(48);
    assert_eq!(scene.due().len(), 3, "a clock that ran ahead holds nothing up");
    scene.now = now() + hours(24);
    scene.observed.asked.nodes = [name("shenzhen")].into();
    assert!(scene.due().is_empty(), "it was asked for one node");
    scene.observed.asked.nodes.clear();
    scene.observed.asked.may_issue = false;
    assert!(scene.due().is_empty(), "deploy delivers what was asked for");
    assert!(Scene::new().due().is_empty(), "nothing is stored that could be there");
}

#[test]
fn a_takeover_compares_the_disks_of_its_nodes_at_once_but_those_that_it_has_just_written() {
    let mut scene = fleet();
    let desired = scene.desired()[0].1.clone().unwrap();
    scene.found("guangzhou", links(&desired.to_string(), true), &[]);
    scene.now = now() + hours(1);
    scene.found("shenzhen", links(&desired.to_string(), true), &[]);
    let asked = &mut scene.observed.asked;
    (asked.compares_disks, asked.may_issue, asked.pass_started) = (true, false, Some(now() + hours(1)));
    asked.nodes = ["guangzhou", "shenzhen"].map(name).into();
    assert_eq!(scene.due(), ["guangzhou"]);
}

#[test]
fn p09_what_a_look_finds_has_a_name_of_its_own() {
    let scene = fleet();
    let desired = scene.desired()[0].1.clone().unwrap();
    let install = scene.config.install(&name("上海"), &cert(SERVICE)).unwrap();
    let acme_sh = ["/etc/cron.d/acme".to_owned()];
    let judged = |found: Found| disks::judge(&found, &acme_sh, install, &desired);
    assert_eq!(judged(links(&desired.to_string(), true)), None);
    assert_eq!(judged(plain(true)), Some(Drift::Flattened));
    assert_eq!(judged(plain(false)), Some(Drift::Overwritten { renewers: acme_sh.to_vec() }));
    let one = Found { key: AtPath::Link, ..plain(false) };
    assert_eq!(judged(one), Some(Drift::Overwritten { renewers: acme_sh.to_vec() }));
    let behind = judged(links(&desired.to_string(), false));
    assert_eq!(behind, Some(Drift::Changed { renewers: acme_sh.to_vec() }));
    let older = "20250101000000-04c3".to_owned();
    assert_eq!(judged(links(&older, false)), Some(Drift::Older { current: older }));
    let newer = "29990101000000-04c3".to_owned();
    assert_eq!(judged(links(&newer, false)), Some(Drift::Newer { current: newer }));
    assert!(matches!(judged(links("0-found", false)), Some(Drift::Changed { .. })));
    assert_eq!(judged(Found { key: AtPath::Nothing, ..plain(false) }), Some(Drift::Missing));
    let why = "a link to /etc/passwd".to_owned();
    let foreign = Found { fullchain: AtPath::Foreign { why: why.clone() }, ..plain(false) };
    assert_eq!(judged(foreign), Some(Drift::Foreign { why }));
    let mut in_place = install.as_ref().clone();
    in_place.in_place = true;
    assert_eq!(disks::judge(&plain(true), &[], &in_place, &desired), None, "no links are wanted there");
    assert!(disks::judge(&plain(false), &[], &in_place, &desired).is_some());
}

#[test]
fn p09_a_disk_that_drifted_is_delivered_to_although_the_node_serves_the_right_certificate() {
    let mut scene = fleet();
    scene.found("guangzhou", plain(true), &[]);
    scene.found("上海", plain(false), &["/etc/cron.d/acme"]);
    golden("two-drifted", &scene);
    let generation = scene.desired()[0].1.clone().unwrap();
    disks::mended(&mut scene.observed.state, &name("上海"), &cert(SERVICE), &generation, scene.now);
    scene.looked("guangzhou", Err(failure("ssh-refused", "refused")));
    let plan = plan_text(&scene.plan());
    assert!(plan.contains("to guangzhou: serves the right") && !plan.contains("to 上海"), "known still: {plan}");
    let mut failed = scene.delivery_failed("guangzhou", SERVICE, |attempts| attempts.rolled_back = true);
    failed.now = now() - hours(1);
    assert!(failed.plan().steps.is_empty(), "it backs off as any delivery does");
}

#[test]
fn i09_what_a_node_refuses_by_itself_is_reported_and_not_delivered() {
    let mut scene = fleet();
    scene.found("guangzhou", links("29990101000000-04c3", false), &[]);
    scene.found("上海", Found { key: AtPath::Foreign { why: "a folder".into() }, ..plain(false) }, &[]);
    assert!(scene.plan().steps.is_empty(), "{}", plan_text(&scene.plan()));
}

#[test]
fn what_is_to_be_put_there_otherwise_is_delivered_now_and_where_nobody_knows_how_it_was_it_is_not() {
    let (node, service) = (name("上海"), cert(SERVICE));
    let mut scene = fleet();
    let before = scene.config.install(&node, &service).unwrap().as_ref().clone();
    let changed = |scene: &mut Scene, change: &dyn Fn(&mut Install)| {
        let mut install = before.clone();
        change(&mut install);
        scene.config.installs.insert((node.clone(), service.clone()), Arc::new(install));
    };
    changed(&mut scene, &|install| install.combined = Some("/ssl/all.pem".into()));
    assert!(scene.plan().steps.is_empty(), "nothing is known of before");
    changed(&mut scene, &|_| {});
    let generation = scene.desired()[0].1.clone().unwrap();
    scene.found("上海", links(&generation.to_string(), true), &[]);
    assert!(scene.plan().steps.is_empty(), "as it was found");
    changed(&mut scene, &|install| install.reload = vec!["true".into()]);
    assert!(scene.plan().steps.is_empty(), "a command puts nothing there");
    let changes: [&dyn Fn(&mut Install); 7] = [
        &|install| install.combined = Some("/ssl/all.pem".into()),
        &|install| install.chain = Some("/ssl/chain.pem".into()),
        &|install| install.forms.key_der = Some("/ssl/key.der".into()),
        &|install| install.key.push('2'),
        &|install| install.in_place = true,
        &|install| install.rights.owner = Some("postgres".into()),
        &|install| install.rights.group = Some("ssl-cert".into()),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        changed(&mut scene, change);
        let plan = scene.plan();
        let [Step::Deliver(deliver)] = plan.steps.as_slice() else { panic!("{number}: {}", plan_text(&plan)) };
        let [task] = deliver.nodes.as_slice() else { panic!("{number}: {}", plan_text(&plan)) };
        assert_eq!((&task.node, &task.certificates[&service]), (&node, &DeliveryReason::InstallChanged), "{number}");
        let mut delivered = scene.clone();
        installs::delivered(&mut delivered.observed.state, &scene.config, &node, &service);
        assert!(delivered.plan().steps.is_empty(), "{number}");
    }
}

#[test]
fn what_its_ca_has_revoked_is_renewed_and_stays_revoked_whatever_is_heard_later() {
    let mut scene = fleet();
    let fingerprint = scene.kept().leaf.fingerprint;
    let not_after = scene.kept().leaf.not_after;
    let url = Some("http://crl.example.com/5.crl".to_owned());
    let at = scene.now - hours(2);
    let crl = Crl { asked_at: scene.now, url, next_update: None, revoked: None, failure: None, not_after };
    let due = |scene: &Scene, at| crls::due(&scene.observed, at).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(due(&scene, scene.now), [cert(SERVICE)]);
    crls::record(&mut scene.observed.state, fingerprint, crl.clone(), scene.now);
    assert!(scene.plan().steps.is_empty());
    assert!(crls::due(&scene.observed, scene.now).is_empty());
    assert_eq!(due(&scene, scene.now + hours(24)), [cert(SERVICE)]);
    let revoked = Crl { revoked: Some(RevokedByCa { at, reason: 1 }), ..crl.clone() };
    crls::record(&mut scene.observed.state, fingerprint, revoked, scene.now);
    let failed = Crl { failure: Some(failure("crl", "no answer")), ..crl };
    crls::record(&mut scene.observed.state, fingerprint, failed, scene.now);
    let plan = scene.plan();
    let [Step::Issue(issue)] = plan.steps.as_slice() else { panic!("{}", plan_text(&plan)) };
    assert_eq!(issue.reason, RenewalReason::Revoked { at, code: 1 });
    assert!(!issue.keep_key && issue.emergency);
    assert!(crls::due(&scene.observed, scene.now + days(2)).is_empty(), "once is for ever");
}

#[test]
fn of_what_other_clients_renew_only_our_names_and_paths_count() {
    let scene = fleet();
    let renewal = |names: &[&str], paths: &[&str]| Renewal {
        elsewhere: Vec::new(),
        client: AcmeClient::AcmeSh,
        file: "/root/.acme.sh/x/x.conf".into(),
        names: Vec::new(),
        others: names.iter().map(|name| DnsName::parse(name).unwrap()).collect(),
        paths: paths.iter().map(ToString::to_string).collect(),
    };
    let node = name("shenzhen");
    let key = scene.config.install(&node, &cert(SERVICE)).unwrap().key.clone();
    let found = vec![
        renewal(&["old.example.com"], &["/etc/old/key.pem"]),
        renewal(&["old.example.com", SERVICE], &["/etc/old/key.pem"]),
        renewal(&["old.example.com"], &[&key]),
    ];
    let ours = renewals::ours(&scene.config, &node, found);
    let [by_name, by_path] = &ours[..] else { panic!("{ours:?}") };
    assert_eq!((by_name.names[0].as_str(), by_name.others[0].as_str()), (SERVICE, "old.example.com"));
    assert!(by_name.paths.is_empty());
    assert_eq!((by_path.names.len(), &by_path.paths[..]), (0, &[key][..]));
}

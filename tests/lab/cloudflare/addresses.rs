//! Address records read, withdrawn and restored by compare and swap.

use certd::dns::{Cloudflare, Provider, Zone};
use certd::model::{AddressRecord, Swap};
use serde_json::json;

use super::bench::Bench;
use crate::lab::SERVICE;
use crate::lab::cloudflare::Record;
use crate::lab::script::{Answer, Point};

struct Scene {
    bench: Bench,
    client: Cloudflare,
    zone: Zone,
}

impl Scene {
    /// A name with two A records, the first of which has all that a record can have, and an AAAA record.
    fn start() -> Self {
        let bench = Bench::start();
        for address in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
            bench.lab.cloudflare.add_address(SERVICE, address.parse().unwrap(), false);
        }
        let scene = Self { client: bench.client(), zone: bench.zone(&bench.client()), bench };
        scene.edit("192.0.2.1", |record| {
            record.ttl = 120;
            record.comment = Some("left rack".to_owned());
            record.tags = vec!["owner:ops".to_owned(), "dc:1".to_owned()];
            record.settings = json!({"ipv4_only": true}).as_object().unwrap().clone();
        });
        scene
    }

    /// Somebody's change in the dashboard.
    fn edit(&self, address: &str, change: impl FnOnce(&mut Record)) {
        self.bench.lab.cloudflare.with(|account| {
            let record = account.records.iter_mut().find(|record| record.content == address).expect("it is there");
            change(record);
            record.modified = format!("2026-03-01T00:00:00.{}Z", record.modified.len());
        });
    }

    fn read(&self) -> Vec<AddressRecord> {
        self.bench.run(self.client.address_records(&self.zone, SERVICE)).unwrap()
    }

    fn withdraw(&self, record: &AddressRecord, all: &[AddressRecord]) -> Swap {
        self.bench.run(self.client.withdraw(&self.zone, record, all)).unwrap()
    }

    fn restore(&self, record: &AddressRecord, all: &[AddressRecord]) -> Swap {
        self.bench.run(self.client.restore(&self.zone, record, all)).unwrap()
    }

    fn addresses(&self) -> Vec<String> {
        self.bench.lab.cloudflare.records().into_iter().map(|record| record.content).collect()
    }

    fn count(&self, kind: &str) -> usize {
        self.bench.count(kind)
    }
}

type Change = fn(&Scene);

fn of(all: &[AddressRecord], address: &str) -> AddressRecord {
    all.iter().find(|record| record.address.to_string() == address).expect("it was read").clone()
}

#[test]
fn a_record_is_withdrawn_and_comes_back_with_all_that_it_had() {
    let scene = Scene::start();
    let before = scene.bench.lab.cloudflare.records();
    let all = scene.read();
    assert_eq!(all.len(), 3);
    let first = of(&all, "192.0.2.1");
    assert_eq!((first.ttl, first.comment.as_deref(), first.proxied), (120, Some("left rack"), false));
    assert_eq!(scene.withdraw(&first, &all), Swap::Done);
    assert_eq!(scene.addresses(), ["192.0.2.2", "2001:db8::1"]);
    assert_eq!(scene.restore(&first, &scene.read()), Swap::Done);
    let after = scene.bench.lab.cloudflare.records().pop().unwrap();
    let tags = ["dc:1", "owner:ops"].map(str::to_owned).to_vec();
    let (id, modified) = (after.id.clone(), after.modified.clone());
    assert_eq!(after, Record { id, modified, tags, ..before[0].clone() });
    // One that has nothing more than an address, of the other family.
    let all = scene.read();
    let six = of(&all, "2001:db8::1");
    assert_eq!(scene.withdraw(&six, &all), Swap::Done);
    assert_eq!(scene.restore(&six, &scene.read()), Swap::Done);
    assert_eq!(scene.bench.lab.cloudflare.records().pop().unwrap().ttl, 1);
    assert_eq!((scene.count("delete"), scene.count("create")), (2, 2));
}

#[test]
fn c21_what_was_changed_since_it_was_read_stays_and_is_named() {
    let changes: [(&str, Change); 5] = [
        ("192.0.2.1 had TTL 120 and has 300", |scene| scene.edit("192.0.2.1", |record| record.ttl = 300)),
        ("192.0.2.2 has another comment: \"mine\"", |scene| {
            scene.edit("192.0.2.2", |record| record.comment = Some("mine".to_owned()));
        }),
        ("192.0.2.1 is gone, 192.0.2.7 is new", |scene| {
            scene.edit("192.0.2.1", |record| record.content = "192.0.2.7".to_owned());
        }),
        ("192.0.2.2 is gone", |scene| {
            scene.bench.lab.cloudflare.with(|account| account.records.retain(|it| it.content != "192.0.2.2"));
        }),
        ("192.0.2.8 is new", |scene| {
            scene.bench.lab.cloudflare.add_address(SERVICE, "192.0.2.8".parse().unwrap(), false);
        }),
    ];
    for (words, change) in changes {
        let scene = Scene::start();
        let all = scene.read();
        change(&scene);
        let changed = Swap::Changed(words.to_owned());
        assert_eq!(scene.withdraw(&of(&all, "192.0.2.1"), &all), changed);
        let other = AddressRecord { address: "192.0.2.99".parse().unwrap(), ..of(&all, "192.0.2.1") };
        assert_eq!(scene.restore(&other, &all), changed);
        assert_eq!((scene.count("delete"), scene.count("create")), (0, 0), "{words}");
    }
}

#[test]
fn c21_what_changed_after_the_last_look_is_seen_in_the_answer() {
    let scene = Scene::start();
    let all = scene.read();
    let first = of(&all, "192.0.2.1");
    scene.bench.lab.cloudflare.script.fail("delete", 1, &Answer::api_error(404, 81044, "Record does not exist."));
    // A proxy may have sent the request twice: whose doing it is nobody knows.
    let error = scene.bench.run(scene.client.withdraw(&scene.zone, &first, &all)).unwrap_err();
    assert_eq!(error.code().as_str(), "dns-api-refused", "{error}");
    scene.withdraw(&first, &all);
    let exists = Answer::api_error(400, 81058, "An identical record already exists.");
    scene.bench.lab.cloudflare.script.fail("create", 1, &exists);
    assert_eq!(scene.restore(&first, &scene.read()), Swap::Changed("192.0.2.1 is there already".to_owned()));
}

#[test]
fn c22_a_change_without_an_answer_is_looked_for_and_made_once() {
    for (point, calls) in [(Point::After, 1), (Point::Before, 2)] {
        let scene = Scene::start();
        let all = scene.read();
        let first = of(&all, "192.0.2.1");
        scene.bench.lab.cloudflare.script.cut("delete", 1, point);
        assert_eq!(scene.withdraw(&first, &all), Swap::Done);
        assert_eq!(scene.addresses(), ["192.0.2.2", "2001:db8::1"]);
        scene.bench.lab.cloudflare.script.cut("create", 1, point);
        assert_eq!(scene.restore(&first, &scene.read()), Swap::Done);
        assert_eq!(scene.addresses(), ["192.0.2.2", "2001:db8::1", "192.0.2.1"]);
        assert_eq!((scene.count("delete"), scene.count("create")), (calls, calls));
    }
}

#[test]
fn a_change_that_the_limit_of_the_api_delays_is_compared_anew() {
    let scene = Scene::start();
    let all = scene.read();
    let limited = Answer::new(429, "{}").header("Retry-After", "1");
    scene.bench.lab.cloudflare.script.fail("delete", 1, &limited);
    let reads = scene.bench.lab.cloudflare.script.calls().len();
    assert_eq!(scene.withdraw(&of(&all, "192.0.2.1"), &all), Swap::Done);
    let calls = scene.bench.lab.cloudflare.script.calls().len() - reads;
    assert_eq!((scene.count("delete"), calls), (2, 4), "read, delete, and both once more");
}

#[test]
fn no_record_of_a_name_with_a_proxied_one_is_touched() {
    let scene = Scene::start();
    scene.edit("192.0.2.2", |record| record.proxied = true);
    let all = scene.read();
    for address in ["192.0.2.1", "192.0.2.2"] {
        let error = scene.bench.run(scene.client.withdraw(&scene.zone, &of(&all, address), &all)).unwrap_err();
        assert_eq!(error.code().as_str(), "dns-addresses");
        assert_eq!(error.to_string(), format!("{SERVICE}: 192.0.2.2 is proxied at the DNS provider"));
    }
    let proxied = AddressRecord { address: "192.0.2.9".parse().unwrap(), ..of(&all, "192.0.2.2") };
    scene.edit("192.0.2.2", |record| record.proxied = false);
    assert!(scene.bench.run(scene.client.restore(&scene.zone, &proxied, &scene.read())).is_err());
    assert_eq!((scene.count("delete"), scene.count("create")), (0, 0));
}

#[test]
fn an_address_comes_back_without_the_tags_that_the_plan_no_longer_takes() {
    let scene = Scene::start();
    let all = scene.read();
    let first = of(&all, "192.0.2.1");
    scene.withdraw(&first, &all);
    scene.bench.lab.cloudflare.with(|account| account.tags_allowed = 0);
    assert_eq!(scene.restore(&first, &scene.read()), Swap::DoneWithout("tags".to_owned()));
    let back = scene.bench.lab.cloudflare.records().pop().unwrap();
    assert_eq!((back.ttl, back.comment.as_deref(), back.tags.len()), (120, Some("left rack"), 0));
    // What it has is not what the API is against.
    scene.withdraw(&of(&scene.read(), "192.0.2.1"), &scene.read());
    scene.bench.lab.cloudflare.script.fail("create", 9, &Answer::api_error(400, 1004, "DNS Validation Error"));
    let error = scene.bench.run(scene.client.restore(&scene.zone, &first, &scene.read())).unwrap_err();
    assert_eq!(error.code().as_str(), "dns-api-refused", "{error}");
    assert_eq!(scene.addresses(), ["192.0.2.2", "2001:db8::1"]);
}

#[test]
fn c03_a_token_that_edits_records_is_enough_where_the_zone_is_configured_by_its_id() {
    let scene = Scene::start();
    scene.bench.lab.cloudflare.with(|account| account.zone_read = false);
    let client = scene.bench.client_with(&scene.bench.lab.token, Some(&scene.zone.id), Default::default());
    let zone = scene.bench.run(client.zone(SERVICE, None)).unwrap();
    let all = scene.bench.run(client.address_records(&zone, SERVICE)).unwrap();
    let first = of(&all, "192.0.2.1");
    assert_eq!(scene.bench.run(client.withdraw(&zone, &first, &all)).unwrap(), Swap::Done);
    let rest = scene.bench.run(client.address_records(&zone, SERVICE)).unwrap();
    assert_eq!(scene.bench.run(client.restore(&zone, &first, &rest)).unwrap(), Swap::Done);
    scene.bench.lab.cloudflare.add_txt("_certd.newapi.example.test", "withdrawn", None);
    let texts = scene.bench.run(client.texts(&zone, "_certd.newapi.example.test")).unwrap();
    assert_eq!(texts, ["withdrawn"]);
}

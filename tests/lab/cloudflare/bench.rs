//! A client of the double with BIND behind it; and certd itself on the same lab.

use std::collections::BTreeMap;
use std::process::Output;

use certd::dns::{Cloudflare, DnsError, Handle, Provider, Settings, TxtRecord, Zone};
use certd::http::HttpOptions;
use certd::model::KnownZone;
use reqwest::Url;
use zeroize::Zeroizing;

use crate::lab::config::ConfigText;
use crate::lab::{Lab, Options, SERVICE, Service};

pub(crate) const CHALLENGE: &str = "_acme-challenge.newapi.example.test";
pub(crate) const MARK: &str = "certd 0123abcd";

pub(crate) struct Bench {
    pub(crate) lab: Lab,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    pub(crate) fn start() -> Self {
        Self::of(Lab::start(Options::nodes(0)))
    }

    pub(crate) fn of(lab: Lab) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self { lab, runtime: runtime.expect("a runtime starts") }
    }

    pub(crate) fn client(&self) -> Cloudflare {
        self.client_with(&self.lab.token, None, BTreeMap::new())
    }

    pub(crate) fn client_with(
        &self,
        token: &str,
        zone_id: Option<&str>,
        zones: BTreeMap<String, KnownZone>,
    ) -> Cloudflare {
        let base = Url::parse(&self.lab.cloudflare.base()).expect("the double's own");
        let token = Zeroizing::new(token.to_owned());
        let clock = certd::context::clock::now;
        let settings = Settings {
            base: &base,
            token: &token,
            zone_id,
            options: &HttpOptions::default(),
            mark: MARK,
            clock,
            zones,
            bypass_cache: false,
        };
        Cloudflare::new(settings).expect("http is allowed to this machine")
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn zone(&self, client: &Cloudflare) -> Zone {
        self.run(client.zone(CHALLENGE, Some("example.test"))).expect("the double has it")
    }

    pub(crate) fn publish(&self, client: &Cloudflare, records: &[TxtRecord]) -> Vec<Result<Handle, DnsError>> {
        let zone = self.zone(client);
        self.run(client.publish(&zone, records))
    }

    pub(crate) fn count(&self, kind: &str) -> usize {
        self.lab.cloudflare.script.count(kind)
    }
}

pub(crate) fn txt(name: &str, value: &str) -> TxtRecord {
    TxtRecord { name: name.to_owned(), value: value.to_owned() }
}

/// So many names of one zone.
pub(crate) fn many(count: usize) -> Vec<TxtRecord> {
    (0..count).map(|n| txt(&format!("_acme-challenge.host-{n}.example.test"), &format!("value-{n}"))).collect()
}

pub(crate) fn well(results: Vec<Result<Handle, DnsError>>) -> Vec<Handle> {
    results.into_iter().map(|result| result.expect("it is done")).collect()
}

/// A lab with one node whose configuration is written, `dns` in its section.
pub(crate) fn lab(domains: &[&str], dns: &str) -> Lab {
    let lab = Lab::start(Options { services: vec![Service::new(domains)], ..Options::nodes(1) });
    lab.write_config_with(&ConfigText { dns: dns.to_owned(), ..ConfigText::default() });
    lab
}

pub(crate) fn service(dns: &str) -> Lab {
    lab(&[SERVICE], dns)
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
pub(crate) fn exits(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "\n{}\n{stderr}", stdout(output));
    stdout(output) + &stderr
}

/// What the API was asked since then, but for the day's question about the token.
pub(crate) fn asked(lab: &Lab, since: usize) -> Vec<String> {
    let mut calls = lab.cloudflare.script.calls().split_off(since);
    calls.retain(|call| !call.ends_with("verify"));
    calls
}

//! A configuration, observations and an instant: everything that a plan may depend on, built in a few calls.

use core::net::SocketAddr;

use jiff::{SignedDuration, Timestamp};

use crate::cert::{CertName, DnsName, Fingerprint, Generation, KeyType, Leaf, NameSet, NodeName};
use crate::config::{self, Config, Host};
use crate::model::{
    Advice, Ari, Attempts, Code, DeliveryAttempts, Finding, Intent, Kept, LedgerEntry, LedgerEvent, Meta, Observed,
    Over, ProbeError, Seen, Served,
};
use crate::plan::{Plan, plan};

pub(super) const SERVICE: &str = "newapi.example.com";
pub(super) const NODES: [&str; 3] = ["上海", "guangzhou", "shenzhen"];
pub(super) const SEED: u64 = 7;

/// Noon of 2026-11-23.
pub(super) fn now() -> Timestamp {
    at("2026-11-23T12:00:00Z")
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

pub(super) fn days(count: i64) -> SignedDuration {
    hours(24 * count)
}

#[derive(Clone)]
pub(super) struct Scene {
    pub(super) config: Config,
    pub(super) observed: Observed,
    pub(super) now: Timestamp,
}

impl Scene {
    /// One certificate for three nodes, nothing stored; each node serves what an older tool issued.
    pub(super) fn new() -> Self {
        Self::with(&format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\n"))
    }

    /// With these `[[certificate]]` sections in place of the one.
    pub(super) fn with(certificates: &str) -> Self {
        Self::of_nodes(certificates, &NODES.map(|name| (name, "")))
    }

    /// With these `[[acme.fallback]]` sections as well.
    pub(super) fn with_cas(certificates: &str, fallback: &[&str]) -> Self {
        let sections: String = fallback.iter().map(|lines| format!("[[acme.fallback]]\n{lines}\n")).collect();
        Self::of_nodes(&format!("{sections}{certificates}"), &NODES.map(|name| (name, "")))
    }

    /// With these nodes, each with more lines of its own.
    pub(super) fn of_nodes(certificates: &str, nodes: &[(&str, &str)]) -> Self {
        let node = |(n, (name, more)): (usize, &(&str, &str))| {
            format!("[[node]]\nname = \"{name}\"\naddress = \"192.0.2.{}\"\n{more}\n", n + 1)
        };
        let nodes: String = nodes.iter().enumerate().map(node).collect();
        let text = format!(
            "[acme]\ndirectory = \"letsencrypt\"\ncontact = [\"ops@example.com\"]\n\
             [dns]\nprovider = \"cloudflare\"\ntoken_file = \"/etc/certd/cloudflare.token\"\n\
             [ssh]\nuser = \"root\"\nidentity_files = [\"/etc/certd/id_ed25519\"]\n\
             [install]\nfullchain = \"/ssl/{{name}}/fullchain.pem\"\nkey = \"/ssl/{{name}}/privkey.pem\"\n\
             test = [\"/sbin/nginx\", \"-t\"]\nreload = [\"/sbin/nginx\", \"-s\", \"reload\"]\n\
             {certificates}{nodes}"
        );
        let config = config::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let mut observed = Observed::default();
        observed.asked.may_issue = true;
        observed.state.seed = SEED;
        let mut scene = Self { config, observed, now: now() };
        for certificate in scene.config.certificates.clone() {
            let old = leaf("of-an-older-tool", &certificate.names, days(-60), days(30));
            certificate.nodes.iter().for_each(|node| scene.set(node, &certificate.name, show(&old)));
        }
        scene
    }

    /// In the store since `age`, of this lifetime, and served by every node.
    pub(super) fn stored(self, age: SignedDuration, lifetime: SignedDuration) -> Self {
        self.stored_as(SERVICE, age, lifetime)
    }

    pub(super) fn stored_as(mut self, name: &str, age: SignedDuration, lifetime: SignedDuration) -> Self {
        let certificate = self.config.certificate(&cert(name)).unwrap().clone();
        let leaf = leaf(&format!("stored {name}"), &certificate.names, -age, lifetime - age);
        let meta = Meta {
            key_type: certificate.key_type,
            profile: certificate.profile.clone(),
            ca: self.config.acme.host.clone(),
            issued_at: leaf.not_before,
        };
        let generation = Generation::issued(leaf.not_before, 0, &leaf.serial).unwrap();
        certificate.nodes.iter().for_each(|node| self.set(node, &certificate.name, show(&leaf)));
        let stored = self.observed.store.entry(certificate.name).or_default();
        stored.greatest = generation.number();
        stored.current = Some(Kept { generation, leaf, meta });
        self
    }

    pub(super) fn kept(&mut self) -> &mut Kept {
        self.observed.store.get_mut(&cert(SERVICE)).and_then(|stored| stored.current.as_mut()).unwrap()
    }

    /// The CA's window for what is stored.
    pub(super) fn ari(mut self, start: &str, end: &str) -> Self {
        let fingerprint = self.kept().leaf.fingerprint;
        let (start, end, asked_at) = (at(start), at(end), self.now - hours(2));
        let explanation = None;
        let ari =
            Ari { fingerprint, start, end, explanation, asked_at, ask_again: asked_at + hours(6), doubted: false };
        self.observed.state.ari.insert(cert(SERVICE), ari);
        self
    }

    pub(super) fn force(mut self) -> Self {
        self.observed.asked.force.insert(cert(SERVICE));
        self
    }

    /// `deploy`: delivers and does not issue.
    pub(super) fn deploy(mut self) -> Self {
        self.observed.asked.may_issue = false;
        self.observed.asked.ignore_backoff = true;
        self
    }

    pub(super) fn failed(mut self, failures: u32, ago: SignedDuration, not_before: Option<&str>) -> Self {
        let (last, not_before) = (self.now - ago, not_before.map(at));
        let failure = failure("acme-status", "the CA answered 500");
        let attempts = Attempts { failures, first: None, last, not_before, failure };
        self.observed.state.issuance.insert(cert(SERVICE), [(self.config.acme.host.clone(), attempts)].into());
        self
    }

    /// An intent of a former run for what the configuration asks for.
    pub(super) fn intent(mut self, order_url: Option<&str>, change: impl FnOnce(&mut Intent)) -> Self {
        let certificate = self.config.certificates[0].clone();
        let mut intent = Intent {
            names: certificate.names,
            key_type: certificate.key_type,
            profile: certificate.profile,
            ca: self.config.acme.host.clone(),
            replaces: None,
            begun_at: self.now - hours(3),
            order_url: order_url.map(Into::into),
            key_of: None,
        };
        change(&mut intent);
        self.observed.store.entry(certificate.name).or_default().pending = Some(intent);
        self
    }

    pub(super) fn finalized(mut self, ago: &[SignedDuration]) -> Self {
        let entry = |ago: &SignedDuration| LedgerEntry {
            at: self.now - *ago,
            ca: self.config.acme.host.clone(),
            names: self.config.certificates[0].names.clone(),
            event: LedgerEvent::Finalize { exempt: false },
            order: None,
        };
        let entries: Vec<LedgerEntry> = ago.iter().map(entry).collect();
        self.observed.ledger.extend(entries);
        self
    }

    /// One of ours, issued before what is stored.
    pub(super) fn serves_former(mut self, node: &str, certificate: &str) -> Self {
        let former = leaf("former", &names(&[SERVICE]), days(-80), days(10));
        self.observed.store.entry(cert(certificate)).or_default().former.insert(former.fingerprint);
        self.set(&name(node), &cert(certificate), show(&former));
        self
    }

    pub(super) fn serves_foreign(mut self, node: &str) -> Self {
        let foreign = leaf("foreign", &names(&[SERVICE]), days(-10), days(80));
        self.set(&name(node), &cert(SERVICE), show(&foreign));
        self
    }

    pub(super) fn silent(mut self, node: &str, silence: ProbeError) -> Self {
        self.set(&name(node), &cert(SERVICE), Seen::Silence(silence));
        self
    }

    pub(super) fn delivery_failed(
        mut self,
        node: &str,
        certificate: &str,
        change: impl Fn(&mut DeliveryAttempts),
    ) -> Self {
        let generation = self.observed.store[&cert(certificate)].current.as_ref().unwrap().generation.clone();
        let failure = failure("node-rolled-back", "the node refused the new certificate and went back: [emerg] no");
        let last = self.now - hours(1);
        let mut attempts = DeliveryAttempts {
            generation,
            failures: 1,
            first: None,
            last,
            rolled_back: false,
            together: false,
            failure,
        };
        change(&mut attempts);
        self.observed.state.delivery.entry(name(node)).or_default().insert(cert(certificate), attempts);
        self
    }

    pub(super) fn plan(&self) -> Plan {
        plan(&self.config, &self.observed, self.now)
    }

    /// What one handshake shows from now on.
    pub(super) fn set(&mut self, node: &NodeName, certificate: &CertName, seen: Seen) {
        let found = self.config.node(node).unwrap();
        let Host::Ip(ip) = found.addresses[0] else { panic!("nodes of a scene have an address") };
        let address = SocketAddr::new(ip, found.probes[0].port);
        let sni = self.config.certificate(certificate).unwrap().sni[0].clone();
        self.observed.served.retain(|served| &served.node != node || &served.certificate != certificate);
        let (node, certificate, address) = (node.clone(), certificate.clone(), Some(address));
        self.observed.served.push(Served {
            node,
            certificate,
            address,
            sni,
            over: Over::Tcp,
            starttls: None,
            seen,
            handshakes: None,
        });
    }
}

pub(super) fn show(leaf: &Leaf) -> Seen {
    Seen::Leaf { leaf: Box::new(leaf.clone()), distrust: None }
}

/// The label makes the fingerprint; the dates are counted from noon of the day.
pub(super) fn leaf(label: &str, names: &NameSet, from: SignedDuration, to: SignedDuration) -> Leaf {
    Leaf {
        fingerprint: Fingerprint::of(label.as_bytes()),
        names: names.clone(),
        not_before: now() + from,
        not_after: now() + to,
        serial: "04c3".into(),
        issuer: "E7".into(),
        key_type: Some(KeyType::EcdsaP256),
        ari_id: Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.BMM".into()),
        subject: String::new(),
        organisation: None,
        self_signed: false,
    }
}

pub(super) fn failure(code: impl Into<Code>, what: &str) -> Finding {
    Finding::new(code.into(), "object", what, "next", Advice::Retry { after_seconds: None })
}

pub(super) fn names(list: &[&str]) -> NameSet {
    list.iter().map(|text| DnsName::parse(text).unwrap()).collect()
}

pub(super) fn cert(text: &str) -> CertName {
    CertName::parse(text).unwrap()
}

pub(super) fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

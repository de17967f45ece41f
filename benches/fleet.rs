//! A fleet of any size without a network: its configuration, and what a pass would have observed.

use core::fmt::Write as _;
use core::net::SocketAddr;

use certd::cert::{CertName, Fingerprint, Generation, KeyType, Leaf, NameSet};
use certd::config::{self, Config, Host};
use certd::model::{Compared, Kept, Meta, Observed, Over, Seen, Served};
use certd::plan::installs;
use jiff::{SignedDuration, Timestamp};

/// 2026-11-23T12:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_795_435_200, 0);

/// A configuration file as people write it.
pub(crate) fn text(nodes: usize, certificates: usize) -> String {
    let mut text = String::from(
        "[acme]\ndirectory = \"letsencrypt\"\n[dns]\nprovider = \"cloudflare\"\ntoken_file = \"/etc/certd/token\"\n\
         [ssh]\nuser = \"root\"\nidentity_files = [\"/etc/certd/id_ed25519\"]\n\
         [install]\nfullchain = \"/ssl/{name}/fullchain.pem\"\nkey = \"/ssl/{name}/privkey.pem\"\n\
         test = [\"/sbin/nginx\", \"-t\"]\nreload = [\"/sbin/nginx\", \"-s\", \"reload\"]\n",
    );
    for number in 0..certificates {
        let _ = writeln!(text, "[[certificate]]\ndomains = [\"service-{number}.example.com\"]\nnodes = [\"*\"]");
    }
    for number in 0..nodes {
        let [.., b, c, d] = u32::try_from(number).expect("a fleet").to_be_bytes();
        let _ = writeln!(text, "[[node]]\nname = \"node-{number:05}\"\naddress = \"10.{b}.{c}.{d}\"");
    }
    text
}

pub(crate) fn config(nodes: usize, certificates: usize) -> Config {
    config::parse(&text(nodes, certificates)).expect("it is right")
}

/// Each certificate stored a month ago, and delivered, compared on disk and served everywhere.
pub(crate) fn in_sync(config: &Config) -> Observed {
    let mut observed = Observed::default();
    observed.asked.may_issue = true;
    for certificate in &config.certificates {
        let kept = kept(&certificate.name, &certificate.names, config);
        for node in &certificate.nodes {
            installs::delivered(&mut observed.state, config, node, &certificate.name);
            let compared = Compared { generation: kept.generation.clone(), at: NOW, drift: None, failure: None };
            observed.state.disks.entry(node.clone()).or_default().insert(certificate.name.clone(), compared);
            let address = config.node(node).and_then(|node| match node.addresses[0] {
                Host::Ip(ip) => Some(SocketAddr::new(ip, 443)),
                Host::Name(_) => None,
            });
            observed.served.push(Served {
                node: node.clone(),
                certificate: certificate.name.clone(),
                address,
                sni: certificate.sni[0].clone(),
                over: Over::Tcp,
                starttls: None,
                seen: Seen::Leaf { leaf: Box::new(kept.leaf.clone()), distrust: None },
                handshakes: None,
            });
        }
        let stored = observed.store.entry(certificate.name.clone()).or_default();
        stored.greatest = kept.generation.number();
        stored.current = Some(kept);
    }
    observed
}

/// The same after a renewal: every node serves the certificate before.
pub(crate) fn renewed(config: &Config) -> Observed {
    let mut observed = in_sync(config);
    for (name, stored) in &mut observed.store {
        let Some(kept) = &mut stored.current else { continue };
        stored.former.insert(kept.leaf.fingerprint);
        kept.leaf.fingerprint = Fingerprint::of(format!("{name}, renewed").as_bytes());
        kept.generation = kept.generation.above(kept.generation.number());
        stored.greatest = kept.generation.number();
    }
    observed
}

fn kept(name: &CertName, names: &NameSet, config: &Config) -> Kept {
    let days = |count: i64| SignedDuration::from_hours(24 * count);
    let leaf = Leaf {
        fingerprint: Fingerprint::of(name.as_str().as_bytes()),
        names: names.clone(),
        not_before: NOW - days(30),
        not_after: NOW + days(60),
        serial: "04c3".into(),
        issuer: "E7".into(),
        key_type: Some(KeyType::EcdsaP256),
        ari_id: None,
        subject: String::new(),
        organisation: None,
        self_signed: false,
    };
    let meta =
        Meta { key_type: KeyType::EcdsaP256, profile: None, ca: config.acme.host.clone(), issued_at: leaf.not_before };
    let generation = Generation::issued(leaf.not_before, 0, &leaf.serial).expect("a serial");
    Kept { generation, leaf, meta }
}

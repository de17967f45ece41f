//! What a configuration means that is no mistake, and that will hurt.

use std::collections::BTreeMap;

use super::defaults::LONGEST_TTL;
use super::servers::Server;
use super::{Certificate, Config, FailoverMode, Host, Install, Windows};
use crate::cert::CertName;

/// Nodes that are named, of those that a warning is about.
const NAMED: usize = 3;

/// A sentence each, with what to write.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut found: BTreeMap<(&CertName, String), Vec<String>> = BTreeMap::new();
    let mut note = |certificate, node: String, install: &Install, windows: &Windows| {
        let sentences = [unreadable(install), unknown(install), restart(install, windows)];
        for sentence in sentences.into_iter().flatten() {
            found.entry((certificate, sentence)).or_default().push(node.clone());
        }
    };
    for (node, certificate, install) in config.installs.iter() {
        if let Some(of_node) = config.node(node) {
            note(certificate, node.to_string(), install, &of_node.windows);
        }
    }
    for certificate in &config.certificates {
        if let Some(discover) = &certificate.discover {
            note(&certificate.name, format!("nodes of {}", discover.name), &discover.install, &discover.windows);
        }
    }
    let sentence = |((certificate, sentence), nodes): ((&CertName, String), Vec<String>)| {
        let more = nodes.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named: Vec<&str> = nodes.iter().take(NAMED).map(String::as_str).collect();
        format!("{certificate} on {}{more}: {sentence}", named.join(", "))
    };
    let mut sentences: Vec<String> = found.into_iter().map(sentence).collect();
    if config.has_failover() {
        sentences.extend(failover(config));
    }
    sentences
}

/// What makes failover do less, or more often, than somebody expects who wrote it.
fn failover(config: &Config) -> Vec<String> {
    let failover = &config.failover;
    let mut sentences = Vec::new();
    let ttl = i64::from(LONGEST_TTL);
    if failover.interval.as_secs() < 60 {
        sentences.push(format!(
            "failover.interval is {:#}: resolvers go on using a record for its TTL, mostly {ttl} s, so that a second change \
             comes before the first is felt. Write interval = \"{}m\"",
            failover.interval,
            ttl / 60
        ));
    }
    let here = |host: &Host| match host {
        Host::Ip(core::net::IpAddr::V4(ip)) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        Host::Ip(core::net::IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        Host::Name(_) => false,
    };
    let witnesses = config.witnesses();
    if !witnesses.is_empty() && witnesses.iter().all(|(host, _)| here(host)) {
        sentences.push(
            "failover: every witness is in a private network, and answers when this machine is cut off from the internet. \
             Write witness = [\"1.1.1.1:443\"], or another host that is as far away as visitors are"
                .to_owned(),
        );
    }
    let concerned = config.certificates.iter().filter(|certificate| certificate.failover != FailoverMode::Off);
    for certificate in concerned.filter(|certificate| certificate.discover.is_none()) {
        sentences.extend(of_certificate(config, certificate));
    }
    sentences
}

fn of_certificate(config: &Config, certificate: &Certificate) -> Vec<String> {
    let (name, nodes, failover) = (&certificate.name, certificate.nodes.len(), &config.failover);
    let mut sentences = Vec::new();
    let least = failover.min_records.unwrap_or(nodes / 2 + 1);
    if least >= nodes {
        let write = if nodes < 2 {
            "Write failover = \"off\" at the certificate".to_owned()
        } else {
            format!("Write min_records = {}, if one node bears the load of all", nodes - 1)
        };
        let nodes = if nodes == 1 { "its one node".to_owned() } else { format!("its {nodes} nodes") };
        sentences
            .push(format!("{name}: failover never withdraws a record, since {least} of {nodes} have to stay. {write}"));
    }
    let healths = certificate.nodes.iter().filter_map(|node| config.health(certificate, config.node(node)?));
    let slowest = healths.map(|health| (health.interval * health.fall, health.interval, health.fall)).max();
    if let Some((whole, interval, fall)) = slowest
        && whole.as_secs() > u64::try_from(failover.after.as_secs()).unwrap_or_default()
    {
        sentences.push(format!(
            "{name}: a node counts as failing after {fall} bad answers, one every {} s, which is later than failover.after \
             ({:#}): the first of them counts, and the record is withdrawn with the last",
            interval.as_secs(),
            failover.after
        ));
    }
    sentences
}

/// A named server, and rights by which its user certainly cannot read the key.
fn unreadable(install: &Install) -> Option<String> {
    let server = install.server?;
    let account = server.account?;
    let rights = &install.rights;
    let is = |name: &Option<String>, wanted: &str| name.as_deref() == Some(wanted);
    let by_group = rights.key_mode.is_some_and(|mode| mode.for_group()) && !is(&rights.group, "root");
    if is(&rights.owner, account) || by_group {
        return None;
    }
    Some(format!(
        "{} reads the key as its user {account}, who cannot read it so. Leave out owner, group and key_mode: \
         server = {:?} sets them",
        server.name, server.name
    ))
}

/// A server that is not named, whose own user reads the key, and nothing that says who may.
fn unknown(install: &Install) -> Option<String> {
    let server = install.server.is_none().then(|| Server::of_reload(&install.reload))??;
    let account = server.account?;
    let rights = &install.rights;
    (rights.owner.is_none() && rights.group.is_none()).then(|| {
        format!(
            "{} reads the key as its user {account}, who cannot read a new one unless the file that is there now says so. \
             Write server = {:?}, or group = {account:?}",
            server.name, server.name
        )
    })
}

fn restart(install: &Install, windows: &Windows) -> Option<String> {
    (install.restart && windows.always()).then(|| {
        "its reload is a restart, which cuts connections, and it has no window: it may come at any time. \
         Write window = \"Sat 02:00-06:00\" (UTC) at the node"
            .to_owned()
    })
}

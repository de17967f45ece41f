//! Compares the DNS records of a certificate's names with its nodes. Each difference is a finding with what to do; none
//! blocks a renewal or a delivery.

use core::fmt::Display;
use core::net::IpAddr;
use std::collections::BTreeSet;

use jiff::Timestamp;

use super::caa::{self, Forbids};
use super::cloudflare;
use crate::cert::NodeName;
use crate::config::defaults::LONGEST_TTL;
use crate::config::{Certificate, Config, Provider};
use crate::model::{Caa, Code, Finding, InDns, Inventory, Severity};
use crate::text::list;

/// Items listed in a sentence; the rest is counted.
const MOST_LISTED: usize = 5;

/// Addresses that belong to no node of this certificate: for these the provider is asked whether they are its own.
pub fn strangers(certificate: &Certificate, inventory: &Inventory, name: &InDns) -> BTreeSet<IpAddr> {
    let nodes = of_nodes(certificate, inventory);
    name.addresses().into_iter().filter(|address| !nodes.contains(address)).collect()
}

/// Warnings first.
pub fn findings(
    config: &Config,
    certificate: &Certificate,
    inventory: &Inventory,
    name: &InDns,
    now: Timestamp,
) -> Vec<Finding> {
    let mut scene = Scene { config, certificate, inventory, name, now, found: Vec::new() };
    if !name.name.is_wildcard() {
        scene.addresses();
        scene.servers();
        scene.time_to_live();
    }
    scene.caa();
    scene.found.sort_by_key(|finding| finding.severity);
    scene.found
}

struct Scene<'a> {
    config: &'a Config,
    certificate: &'a Certificate,
    inventory: &'a Inventory,
    name: &'a InDns,
    now: Timestamp,
    found: Vec<Finding>,
}

impl Scene<'_> {
    fn addresses(&mut self) {
        let name = self.name;
        if let Some(why) = &name.trouble {
            self.note(
                Code::InventoryUnasked,
                format!("its addresses could not be looked up: {why}"),
                "if DNS is out of reach here, nothing; else check `dns` in the configuration",
            );
            return;
        }
        let shown = name.addresses();
        if shown.is_empty() {
            let next = "if visitors are to reach it, make A and AAAA records with the nodes' addresses";
            self.note(Code::InventoryNoAddress, "has no A or AAAA record".to_owned(), next);
            return;
        }
        let strangers = strangers(self.certificate, self.inventory, name);
        if let Some(end) = &name.alias {
            let what = format!("is a CNAME of {end}: its addresses are those of another name");
            let next = "nothing, if that name is yours; else make A and AAAA records with the nodes' addresses";
            let severity = if strangers.is_empty() { Severity::Note } else { Severity::Warning };
            self.add(severity, Code::InventoryCname, what, next);
        }
        if !strangers.is_empty() {
            self.strangers(&strangers, strangers.len() == shown.len());
        }
        if strangers.len() < shown.len() {
            self.unlisted(&shown);
        }
    }

    fn strangers(&mut self, strangers: &BTreeSet<IpAddr>, all: bool) {
        // The API is asked only by commands that have the token; the addresses say the same.
        let by_address = strangers.iter().all(|address| cloudflare::is_proxy(*address));
        if by_address || self.name.provider.iter().any(|record| record.proxied) {
            let what = "is proxied (the orange cloud): visitors reach the DNS provider's servers and its certificate, not the nodes'";
            let next =
                "set its records to \"DNS only\", or write `inventory = false` in this certificate if that is intended";
            return self.warn(Code::InventoryProxied, what.to_owned(), next);
        }
        let unresolved: Vec<&NodeName> =
            self.of_certificate().filter(|node| !matches!(self.inventory.nodes.get(*node), Some(Ok(_)))).collect();
        if !unresolved.is_empty() {
            let what = format!(
                "shows {}, and whose they are is not known while {} cannot be looked up",
                listed(strangers),
                listed(&unresolved)
            );
            return self.note(Code::InventoryStranger, what, "see the addresses of these nodes in the configuration");
        }
        let others =
            self.inventory.nodes.iter().filter(|(_, at)| at.as_ref().is_ok_and(|at| !at.is_disjoint(strangers)));
        let others: Vec<&NodeName> = others.map(|(node, _)| node).collect();
        let (mut what, mut next) = if all {
            (
                format!(
                    "none of its addresses is a node's: {}; a proxy, a CDN or a load balancer may stand in front",
                    listed(strangers)
                ),
                "point its records at the nodes, or write `inventory = false` in this certificate if that is intended"
                    .to_owned(),
            )
        } else {
            (
                format!(
                    "{} of its addresses {} no node's: {}",
                    strangers.len(),
                    if strangers.len() == 1 { "is" } else { "are" },
                    listed(strangers)
                ),
                "remove the record, or make it a [[node]]: nothing renews what is served there".to_owned(),
            )
        };
        if all && matches!(self.config.dns.provider_of(self.name.name.as_str()), Provider::Cloudflare { .. }) {
            next = format!("if it is proxied (the orange cloud), set it to \"DNS only\"; else {next}");
        }
        if !others.is_empty() {
            what.push_str(&format!("; nodes that this certificate is not for: {}", listed(&others)));
            next = "add it to `nodes` of this certificate, or remove the record".to_owned();
        }
        self.warn(Code::InventoryStranger, what, &next);
    }

    /// A paused node may have been taken out of DNS on purpose.
    fn unlisted(&mut self, shown: &BTreeSet<IpAddr>) {
        let paused = |name: &NodeName| self.config.paused_until(name, self.now).is_some();
        let unlisted = |name: &&NodeName| match self.inventory.nodes.get(*name) {
            Some(Ok(at)) => at.is_disjoint(shown) && !paused(name),
            _ => false,
        };
        let unlisted: Vec<&NodeName> = self.of_certificate().filter(unlisted).collect();
        if !unlisted.is_empty() {
            let what = format!("no record leads to {}, so no visitor gets there", listed(&unlisted));
            self.warn(
                Code::InventoryNodeUnlisted,
                what,
                "make a record with its address, or take it out of `nodes` of this certificate",
            );
        }
    }

    fn servers(&mut self) {
        let name = self.name;
        let answers = |answers: &[crate::model::ServerAnswer]| -> Vec<(String, BTreeSet<IpAddr>, Option<u32>)> {
            let heard = answers.iter().filter_map(|answer| Some((answer.server.clone(), answer.says.as_ref().ok()?)));
            heard.map(|(server, says)| (server, says.all.clone(), says.ttl)).collect()
        };
        let own = answers(&name.authoritative);
        let Some((first, addresses, _)) = own.first() else { return };
        if let Some((other, differs, _)) = own.iter().find(|(_, all, _)| all != addresses) {
            let what = format!(
                "its name servers differ: {first} shows {}, {other} shows {}",
                listed(addresses),
                listed(differs)
            );
            self.warn(
                Code::InventoryServersDiffer,
                what,
                "wait a minute if records were just changed; else check the zone transfer between its servers",
            );
        }
        for (resolver, shown, left) in answers(&name.public) {
            if own.iter().all(|(_, all, _)| *all != shown) {
                let left = left.map(|left| format!(", for {left} s more")).unwrap_or_default();
                let what = format!(
                    "{resolver} shows {}{left}; its own servers show {}",
                    listed(&shown),
                    listed(&name.addresses())
                );
                self.warn(Code::InventoryResolverDiffers, what, "wait until its cache has expired if records were just changed; else this resolver sees another zone (split DNS)");
            }
        }
    }

    fn time_to_live(&mut self) {
        if let Some(ttl) = self.name.ttl().filter(|ttl| *ttl > LONGEST_TTL) {
            let what =
                format!("its TTL is {ttl} s: visitors still reach a node for that long after it is taken out of DNS");
            self.warn(
                Code::InventoryTtl,
                what,
                &format!("set it to {LONGEST_TTL} or less (\"auto\" at Cloudflare is {LONGEST_TTL})"),
            );
        }
    }

    fn caa(&mut self) {
        let set = match &self.name.caa {
            Caa::Free => return,
            Caa::Unknown(why) => {
                // Reported already, for the same reason.
                if self.name.trouble.is_none() {
                    self.note(
                        Code::InventoryUnasked,
                        format!("its CAA records could not be looked up: {why}"),
                        "nothing now; a CA that cannot look them up either does not issue",
                    );
                }
                return;
            }
            Caa::Restricted(set) => set,
        };
        for ca in self.config.cas() {
            let Some(named) = self.inventory.cas.get(&ca.host) else { continue };
            let Some(forbids) = caa::forbids(set, self.name.name.is_wildcard(), named, ca.challenge) else { continue };
            let (host, at) = (&ca.host, &set.at);
            let identity = named.identities.first().map_or("the CA's identity", String::as_str);
            let tag = if self.name.name.is_wildcard() { "issuewild" } else { "issue" };
            let add = format!("add the record: {at}. CAA 0 {tag} \"{identity}\"");
            let (why, next) = match forbids {
                Forbids::Ca { allowed } if allowed.is_empty() => ("let nobody issue".to_owned(), add),
                Forbids::Ca { allowed } => (format!("let {} issue, and not this CA", listed(&allowed)), add),
                Forbids::Account { accounts } => {
                    let ours = named.account.as_deref().unwrap_or_default();
                    (
                        format!("let the account {} issue, and not ours", listed(&accounts)),
                        format!("let accounturi be {ours}"),
                    )
                }
                Forbids::Method { methods } => (
                    format!("let it validate by {} alone", listed(&methods)),
                    "add certd's method (dns-01) to validationmethods".to_owned(),
                ),
                Forbids::Critical { tag } => {
                    (format!("have the critical tag {tag:?}, which no CA knows"), "remove that record".to_owned())
                }
            };
            let what = format!("the CAA records of {at} {why}: issuing at {host} will fail");
            self.warn(Code::InventoryCaa, what, &next);
        }
    }

    fn of_certificate(&self) -> impl Iterator<Item = &NodeName> {
        self.certificate.nodes.iter()
    }

    fn warn(&mut self, code: Code, what: String, next: &str) {
        self.add(Severity::Warning, code, what, next);
    }

    fn note(&mut self, code: Code, what: String, next: &str) {
        self.add(Severity::Note, code, what, next);
    }

    fn add(&mut self, severity: Severity, code: Code, what: String, next: &str) {
        let finding = Finding::for_a_person(code, &self.name.name, what, next);
        self.found.push(finding.of_severity(severity));
    }
}

fn of_nodes(certificate: &Certificate, inventory: &Inventory) -> BTreeSet<IpAddr> {
    let at = certificate.nodes.iter().filter_map(|node| inventory.nodes.get(node)?.as_ref().ok());
    at.flatten().copied().collect()
}

fn listed<'a, T: Display + 'a>(all: impl IntoIterator<Item = &'a T>) -> String {
    let all = list::first(MOST_LISTED, all);
    if all.is_empty() { "nothing".to_owned() } else { all }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::NOW;
    use crate::config::parse;
    use crate::model::{Addresses, AtProvider, ServerAnswer};

    const CONFIG: &str = r#"
[acme]
directory = "letsencrypt"
[dns]
provider = "exec"
command = ["/bin/true"]
[install]
fullchain = "/{name}.pem"
key = "/{name}.key"
test = ["true"]
reload = ["true"]
[[certificate]]
domains = ["a.example.com"]
nodes = ["one", "two"]
[[node]]
name = "one"
address = "192.0.2.1"
[[node]]
name = "two"
address = "two.example.net"
[[node]]
name = "three"
address = "192.0.2.3"
"#;

    fn set(addresses: &[&str]) -> BTreeSet<IpAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn shown(addresses: &[&str]) -> InDns {
        let says = Ok(Addresses { all: set(addresses), ttl: Some(300) });
        InDns {
            name: crate::cert::DnsName::parse("a.example.com").unwrap(),
            alias: None,
            authoritative: vec![ServerAnswer { server: "ns1.example.com".to_owned(), says }],
            public: Vec::new(),
            caa: Caa::Free,
            provider: Vec::new(),
            trouble: None,
        }
    }

    /// `two`: what its name was looked up to.
    fn found(config: &str, name: &InDns, two: Result<&[&str], &str>) -> Vec<(Severity, Code, String)> {
        let config = parse(config).unwrap();
        let node = |name: &str, at: Result<&[&str], &str>| {
            (NodeName::parse(name).unwrap(), at.map(set).map_err(str::to_owned))
        };
        let nodes = [node("one", Ok(&["192.0.2.1"])), node("two", two), node("three", Ok(&["192.0.2.3"]))];
        let inventory = Inventory { nodes: nodes.into(), ..Inventory::default() };
        let found = findings(&config, &config.certificates[0], &inventory, name, NOW);
        found.into_iter().map(|finding| (finding.severity, finding.code, finding.what)).collect()
    }

    #[test]
    fn records_that_are_the_nodes_say_nothing() {
        assert_eq!(found(CONFIG, &shown(&["192.0.2.1", "192.0.2.2"]), Ok(&["192.0.2.2", "2001:db8::2"])), []);
    }

    #[test]
    fn cloudflares_own_addresses_are_a_proxy_without_its_api() {
        let proxied = shown(&["104.16.1.1", "2606:4700::1"]);
        let findings = found(CONFIG, &proxied, Ok(&["192.0.2.2"]));
        assert!(matches!(&findings[..], [(Severity::Warning, Code::InventoryProxied, _)]), "{findings:?}");
        // One record may be another's, whatever Cloudflare has.
        let findings = found(CONFIG, &shown(&["104.16.1.1", "192.0.2.77"]), Ok(&["192.0.2.2"]));
        assert!(matches!(&findings[..], [(Severity::Warning, Code::InventoryStranger, _)]), "{findings:?}");
    }

    #[test]
    fn whose_an_address_is_remains_open_while_a_node_cannot_be_looked_up() {
        let findings = found(CONFIG, &shown(&["192.0.2.1", "192.0.2.2"]), Err("no answer"));
        let [(Severity::Note, Code::InventoryStranger, what)] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(what, "shows 192.0.2.2, and whose they are is not known while two cannot be looked up");
    }

    #[test]
    fn a_node_of_other_certificates_is_named() {
        let findings = found(CONFIG, &shown(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]), Ok(&["192.0.2.2"]));
        let [(Severity::Warning, Code::InventoryStranger, what)] = &findings[..] else { panic!("{findings:?}") };
        assert!(what.ends_with("192.0.2.3; nodes that this certificate is not for: three"), "{what}");
    }

    #[test]
    fn a_paused_node_may_be_out_of_dns() {
        let findings = found(CONFIG, &shown(&["192.0.2.2"]), Ok(&["192.0.2.2"]));
        assert!(matches!(&findings[..], [(Severity::Warning, Code::InventoryNodeUnlisted, _)]), "{findings:?}");
        let paused = CONFIG.replace("\"192.0.2.1\"\n", "\"192.0.2.1\"\npaused_until = 2126-01-01\n");
        assert_eq!(found(&paused, &shown(&["192.0.2.2"]), Ok(&["192.0.2.2"])), []);
    }

    #[test]
    fn a_proxied_name_is_reported_once_and_not_by_each_address() {
        let provider = vec![AtProvider { content: "192.0.2.1".to_owned(), proxied: true }];
        let proxied = InDns { provider, ..shown(&["104.16.0.1", "104.16.0.2"]) };
        let findings = found(CONFIG, &proxied, Ok(&["192.0.2.2"]));
        assert!(matches!(&findings[..], [(Severity::Warning, Code::InventoryProxied, _)]), "{findings:?}");
    }

    #[test]
    fn a_thousand_addresses_are_one_sentence() {
        let all: Vec<String> = (0..1000).map(|n| format!("10.0.{}.{}", n / 250, n % 250)).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let findings = found(CONFIG, &shown(&all), Ok(&["192.0.2.2"]));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].2.contains("and 995 more") && findings[0].2.len() < 200, "{}", findings[0].2);
    }
}

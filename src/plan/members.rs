//! The condition of each address of a name's nodes, from what health checks and handshakes found. What the certificates of a
//! name do not agree on, and what was not asked lately, is unknown: nothing is withdrawn or brought back by it.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::failover::{Condition, Member, Mode, Policy};
use super::health::{Standing, judge};
use crate::cert::{CertName, DnsName, NodeName};
use crate::config::{Config, FailoverMode, Host, Node};
use crate::model::{Health, Withdrawal};

/// A pause of this machine, and a busy one: a check may come so much later than its interval says.
const LATE: SignedDuration = SignedDuration::from_secs(5);

/// What the configuration says of names with this mode. No node fails for less than it takes to ask each of the others once
/// more: else those that died with it would still be called well.
pub fn policy(config: &Config, mode: FailoverMode) -> Policy {
    let failover = &config.failover;
    let each = config.certificates.iter().flat_map(|it| it.nodes.iter().map(move |node| (it, node)));
    let health = each.filter_map(|(certificate, node)| config.health(certificate, config.node(node)?));
    let round = health.map(|own| own.interval * 2 + own.timeout).max();
    let round =
        round.and_then(|round| SignedDuration::try_from(round).ok()).map_or(SignedDuration::ZERO, |it| it + LATE);
    Policy {
        mode: match mode {
            FailoverMode::Off => Mode::Off,
            FailoverMode::Advise => Mode::Advise,
            FailoverMode::Act => Mode::Act,
        },
        after: failover.after.max(round),
        restore_after: failover.restore_after,
        min_records: failover.min_records,
        interval: failover.interval,
    }
}

/// What a node has shown that visitors refuse: expired, or of another name. By certificate, node, address and the name that was
/// asked for.
pub type Refused = BTreeMap<(CertName, NodeName, IpAddr, DnsName), RefusedAt>;

/// Looks in a row that found it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedAt {
    pub since: Timestamp,
    pub last: Timestamp,
}

/// What is known of all nodes.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub healths: &'a [Health],
    pub refused: &'a Refused,
    /// Before then this machine's clock ran otherwise, or nobody looked: what has lasted has lasted since then.
    pub begins: Timestamp,
    /// How much older than its interval an answer may be: health that another process has written is.
    pub age: SignedDuration,
}

/// Those of these names, each address of each node once.
pub fn members(
    config: &Config,
    names: &BTreeSet<DnsName>,
    known: Known<'_>,
    journal: &[Withdrawal],
    now: Timestamp,
) -> Vec<Member> {
    let mut found: BTreeMap<(NodeName, IpAddr), Vec<Condition>> = BTreeMap::new();
    let of_names = config.certificates.iter().filter(|it| it.names.iter().any(|name| names.contains(name)));
    for certificate in of_names {
        let nodes = certificate.nodes.iter().filter_map(|name| config.node(name));
        for node in nodes.clone() {
            for address in literal(node) {
                found.entry((node.name.clone(), address)).or_default();
            }
            let by_name = node.addresses.iter().any(|host| matches!(host, Host::Name(_)));
            // Its name may not resolve now; what was withdrawn was its address.
            for entry in journal.iter().filter(|entry| by_name && entry.node == node.name) {
                found.entry((node.name.clone(), entry.record.address)).or_default();
            }
        }
        let places = known.healths.iter().filter(|health| health.place.certificate == certificate.name);
        let places: Vec<&Health> = places.collect();
        let judged = judge(places.iter().copied());
        for (health, standing) in places.iter().zip(judged.standings) {
            let Some(node) = nodes.clone().find(|node| node.name == health.place.node) else { continue };
            let Some(at) = health.place.address else { continue };
            let limit = config.health(certificate, node).map(|own| own.interval * 2 + own.timeout);
            let limit = limit.and_then(|limit| SignedDuration::try_from(limit).ok()).unwrap_or_default();
            let is_fresh = now.duration_since(health.at).abs() <= limit + LATE + known.age;
            let condition = if is_fresh { condition(health, standing, known.begins) } else { Condition::Unknown };
            for address in addresses(node, at.ip()) {
                found.entry((node.name.clone(), address)).or_default().push(condition);
            }
        }
    }
    // A look is rarer than a check: one alone is a reason for doubt, and so is a look that contradicts a check.
    let lasts = config.run.check_every * 2 + LATE;
    for ((name, node, address, sni), seen) in known.refused {
        let is_of_node = config.certificate(name).is_some_and(|it| it.nodes.contains(node));
        let Some(conditions) = found.get_mut(&(node.clone(), *address)) else { continue };
        if is_of_node && names.contains(sni) {
            let is_lasting = seen.last > seen.since && now.duration_since(seen.last) <= lasts;
            let failing = Condition::Failing { since: seen.since.max(known.begins) };
            conditions.push(if is_lasting { failing } else { Condition::Unknown });
        }
    }
    let member = |((node, address), conditions)| Member { node, address, condition: common(conditions) };
    found.into_iter().map(member).collect()
}

fn condition(health: &Health, standing: Standing, begins: Timestamp) -> Condition {
    let since = health.since.max(begins);
    match standing {
        Standing::Well => Condition::Well { since },
        Standing::Failing => Condition::Failing { since },
        // It is changing, or it is not the node.
        Standing::Falling(_) | Standing::Rising(_) | Standing::Backend | Standing::Unknown => Condition::Unknown,
    }
}

fn literal(node: &Node) -> impl Iterator<Item = IpAddr> {
    node.addresses.iter().filter_map(|host| match host {
        Host::Ip(ip) => Some(*ip),
        Host::Name(_) => None,
    })
}

/// Those that a check at `at` speaks of: through SSH it is made at the node's own loopback, and stands for all of them.
fn addresses(node: &Node, at: IpAddr) -> Vec<IpAddr> {
    let is_own = literal(node).any(|own| own == at);
    if at.is_loopback() && !is_own { literal(node).chain([at]).collect() } else { vec![at] }
}

/// What all agree on, since when all of them.
fn common(conditions: Vec<Condition>) -> Condition {
    let both = |one, other| match (one, other) {
        (Condition::Well { since: one }, Condition::Well { since: other }) => Condition::Well { since: one.max(other) },
        (Condition::Failing { since: one }, Condition::Failing { since: other }) => {
            Condition::Failing { since: one.max(other) }
        }
        _ => Condition::Unknown,
    };
    conditions.into_iter().reduce(both).unwrap_or(Condition::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::NOW;
    use crate::config::parse;
    use crate::model::{HealthAnswer, HealthPlace};
    use crate::plan::health::{AT_ONCE, Answered, after};

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
[health]
[[certificate]]
domains = ["a.example.com"]
nodes = ["one", "two", "three"]
[[certificate]]
name = "b"
domains = ["b.example.com", "a.example.com"]
nodes = ["one"]
[[node]]
name = "one"
address = ["192.0.2.1", "2001:db8::1"]
[[node]]
name = "two"
address = "two.example.net"
[[node]]
name = "three"
address = "192.0.2.3"
probe = { via = "ssh" }
"#;

    fn at(seconds: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(seconds)
    }

    fn health(certificate: &str, node: &str, address: &str, status: u16, asked: i64) -> Health {
        let place = HealthPlace {
            certificate: CertName::parse(certificate).unwrap(),
            node: NodeName::parse(node).unwrap(),
            address: Some(format!("{address}:443").parse().unwrap()),
        };
        let http = "HTTP/2".to_owned();
        let answer = match status {
            200 => HealthAnswer::Well { status, http },
            0 => HealthAnswer::NoAnswer { why: "connection refused".to_owned() },
            _ => HealthAnswer::Status { status, http, location: None },
        };
        let name = DnsName::parse("a.example.com").unwrap();
        after(None, Answered { place, name, answer, took_ms: None, at: at(asked) }, AT_ONCE)
    }

    fn shown(healths: &[Health], refused: &Refused, begins: i64, journal: &[Withdrawal]) -> Vec<String> {
        let config = parse(CONFIG).unwrap();
        let names = [DnsName::parse("a.example.com").unwrap()].into();
        let known = Known { healths, refused, begins: at(begins), age: SignedDuration::ZERO };
        let word = |member: Member| {
            let condition = match member.condition {
                Condition::Well { since } => format!("well {}", since.duration_since(NOW).as_secs()),
                Condition::Failing { since } => format!("failing {}", since.duration_since(NOW).as_secs()),
                Condition::Unknown => "unknown".to_owned(),
            };
            format!("{} {} {condition}", member.node, member.address)
        };
        members(&config, &names, known, journal, at(60)).into_iter().map(word).collect()
    }

    fn of(healths: &[Health]) -> Vec<String> {
        shown(healths, &Refused::new(), -100, &[])
    }

    #[test]
    fn what_was_not_asked_or_not_lately_is_unknown() {
        assert_eq!(of(&[]), ["one 192.0.2.1 unknown", "one 2001:db8::1 unknown", "three 192.0.2.3 unknown"]);
        assert_eq!(of(&[health("a.example.com", "one", "192.0.2.1", 0, 10)])[0], "one 192.0.2.1 failing 10");
        assert_eq!(of(&[health("a.example.com", "one", "192.0.2.1", 0, -20)])[0], "one 192.0.2.1 unknown");
        // Another process wrote it a minute ago.
        let config = parse(CONFIG).unwrap();
        let healths = [health("a.example.com", "one", "192.0.2.1", 200, -20)];
        let age = SignedDuration::from_mins(1);
        let known = Known { healths: &healths, refused: &Refused::new(), begins: at(-100), age };
        let names = [DnsName::parse("a.example.com").unwrap()].into();
        assert_eq!(members(&config, &names, known, &[], at(60))[0].condition, Condition::Well { since: at(-20) });
    }

    #[test]
    fn certificates_that_share_a_name_have_to_agree() {
        let one = health("a.example.com", "one", "192.0.2.1", 0, 10);
        let other = |status| health("b", "one", "192.0.2.1", status, 30);
        assert_eq!(of(&[one.clone(), other(0)])[0], "one 192.0.2.1 failing 30");
        assert_eq!(of(&[one, other(200)])[0], "one 192.0.2.1 unknown");
        let well = health("a.example.com", "one", "192.0.2.1", 200, 10);
        assert_eq!(of(&[well, other(200)])[0], "one 192.0.2.1 well 30");
    }

    #[test]
    fn a_backend_that_is_down_is_nobodys_failure() {
        let down = [("one", "192.0.2.1"), ("two", "192.0.2.2")]
            .map(|(node, address)| health("a.example.com", node, address, 502, 10));
        let all = of(&down);
        assert!(all.iter().all(|line| line.ends_with("unknown")), "{all:?}");
    }

    #[test]
    fn a_look_through_ssh_stands_for_the_nodes_own_addresses() {
        let all = of(&[health("a.example.com", "three", "127.0.0.1", 0, 10)]);
        assert!(all.contains(&"three 192.0.2.3 failing 10".to_owned()), "{all:?}");
    }

    #[test]
    fn what_lasted_before_the_clock_was_set_does_not_count() {
        let all = shown(&[health("a.example.com", "one", "192.0.2.1", 0, 10)], &Refused::new(), 40, &[]);
        assert_eq!(all[0], "one 192.0.2.1 failing 40");
    }

    #[test]
    fn a_refused_certificate_is_a_failure_where_looks_agree_and_no_check_is_well() {
        let name = |text| DnsName::parse(text).unwrap();
        let key = |sni| {
            let (certificate, node) = (CertName::parse("a.example.com").unwrap(), NodeName::parse("one").unwrap());
            (certificate, node, "192.0.2.1".parse().unwrap(), name(sni))
        };
        let seen = |sni, since, last| Refused::from([(key(sni), RefusedAt { since: at(since), last: at(last) })]);
        let (own, health) = ("a.example.com", |status| [health("a.example.com", "one", "192.0.2.1", status, 10)]);
        let first = |healths: &[Health], refused: &Refused| shown(healths, refused, -2000, &[]).swap_remove(0);
        assert_eq!(first(&[], &seen(own, 20, 50)), "one 192.0.2.1 failing 20");
        assert_eq!(first(&health(0), &seen(own, 20, 50)), "one 192.0.2.1 failing 20");
        assert_eq!(first(&[], &seen(own, 50, 50)), "one 192.0.2.1 unknown", "one look");
        assert_eq!(first(&[], &seen(own, -1900, -1800)), "one 192.0.2.1 unknown", "nobody has looked since");
        assert_eq!(first(&health(200), &seen(own, 20, 50)), "one 192.0.2.1 unknown", "they contradict each other");
        assert_eq!(first(&health(200), &seen("other.example.com", 20, 50)), "one 192.0.2.1 well 10");
    }

    #[test]
    fn a_withdrawn_address_stays_its_nodes_while_its_name_does_not_resolve() {
        let entry = serde_json::json!({
            "node": "two", "at": NOW, "why": "no answer",
            "record": { "id": "", "name": "a.example.com", "address": "192.0.2.2", "ttl": 60 },
        });
        let entry: Withdrawal = serde_json::from_value(entry).unwrap();
        let all = shown(&[], &Refused::new(), 0, &[entry]);
        assert!(all.contains(&"two 192.0.2.2 unknown".to_owned()), "{all:?}");
    }
}

//! Several key types for one name, in the configuration.

use core::net::IpAddr;
use std::fs;

use certd::cert::{CertName, DnsName, KeyType, NodeName};
use certd::config::{Certificate, Config, Conflict, parse};

fn config(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{}", errors.iter().map(|error| error.render("")).collect::<String>()))
}

#[test]
fn a_certificate_of_two_key_types_is_two_certificates_and_the_first_keeps_its_name_and_paths() {
    let text = fs::read_to_string("tests/it/config/well.toml").unwrap();
    let both = text.replace("domains", "key_type = [\"ecdsa-p256\", \"rsa2048\"]\ndomains");
    let config = config(&both);
    let node = NodeName::parse("one").unwrap();
    let each = config.certificates.iter().map(|certificate| {
        let install = config.install(&node, &certificate.name).unwrap();
        (certificate.name.as_str(), certificate.key_type, install.fullchain.as_str(), certificate.inventory)
    });
    assert_eq!(
        each.collect::<Vec<_>>(),
        [
            ("a.example.com", KeyType::EcdsaP256, "/ssl/a.example.com/fullchain.pem", true),
            ("a.example.com-rsa2048", KeyType::Rsa2048, "/ssl/a.example.com-rsa2048/fullchain.pem", false),
        ]
    );
    let [ecdsa, rsa] = &config.certificates[..] else { panic!("two certificates") };
    assert_eq!((&ecdsa.names, &ecdsa.sni, &ecdsa.nodes), (&rsa.names, &rsa.sni, &rsa.nodes));
    let node = config.node(&node).unwrap();
    let beside = |certificate: &Certificate| config.has_beside(certificate, node, &node.probes[0], &certificate.sni[0]);
    assert!(beside(ecdsa) && beside(rsa));
}

#[test]
fn beside_the_key_type_the_name_in_a_path_is_the_one_that_is_written() {
    let text = fs::read_to_string("tests/it/config/key-types-well.toml").unwrap();
    let config = config(&text);
    let path = |name: &str| {
        let install = config.install(&NodeName::parse("one").unwrap(), &CertName::parse(name).unwrap()).unwrap();
        (install.fullchain.clone(), install.key.clone())
    };
    let paths = |stem: &str| (format!("{stem}.pem"), format!("{stem}.key"));
    assert_eq!(path("a.example.com"), paths("/ssl/a.example.com/ecdsa-p256"));
    assert_eq!(path("a.example.com-rsa2048"), paths("/ssl/a.example.com/rsa2048"));
}

#[test]
fn a_nodes_own_paths_and_ports_for_a_certificate_hold_for_each_of_its_key_types() {
    let text = fs::read_to_string("tests/it/config/well.toml").unwrap();
    let own = "[node.certificate.\"a.example.com\"]\nprobe = [{ port = 465 }, { port = 443 }]\n\
               install = { fullchain = \"/own/{key_type}.pem\", owner = \"www\" }\n";
    let both = text.replace("domains", "key_type = [\"rsa2048\", \"ecdsa-p256\"]\ndomains");
    let config = config(&format!("{both}\n{own}"));
    let paths: Vec<&str> = config.installs.values().map(|install| install.fullchain.as_str()).collect();
    assert_eq!(paths, ["/own/rsa2048.pem", "/own/ecdsa-p256.pem"]);
    for certificate in &config.certificates {
        let probes = config.nodes[0].probes_of(&certificate.name);
        assert_eq!(probes.iter().map(|probe| probe.port).collect::<Vec<_>>(), [465, 443], "{}", certificate.name);
    }
}

#[test]
fn two_certificates_are_beside_each_other_at_the_ports_where_both_are_probed() {
    let text = fs::read_to_string("tests/it/config/key-types-well.toml").unwrap();
    let own = "[node.certificate.rsa]\nprobe = [{ port = 443 }, { port = 465 }, { port = 993, via = \"ssh\" }]\n\
               [node.certificate.ecc]\nprobe = [{ port = 443 }, { port = 993 }]\n";
    let config = config(&format!("{text}\n{own}"));
    let node = &config.nodes[0];
    let certificate = config.certificate(&CertName::parse("rsa").unwrap()).unwrap();
    let probes = node.probes_of(&certificate.name).iter();
    let beside = probes.map(|probe| config.has_beside(certificate, node, probe, &certificate.sni[0]));
    assert_eq!(beside.collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn a_node_that_dns_shows_is_left_out_of_the_second_of_two_certificates_that_one_handshake_cannot_tell_apart() {
    let text = fs::read_to_string("tests/it/config/discover-well.toml").unwrap();
    let certificate =
        |name: &str, more: &str| format!("[[certificate]]\nname = {name:?}\ndomains = [\"one.example.com\"]\n{more}\n");
    let discover = |of: &str| format!("nodes = {{ discover = \"{of}.example.net\" }}");
    let (head, _) = text.split_once("[[certificate]]").unwrap();
    let mut all = head.to_owned();
    all.push_str(&certificate("one", &discover("edge")));
    all.push_str(&certificate("two", &discover("core")));
    all.push_str(&certificate("rsa", &format!("key_type = \"rsa2048\"\n{}", discover("core"))));
    let config = config(&all);
    let ip: IpAddr = "192.0.2.7".parse().unwrap();
    let found = ["edge", "core"].map(|of| (DnsName::parse(&format!("{of}.example.net")).unwrap(), [ip].into()));
    let (config, conflicts) = config.with_discovered(&found.into(), &[].into());
    let nodes = |name: &str| config.certificate(&CertName::parse(name).unwrap()).unwrap().nodes.len();
    assert_eq!(["one", "two", "rsa"].map(nodes), [1, 0, 1]);
    let conflicts =
        conflicts.iter().map(|(node, lacks, other, why)| (node.as_str(), lacks.as_str(), other.as_str(), *why));
    assert_eq!(conflicts.collect::<Vec<_>>(), [("192.0.2.7", "two", "one", Conflict::Handshake)]);
}

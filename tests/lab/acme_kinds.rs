//! Every key type and names in other scripts are issued, against Pebble.

use crate::lab;

use certd::cert::{DnsName, KeyType, NameSet};
use lab::bench::Bench;

#[test]
fn every_key_type_is_issued() {
    issued(&[KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048, KeyType::Rsa3072]);
}

/// By itself, since to find such a key takes seconds.
#[test]
fn the_largest_key_is_issued() {
    issued(&[KeyType::Rsa4096]);
}

fn issued(key_types: &[KeyType]) {
    let mut bench = Bench::start();
    for key_type in key_types {
        bench.task.key_type = *key_type;
        let issued = bench.issue().expect("Pebble takes every key type");
        assert_eq!(issued.leaf.key_type, Some(*key_type));
        bench.context.store.pair(bench.name(), &issued.generation).expect("it was kept as a pair");
    }
    assert_eq!(bench.lab.pebble.issued(), key_types.len());
}

#[test]
fn names_in_other_scripts_are_ordered_and_proven_as_dns_writes_them() {
    let mut bench = Bench::start();
    let names = ["上海.example.test", "*.bücher.example.test"].map(|name| DnsName::parse(name).unwrap());
    bench.task.names = names.into_iter().collect::<NameSet>();
    let issued = bench.issue().unwrap();
    let held: Vec<&str> = issued.leaf.names.iter().map(DnsName::as_str).collect();
    assert_eq!(held, ["*.xn--bcher-kva.example.test", "xn--fhqz97e.example.test"]);
    bench.assert_clean();
}

#[test]
fn many_names_are_proven_side_by_side_in_one_order() {
    let mut bench = Bench::start();
    bench.task.names = (0..24).map(|n| DnsName::parse(&format!("n{n}.example.test")).unwrap()).collect::<NameSet>();
    let issued = bench.issue().unwrap();
    assert_eq!(issued.leaf.names.len(), 24);
    assert_eq!((bench.count("authorization"), bench.count("challenge"), bench.count("new-order")), (24, 24, 1));
    assert!(bench.count("nonce") <= 8, "nonces are used again: {}", bench.count("nonce"));
    bench.assert_clean();
}

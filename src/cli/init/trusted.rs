//! What the process that writes takes over from the one that asks, which is not root and talks to everybody: nodes, names,
//! and what follows from them. Whatever says which of this machine's files root reads, or whom it trusts, stays as the
//! options or the file before have it.

use toml::{Table, Value};

/// Of a node; its files on this machine, its jumps and its checks are no answers.
const OF_A_NODE: [&str; 6] = ["name", "address", "host_key", "ssh", "install", "certificate"];
const OF_A_LOGIN: [&str; 2] = ["user", "port"];
const OF_AN_INSTALL: [&str; 6] = ["fullchain", "key", "combined", "server", "test", "reload"];
const OF_A_CERTIFICATE: [&str; 6] = ["domains", "name", "key_type", "nodes", "install", "probe"];

/// A first configuration. `options`: what these alone come to. `imported`: the CA, its external account and the zone may
/// come from another client; `eab_file` is where the account's key is written.
pub(super) fn first_is_of(options: &str, text: &str, imported: bool, eab_file: &str) -> bool {
    let (Some(mut before), Some(mut after)) = (table(options), table(text)) else { return false };
    let of_options = section(&before, "install");
    let added = section(&after, "install");
    let well = sections(&after, "node").iter().all(is_node)
        && sections(&after, "certificate").iter().all(is_certificate)
        && added.iter().all(|(key, value)| OF_AN_INSTALL.contains(&key.as_str()) || of_options.get(key) == Some(value))
        && !imported_elsewhere(&after, eab_file);
    for (section, key) in [("acme", "contact"), ("acme", "directory"), ("acme", "eab"), ("dns", "zone_id")] {
        if imported || key == "contact" {
            for table in [&mut before, &mut after] {
                table.get_mut(section).and_then(Value::as_table_mut).and_then(|table| table.remove(key));
            }
        }
    }
    for key in ["node", "certificate", "install"] {
        before.remove(key);
        after.remove(key);
    }
    well && before == after
}

/// An addition.
pub(super) fn added_to(before: &str, after: &str) -> bool {
    let (Some(mut before), Some(mut after)) = (table(before), table(after)) else { return false };
    let (nodes, all) = (sections(&before, "node"), sections(&after, "node"));
    let nodes_well = all.get(..nodes.len()) == Some(&nodes[..]) && all[nodes.len()..].iter().all(is_node);
    let others = |table: &Table| {
        let mut certificates = sections(table, "certificate");
        for key in ["domains", "nodes"] {
            certificates.iter_mut().filter_map(Value::as_table_mut).for_each(|one| _ = one.remove(key));
        }
        certificates
    };
    let certificates_well = others(&before) == others(&after);
    for key in ["node", "certificate"] {
        before.remove(key);
        after.remove(key);
    }
    nodes_well && certificates_well && before == after
}

fn table(text: &str) -> Option<Table> {
    text.trim_start_matches('\u{feff}').parse().ok()
}

fn sections(table: &Table, key: &str) -> Vec<Value> {
    table.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn section(table: &Table, key: &str) -> Table {
    table.get(key).and_then(Value::as_table).cloned().unwrap_or_default()
}

fn has_only(value: &Value, keys: &[&str]) -> bool {
    value.as_table().is_some_and(|table| table.keys().all(|key| keys.contains(&key.as_str())))
}

fn is_node(node: &Value) -> bool {
    let of_certificates = node.get("certificate").and_then(Value::as_table).into_iter().flat_map(Table::values);
    has_only(node, &OF_A_NODE)
        && node.get("ssh").is_none_or(|ssh| has_only(ssh, &OF_A_LOGIN))
        && node.get("install").is_none_or(|install| has_only(install, &OF_AN_INSTALL))
        && of_certificates.into_iter().all(|own| {
            has_only(own, &["install"]) && own.get("install").is_none_or(|install| has_only(install, &OF_AN_INSTALL))
        })
}

fn is_certificate(certificate: &Value) -> bool {
    has_only(certificate, &OF_A_CERTIFICATE)
        && certificate.get("probe").is_none_or(|probe| has_only(probe, &["sni"]))
        && certificate.get("install").is_none_or(|install| has_only(install, &OF_AN_INSTALL))
}

fn imported_elsewhere(text: &Table, eab_file: &str) -> bool {
    let file = text.get("acme").and_then(|acme| acme.get("eab")).and_then(|eab| eab.get("hmac_file"));
    file.is_some_and(|file| file.as_str() != Some(eab_file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "state_dir = \"/s\"\n[acme]\ndirectory = \"letsencrypt\"\n[dns]\nprovider = \"cloudflare\"\n\
                           token_file = \"/t\"\n[ssh]\nidentity_files = [\"/i\"]\n";
    const NODE: &str = "[[node]]\nname = \"a\"\naddress = \"192.0.2.1\"\nssh = { user = \"u\", port = 22 }\n\
                        install = { server = \"nginx\" }\n";
    const CERTIFICATE: &str = "[[certificate]]\ndomains = [\"a.example.com\"]\nnodes = [\"*\"]\n";

    #[test]
    fn a_first_text_may_hold_answers_and_no_other_files_than_the_options_have() {
        let whole = format!("{OPTIONS}[install]\nkey = \"/k\"\n{CERTIFICATE}{NODE}");
        let of = |text: &str, imported| first_is_of(OPTIONS, text, imported, "/eab");
        let contact = whole.replace("[dns]", "contact = [\"o@example.com\"]\n[dns]");
        assert!(of(&whole, false) && of(&contact, false));
        let eab =
            |file: &str| whole.replace("[dns]", &format!("eab = {{ kid = \"k\", hmac_file = \"{file}\" }}\n[dns]"));
        assert!(of(&eab("/eab"), true) && !of(&eab("/eab"), false) && !of(&eab("/etc/shadow"), true));
        for (from, to) in [
            ("\"/s\"", "\"/etc\""),
            ("\"/t\"", "\"/etc/shadow\""),
            ("\"/i\"", "\"/root/.ssh/id\""),
            ("[ssh]", "[network]\nca_file = \"/x\"\n[ssh]"),
            ("[ssh]", "[dns.other]\nprovider = \"exec\"\ncommand = [\"/x\"]\n[ssh]"),
            ("port = 22", "identity_files = [\"/etc/shadow\"]"),
            ("address =", "probe = { }\naddress ="),
            ("\"letsencrypt\"", "\"letsencrypt\"\nca_file = \"/x\""),
            ("key = \"/k\"", "pkcs12 = { path = \"/p\", password_file = \"/etc/shadow\" }"),
        ] {
            assert!(whole.contains(from) && !of(&whole.replace(from, to), true), "{to}");
        }
    }

    #[test]
    fn an_addition_adds_nodes_and_names_alone() {
        let before = format!("{OPTIONS}{CERTIFICATE}{NODE}");
        let more = NODE.replace("\"a\"", "\"b\"");
        let after = format!("{before}{more}").replace("[\"a.example.com\"]", "[\"a.example.com\", \"b.example.com\"]");
        assert!(added_to(&before, &before) && added_to(&before, &after));
        for (from, to) in [("\"/t\"", "\"/x\""), ("\"nginx\"", "\"caddy\""), ("domains", "profile = \"x\"\ndomains")] {
            assert!(!added_to(&before, &after.replacen(from, to, 1)), "{to}");
        }
        assert!(!added_to(&before, &format!("{before}{}", more.replace("port", "known_hosts"))));
        assert!(!added_to(&after, &before), "nothing is taken away");
    }
}

//! `caddy adapt`: the configuration as JSON. Files of certificates have tags, and the policies of a server choose by tag.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Files, MOST_BYTES, MOST_SITES, Room, Site};

pub(super) fn sites(output: &str) -> Vec<Site> {
    let Ok(whole) = serde_json::from_str::<Value>(output) else { return Vec::new() };
    let servers = whole.pointer("/apps/http/servers").and_then(Value::as_object);
    let policies = servers
        .into_iter()
        .flat_map(|servers| servers.values())
        .flat_map(|server| list(server, "/tls_connection_policies"));
    let mut by_tag: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for policy in policies {
        for tag in texts(policy, "/certificate_selection/any_tag") {
            by_tag.entry(tag).or_default().push(policy);
        }
    }
    let (mut sites, mut room) = (Vec::new(), Room(MOST_BYTES));
    for file in list(&whole, "/apps/tls/certificates/load_files").take(MOST_SITES) {
        let [fullchain, key] = ["certificate", "key"].map(|name| file.get(name).and_then(Value::as_str));
        let Some((fullchain, key)) = fullchain.zip(key) else { continue };
        let mut names = Vec::new();
        for policy in texts(file, "/tags").filter_map(|tag| by_tag.get(tag)).flatten() {
            names.extend(room.texts(texts(policy, "/match/sni")));
            if !room.take(0) {
                return sites;
            }
        }
        sites.push(Site { names, is_default: false, files: room.files([Files::pair(fullchain, key)]) });
    }
    sites
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn texts<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a str> {
    list(value, pointer).filter_map(Value::as_str)
}

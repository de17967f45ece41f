//! `caddy adapt`: the configuration as JSON. Files of certificates have tags, and the policies of a server choose by tag.

use serde_json::Value;

use super::{Files, MOST_SITES, Site};

pub(super) fn sites(output: &str) -> Vec<Site> {
    let Ok(whole) = serde_json::from_str::<Value>(output) else { return Vec::new() };
    let servers = whole.pointer("/apps/http/servers").and_then(Value::as_object);
    let policies = servers
        .into_iter()
        .flat_map(|servers| servers.values())
        .flat_map(|server| list(server, "/tls_connection_policies"));
    let policies: Vec<&Value> = policies.collect();
    let files = list(&whole, "/apps/tls/certificates/load_files").take(MOST_SITES);
    let site = |file: &Value| {
        let [fullchain, key] = ["certificate", "key"].map(|name| file.get(name).and_then(Value::as_str));
        let tags: Vec<&str> = texts(file, "/tags").collect();
        let chosen = |policy: &&&Value| {
            let mut of_policy = texts(policy, "/certificate_selection/any_tag");
            of_policy.any(|tag| tags.contains(&tag))
        };
        let names = policies.iter().filter(chosen).flat_map(|policy| texts(policy, "/match/sni"));
        let files = vec![Files::Pair(fullchain?.to_owned(), key?.to_owned())];
        Some(Site { names: names.map(str::to_ascii_lowercase).collect(), is_default: false, files })
    };
    files.filter_map(site).collect()
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn texts<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a str> {
    list(value, pointer).filter_map(Value::as_str)
}

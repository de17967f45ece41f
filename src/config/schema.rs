//! The written form as a JSON Schema, by which editors complete keys and mark mistakes. It is closed: a key that is not in
//! it is a mistake. `tests/it/schema.rs` holds its keys and defaults against the parser, which knows more: what several
//! keys say together, and what a text has to look like.

mod failover;
mod handshakes;
mod health;
mod install;

use serde_json::{Map, Value, json};

use super::TsigAlgorithm;
use super::certificate::KEY_TYPES;
use super::defaults::{
    CERTIFICATES_PER_WEEK, CHECK_EVERY, CLOUDFLARE_API, DOH, IDENTITY_FILE, KEY_TYPE, KNOWN_CAS, KNOWN_HOSTS,
    LONGEST_PROGRAM_TIMEOUT, LONGEST_UPDATE_TTL, MOST_CERTIFICATES_PER_WEEK, MOST_NAMES, MOST_SESSIONS,
    PROGRAM_TIMEOUT, SCHEDULE, SEEN_TIMEOUT, SESSIONS, SSH_PORT, SSH_USER, STATE_DIR, STOP_AFTER_PERCENT, UPDATE_TTL,
};
use super::provider::PROVIDERS;
use crate::cert::KeyType;

use failover::failover;
use handshakes::{probe, watch};
use health::health;
use install::install;

/// Its name, its values, what is assumed when it is left out ([`NONE`]: nothing, or no single value), what it is for.
type Key = (&'static str, Value, Value, &'static str);

const NONE: Value = Value::Null;

/// Draft 7, which every editor understands.
pub fn json_schema() -> Value {
    let mut schema = section(
        "The configuration of certd",
        &["acme", "dns", "certificate"],
        [
            ("state_dir", path(), json!(STATE_DIR), "Folder of accounts, certificates and journals; mode 0700"),
            ("sessions", number(1, MOST_SESSIONS), json!(SESSIONS), "SSH sessions at once"),
            ("acme", acme(), NONE, "The CA, and the account there"),
            ("dns", dns(), NONE, "The DNS provider, and who is asked whether a record is there"),
            ("network", network(), NONE, "The way to the CA, the DNS API and DoH"),
            ("run", run(), NONE, "When `certd run`, the service, works"),
            ("rollout", rollout(), NONE, "How a change goes through the fleet"),
            ("ssh", ssh(), NONE, "Login of every node; a node may say otherwise"),
            ("probe", probe(core::convert::identity), NONE, "Handshakes with every node; a node may say otherwise"),
            ("install", install(), NONE, "Paths and commands of every node; nodes and certificates may say otherwise"),
            (
                "health",
                health(),
                NONE,
                "Requests that each node has to answer; certificates and nodes may say otherwise",
            ),
            ("failover", failover(), NONE, "What `certd run` does in DNS when a node fails"),
            ("certificate", list(certificate()), NONE, "Certificates, and their nodes"),
            ("node", list(node()), NONE, "Nodes that get certificates"),
            ("watch", list(watch()), NONE, "Endpoints that others keep, which are looked at and never changed"),
        ],
    );
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "certd.toml".into();
    schema
}

fn acme() -> Value {
    let mut acme = ca();
    acme["properties"]["fallback"] = list(ca());
    acme["properties"]["fallback"]["description"] =
        "CAs that are asked, in this order, when the first is of no use".into();
    acme
}

fn ca() -> Value {
    let url = json!({ "type": "string", "pattern": "^https://" });
    let directory = any_of([words(&KNOWN_CAS.map(|ca| ca.name)), url]);
    let binding = section(
        "External account binding",
        &["kid", "hmac_file"],
        [
            ("kid", text(), NONE, "Key identifier from the CA's console"),
            ("hmac_file", path(), NONE, "File with the CA's HMAC key (base64url)"),
        ],
    );
    let per_week = number(1, MOST_CERTIFICATES_PER_WEEK);
    section(
        "A CA",
        &["directory"],
        [
            ("directory", directory, NONE, "A known CA, or the https:// URL of an ACME directory"),
            ("contact", texts(), NONE, "Mail addresses of the account"),
            ("profile", text(), NONE, "Profile of certificates that name none; the CA's own choice when left out"),
            ("eab", binding, NONE, "External account binding, where the CA wants one"),
            ("ca_file", path(), NONE, "PEM root of the CA's own API; the system's when left out"),
            ("issuer_root_file", path(), NONE, "PEM root of issued chains; the system's when left out"),
            ("preferred_chain", text(), NONE, "Root (common name) to lead to, where the CA offers several chains"),
            ("challenge", words(&["dns-01", "dns-persist-01"]), json!("dns-01"), "How control of a name is proven"),
            (
                "certificates_per_week",
                per_week,
                json!(CERTIFICATES_PER_WEEK),
                "Certificates of the same names that the CA allows in seven days",
            ),
        ],
    )
}

fn dns() -> Value {
    let seen = format!("{}m", SEEN_TIMEOUT.as_secs() / 60);
    let mut dns = dns_provider(
        "The DNS provider, and who is asked whether a record is there",
        [
            ("resolvers", texts(), NONE, "Recursive resolvers, as \"1.1.1.1:53\"; the system's when left out"),
            ("nameservers", texts(), NONE, "Asked instead of a zone's own servers, for split DNS"),
            ("inventory_resolvers", texts(), NONE, "Public resolvers to compare with a name's own servers"),
            ("doh", texts(), json!(DOH), "DNS over HTTPS, asked where port 53 is blocked; [] for nobody"),
            (
                "silent_servers",
                words(&["pass-over", "wait"]),
                json!("pass-over"),
                "A name server that never answers, when all others show the record",
            ),
            ("timeout", text(), json!(seen), "For a record to be seen on every name server, \"30s\" to \"15m\""),
        ],
        &["provider"],
    );
    let zones = json!({ "type": "array", "items": text(), "minItems": 1 });
    // Under any name that is no key.
    dns["additionalProperties"] = dns_provider(
        "Another provider, for some zones",
        [("zones", zones, NONE, "Zones whose records it makes; the longest that holds a name decides")],
        &["provider", "zones"],
    );
    dns
}

/// A provider's keys, and more.
fn dns_provider<const N: usize>(about: &str, more: [Key; N], required: &[&str]) -> Value {
    // In capitals and with a dot at the end, too.
    let algorithm = any_of([words(&TsigAlgorithm::ALL.map(TsigAlgorithm::as_str)), text()]);
    let (ttl, timeout) = (number(1, LONGEST_UPDATE_TTL), number(1, LONGEST_PROGRAM_TIMEOUT));
    let mut provider = section(
        about,
        required,
        [
            ("provider", words(&PROVIDERS.map(|(name, _)| name)), NONE, "Who writes TXT records"),
            ("token_file", path(), NONE, "cloudflare: file with the API token"),
            ("zone_id", text(), NONE, "cloudflare: the zone's ID; found by name when left out"),
            ("api_base", text(), json!(CLOUDFLARE_API), "cloudflare: URL of the API"),
            ("server", text(), NONE, "rfc2136: the zone's primary name server, with a port or without"),
            ("key_file", path(), NONE, "rfc2136: what tsig-keygen wrote, or the secret alone"),
            ("key_name", text(), NONE, "rfc2136: the key's name, where the file has the secret alone"),
            ("algorithm", algorithm, NONE, "rfc2136: where the file has the secret alone"),
            ("zone", text(), NONE, "rfc2136: the zone as the server has it; what DNS shows when left out"),
            ("ttl", ttl, json!(UPDATE_TTL), "rfc2136: of the records, in seconds"),
            ("command", command(), NONE, "exec: absolute path of a program, and first arguments"),
            ("command_timeout", timeout, json!(PROGRAM_TIMEOUT), "exec: for one call, in seconds"),
            ("addresses", flag(), json!(false), "exec: the program reads and changes address records, for failover"),
        ]
        .into_iter()
        .chain(more),
    );
    // Each provider has keys of its own, and those of another are mistakes.
    let own = PROVIDERS.map(|(name, keys)| {
        let needed: &[&str] = match name {
            "cloudflare" => &["token_file"],
            "rfc2136" => &["server", "key_file"],
            _ => &["command"],
        };
        let others = PROVIDERS.iter().flat_map(|(_, keys)| *keys).filter(|key| !keys.contains(key));
        let others: Map<String, Value> = others.map(|key| ((*key).to_owned(), false.into())).collect();
        json!({
            "if": { "properties": { "provider": { "const": name } }, "required": ["provider"] },
            "then": { "properties": others, "required": needed },
        })
    });
    provider["allOf"] = json!(own);
    provider
}

fn network() -> Value {
    section(
        "The way to the CA, the DNS API and DoH; SSH and probes take none",
        &[],
        [
            ("proxy", text(), NONE, "http://, https:// or socks5h://; else HTTPS_PROXY or ALL_PROXY"),
            ("ca_file", path(), NONE, "PEM root to trust beside the system's"),
        ],
    )
}

fn run() -> Value {
    section(
        "When `certd run`, the service, works",
        &[],
        [
            ("schedule", text(), json!(SCHEDULE), "Passes, as crontab writes them, in UTC; or @hourly, @daily, …"),
            ("check_every", text(), json!(format!("{CHECK_EVERY:#}")), "Between handshakes, \"1s\" to \"24h\""),
        ],
    )
}

fn rollout() -> Value {
    let count = json!({ "type": "integer", "minimum": 0 });
    let stop_after = any_of([text(), count]);
    section(
        "How a change goes through the fleet",
        &[],
        [
            (
                "stop_after",
                stop_after,
                json!(format!("{STOP_AFTER_PERCENT}%")),
                "More nodes than this that refuse a certificate end the rollout: a number, or a share as \"10%\"",
            ),
            ("window", one_or_more(text()), json!("always"), "When nodes may be changed, in UTC: \"Sat 02:00-06:00\""),
        ],
    )
}

fn ssh() -> Value {
    let jump = section(
        "A host on the way",
        &["address"],
        [
            ("address", text(), NONE, "IP address or name"),
            ("user", text(), NONE, "The node's when left out"),
            ("port", port(), json!(SSH_PORT), "Port of SSH"),
            ("identity_files", paths(), NONE, "The node's when left out"),
            ("host_key", one_or_more(text()), NONE, "Public host key; known_hosts is asked when left out"),
        ],
    );
    let hop = any_of([text(), jump]);
    let agent = any_of([json!({ "type": "boolean" }), path()]);
    section(
        "How to log in",
        &[],
        [
            ("user", text(), json!(SSH_USER), "Login name"),
            ("port", port(), json!(SSH_PORT), "Port of SSH"),
            ("identity_files", paths(), json!([IDENTITY_FILE]), "Private keys, tried in this order"),
            ("passphrase_file", path(), NONE, "Passphrase of the keys that are encrypted"),
            ("agent", agent, json!(false), "true: the SSH agent of SSH_AUTH_SOCK; a path: its socket"),
            ("known_hosts", one_or_more(path()), json!(KNOWN_HOSTS), "For hosts without a `host_key`"),
            ("jump", one_or_more(hop), NONE, "Hosts on the way, at most two, the nearest first: user@host:port"),
        ],
    )
}

fn certificate() -> Value {
    let sni = json!({ "type": "array", "items": text(), "minItems": 1 });
    let probe = section("Handshakes", &[], [("sni", sni, NONE, "Names to ask for; the first that is no wildcard")]);
    let keys = json!({ "type": "object", "additionalProperties": one_or_more(text()) });
    let discover = section(
        "Nodes that DNS names",
        &["discover"],
        [
            ("discover", text(), NONE, "Its A and AAAA records are the nodes"),
            ("families", words(&["both", "ipv4", "ipv6"]), json!("both"), "Records that count"),
            ("host_keys", keys, NONE, "Public host keys by IP address"),
        ],
    );
    let selectors = json!({ "type": "array", "items": text(), "minItems": 1 });
    let nodes = any_of([selectors, discover]);
    let domains = json!({ "type": "array", "items": text(), "minItems": 1, "maxItems": MOST_NAMES });
    let one = words(&KEY_TYPES.map(KeyType::as_str));
    let key_type = any_of([one.clone(), json!({ "type": "array", "items": one, "minItems": 1, "maxItems": 2 })]);
    section(
        "A certificate",
        &["domains", "nodes"],
        [
            ("domains", domains, NONE, "Its DNS names; wildcards as \"*.example.com\""),
            ("name", text(), NONE, "Its name and its folder's; the first domain that is no wildcard when left out"),
            ("key_type", key_type, json!(KEY_TYPE.as_str()), "Kind of its key; or an ECDSA and an RSA one"),
            ("profile", text(), NONE, "Profile of the CA; that of [acme] when left out"),
            ("reuse_key", flag(), json!(false), "A renewal keeps the key"),
            ("nodes", nodes, NONE, "Names of nodes, \"tag:…\", or \"*\" for all; or { discover = \"…\" }"),
            ("canary", one_or_more(text()), NONE, "Nodes of which the first that lacks it is changed first"),
            ("inventory", flag(), json!(true), "Compare the addresses of its names with its nodes"),
            ("install", inherited(install()), NONE, "Of this certificate on every node"),
            ("probe", probe, NONE, "Names that handshakes ask for"),
            ("health", inherited(health()), NONE, "Requests that its nodes have to answer"),
            ("failover", failover::mode(), NONE, "For its names; that of [failover] when left out"),
        ],
    )
}

fn node() -> Value {
    let own = section(
        "On this node",
        &[],
        [
            ("install", inherited(install()), NONE, "Of this certificate here"),
            ("probe", probe(inherited), NONE, "Where this certificate is proven here"),
        ],
    );
    let own = json!({ "type": "object", "additionalProperties": own });
    section(
        "A node",
        &["name", "address"],
        [
            ("name", text(), NONE, "Any words, in any script"),
            (
                "address",
                one_or_more(text()),
                NONE,
                "Its own address or addresses: SSH goes to the first, probes to all",
            ),
            ("host_key", one_or_more(text()), NONE, "Public host key; several while one is changed"),
            ("ssh", inherited(ssh()), NONE, "Login of this node"),
            ("probe", probe(inherited), NONE, "Handshakes with this node, at one port or several"),
            ("install", inherited(install()), NONE, "Paths and commands of this node"),
            ("tags", texts(), NONE, "Words by which certificates select nodes: \"tag:…\""),
            ("paused_until", text(), NONE, "Shown and not counted until then: \"2026-12-01\", or an instant"),
            ("paused_reason", text(), NONE, "Shown beside it"),
            ("window", one_or_more(text()), NONE, "When it may be changed, in UTC: \"Sat 02:00-06:00\", or \"always\""),
            ("health", inherited(health()), NONE, "Requests that this node has to answer"),
            ("certificate", own, NONE, "Of one certificate on this node, by the certificate's name"),
        ],
    )
}

fn section(about: &str, required: &[&str], keys: impl IntoIterator<Item = Key>) -> Value {
    let properties = keys.into_iter().map(|(name, mut values, default, about)| {
        values["description"] = about.into();
        if !default.is_null() {
            values["default"] = default;
        }
        (name.to_owned(), values)
    });
    let properties: Map<String, Value> = properties.collect();
    json!({
        "type": "object",
        "description": about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// A layer above another: a key that is left out is that of the layer below, and no default.
fn inherited(mut layer: Value) -> Value {
    for key in layer["properties"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        key.as_object_mut().map(|key| key.remove("default"));
    }
    layer
}

fn text() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn path() -> Value {
    json!({ "type": "string", "pattern": "^/" })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn number(least: u32, most: impl Into<Value>) -> Value {
    let most: Value = most.into();
    json!({ "type": "integer", "minimum": least, "maximum": most })
}

fn port() -> Value {
    number(1, u16::MAX)
}

fn words(words: &[&str]) -> Value {
    json!({ "enum": words })
}

fn texts() -> Value {
    list(text())
}

fn paths() -> Value {
    list(path())
}

fn command() -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn one_or_more(one: Value) -> Value {
    any_of([one.clone(), list(one)])
}

fn any_of<const N: usize>(forms: [Value; N]) -> Value {
    json!({ "anyOf": forms.as_slice() })
}

//! Handshakes, with nodes and with watched endpoints.

use serde_json::{Value, json};

use super::{NONE, any_of, flag, list, one_or_more, path, port, section, text, words};
use crate::config::StartTls;
use crate::config::defaults::{PROBE_PORT, SERVED_WITHIN, WATCH_PORT};

/// One table, or a list of them; `layer`: above another.
pub(super) fn probe(layer: fn(Value) -> Value) -> Value {
    let within = format!("{}s", SERVED_WITHIN.as_secs());
    let port = section(
        "Handshakes with one port of a node",
        &[],
        [
            ("port", port(), json!(PROBE_PORT), "Port of TLS; with `starttls`, that protocol's own when left out"),
            ("starttls", starttls(), json!("none"), "The protocol that begins in plain text and leads to TLS"),
            ("via", words(&["direct", "ssh"]), json!("direct"), "ssh: from the node itself, to its 127.0.0.1"),
            (
                "proxy_protocol",
                words(&["none", "v1", "v2"]),
                json!("none"),
                "PROXY protocol header that the server expects before TLS",
            ),
            ("quic", flag(), NONE, "Over QUIC (HTTP/3) too, at the same port of UDP; left out: where a node offers it"),
            (
                "served_within",
                text(),
                json!(within),
                "After a reload, for the new certificate to be served: \"1s\" to \"5m\"",
            ),
        ],
    );
    let mut each = list(port.clone());
    each["minItems"] = 1.into();
    any_of([layer(port), each])
}

pub(super) fn watch() -> Value {
    section(
        "An endpoint that others keep",
        &["address"],
        [
            ("name", text(), NONE, "The first address when left out"),
            ("address", one_or_more(text()), NONE, "IP addresses or names"),
            ("port", port(), json!(WATCH_PORT), "Port of TLS; with `starttls`, that protocol's own when left out"),
            ("starttls", starttls(), json!("none"), "The protocol that begins in plain text and leads to TLS"),
            ("sni", text(), NONE, "Name to ask for; an address that is a name is asked for itself"),
            ("ca_file", path(), NONE, "PEM roots of a private CA, trusted beside the system's"),
        ],
    )
}

fn starttls() -> Value {
    let protocols = StartTls::ALL.map(|(word, ..)| word);
    words(&[&["none"], protocols.as_slice()].concat())
}

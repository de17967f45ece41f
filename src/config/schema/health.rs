//! The keys of `[health]`.

use serde_json::{Value, json};

use super::{NONE, any_of, flag, list, number, path, port, section, text, words};
use crate::config::defaults::{
    HEALTH_FALL, HEALTH_INTERVAL, HEALTH_PATH, HEALTH_RISE, HEALTH_STATUS, HEALTH_TIMEOUT, MOST_HEALTH_ANSWERS,
};

pub(super) fn health() -> Value {
    let seconds = |span: core::time::Duration| json!(format!("{}s", span.as_secs()));
    let (status, answers) = (number(200, 599), number(1, MOST_HEALTH_ANSWERS));
    let status = any_of([status.clone(), list(status)]);
    section(
        "HTTPS requests to each node's own address, with the service's name",
        &[],
        [
            ("enabled", flag(), json!(true), "false: none"),
            ("path", json!({ "type": "string", "pattern": "^/" }), json!(HEALTH_PATH), "What is asked for"),
            ("status", status, json!(HEALTH_STATUS), "Status codes of good answers"),
            ("body", text(), NONE, "A text that the body has to hold within its first 64 KiB"),
            ("headers_file", path(), NONE, "File with further header fields, a line each; mode 0600"),
            ("http", words(&["any", "1.1", "2"]), json!("any"), "What is offered; any: the server chooses"),
            ("port", port(), NONE, "The node's first TLS port when left out"),
            ("interval", text(), seconds(HEALTH_INTERVAL), "Between requests of `certd run`, \"1s\" to \"3600s\""),
            ("timeout", text(), seconds(HEALTH_TIMEOUT), "For a request and its answer, \"1s\" to \"60s\""),
            ("rise", answers.clone(), json!(HEALTH_RISE), "Good answers in a row that make a node healthy again"),
            ("fall", answers, json!(HEALTH_FALL), "Bad answers in a row that end that"),
        ],
    )
}

//! The keys of `[failover]`.

use serde_json::{Value, json};

use super::{NONE, number, one_or_more, section, text, words};
use crate::config::FailoverMode;
use crate::config::defaults::{FAILOVER_AFTER, FAILOVER_INTERVAL, FAILOVER_RESTORE_AFTER, MOST_RECORDS};

pub(super) fn mode() -> Value {
    words(&FailoverMode::WORDS.map(|(word, _)| word))
}

pub(super) fn failover() -> Value {
    let minutes = |span: jiff::SignedDuration| json!(format!("{span:#}"));
    section(
        "What `certd run` does in DNS when a node fails its health checks",
        &[],
        [
            ("mode", mode(), json!("off"), "advise: say what would be done; act: withdraw and bring back records"),
            ("after", text(), minutes(FAILOVER_AFTER), "How long a node has to fail, \"1s\" to \"24h\""),
            ("restore_after", text(), minutes(FAILOVER_RESTORE_AFTER), "How long it has to be well to come back"),
            ("min_records", number(1, MOST_RECORDS), NONE, "Addresses that stay; more than half when left out"),
            ("interval", text(), minutes(FAILOVER_INTERVAL), "From one change of a name to the next"),
            ("witness", one_or_more(text()), NONE, "host:port of no node, of which one has to take connections"),
        ],
    )
}

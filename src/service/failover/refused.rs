//! Certificates that visitors refuse, as the service's looks and passes see them: since when, which no single look knows.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::model::Over;
use crate::mutex::lock;
use crate::plan::members::{Refused, RefusedAt};
use crate::report::{Report, ServedReport, Verdict};

/// What the service's looks have found that visitors refuse.
pub(crate) type SharedRefused = Arc<Mutex<Refused>>;

/// Takes in what a look or a pass has found. `None`: the clock is in doubt, and no date says anything.
pub(crate) fn note_refused(refused: &SharedRefused, report: Option<&Report>, now: Timestamp) {
    let mut all = lock(refused);
    let before = core::mem::take(&mut *all);
    for certificate in report.iter().flat_map(|report| &report.certificates) {
        for node in &certificate.nodes {
            let is_refused = |verdict: &Verdict| {
                matches!(
                    verdict,
                    Verdict::Expired | Verdict::NotYetValid | Verdict::WrongName | Verdict::Untrusted { .. }
                )
            };
            // What visitors of the name meet first: TLS from the first byte, over TCP.
            let first = |served: &&ServedReport| served.over == Over::Tcp && served.starttls.is_none();
            for served in node.served.iter().filter(first).filter(|served| is_refused(&served.verdict)) {
                let Some(address) = served.address else { continue };
                let key = (certificate.name.clone(), node.node.clone(), address.ip(), served.sni.clone());
                let since = before.get(&key).map_or(now, |seen| seen.since);
                all.insert(key, RefusedAt { since, last: now });
            }
        }
    }
}

//! Downloads the chains that the CA offers for one certificate (RFC 8555 section 7.4.2); `cert::choose` decides.
//!
//! An alternate that cannot be downloaded is left out: an order never fails for a chain that it can do without.

use crate::acme::{Download, Order};
use crate::execute::issue::check::ChainCriteria;

/// The PEMs, the CA's default first. Alternates are fetched only when the default does not meet the criteria.
pub(crate) async fn fetch(
    order: &Order,
    download: Download,
    criteria: &ChainCriteria<'_>,
    say: impl Fn(String),
) -> Vec<String> {
    let mut pems = vec![download.pem];
    if criteria.is_met_by(&pems[0]) {
        return pems;
    }
    for url in &download.alternates {
        match order.alternate(url).await {
            Ok(pem) => pems.push(pem),
            Err(error) => say(format!("another chain of the CA's is left out: {error}")),
        }
    }
    pems
}

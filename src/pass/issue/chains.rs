//! Which of the chains that the CA offers for one certificate is kept: a sound one first, then the one that leads to the
//! root that the configuration prefers, then one that outlives its leaf, then the CA's own first choice.
//!
//! Failure means: the CA's first choice, as if there were no other. An order never fails for a chain that it could do
//! without.

use core::cmp::Reverse;

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::acme::{Download, Order};
use crate::cert::{Chain, NameSet, Pair, PrivateKey, Roots, caveats, lint};
use crate::report::escape;

/// Characters of a root's name that are shown.
const SHOWN: usize = 100;

/// What a chain is judged by.
pub(super) struct Wish<'a> {
    /// Common name of the root.
    pub(super) preferred: Option<&'a str>,
    pub(super) key: &'a PrivateKey,
    pub(super) names: &'a NameSet,
    pub(super) roots: &'a Roots,
    pub(super) now: Timestamp,
}

/// A chain, judged.
struct Candidate {
    pem: String,
    /// Common name of whoever issued its last certificate.
    root: Option<String>,
    sound: bool,
    /// Whether an issuer ends before the leaf.
    caveat: bool,
}

/// Fetches the CA's other chains when its first one leaves something to wish for, and gives the PEM of the best.
pub(super) async fn pick(order: &Order, download: Download, wish: &Wish<'_>, say: impl Fn(String)) -> String {
    let Download { pem, alternates } = download;
    let mut candidates = vec![wish.judge(pem)];
    if wish.is_met_by(&candidates[0]) || alternates.is_empty() {
        told(&candidates, 0, wish, &say);
        return candidates.remove(0).pem;
    }
    for url in &alternates {
        match order.alternate(url).await {
            Ok(pem) => candidates.push(wish.judge(pem)),
            Err(error) => say(format!("another chain of the CA's is left out: {error}")),
        }
    }
    let best = best(&candidates, wish.preferred);
    told(&candidates, best, wish, &say);
    candidates.swap_remove(best).pem
}

fn told(candidates: &[Candidate], best: usize, wish: &Wish<'_>, say: impl Fn(String)) {
    let root = |candidate: &Candidate| escape(candidate.root.as_deref().unwrap_or("no root's name"), SHOWN);
    if let Some(preferred) = wish.preferred.filter(|preferred| candidates[best].root.as_deref() != Some(preferred)) {
        let offered: Vec<String> = candidates.iter().map(root).collect();
        say(format!("no sound chain leads to {preferred:?} (on offer: {}); one is taken without", offered.join(", ")));
    }
    if best > 0 {
        say(format!("the CA's chain that leads to {} is taken", root(&candidates[best])));
    }
}

fn best(candidates: &[Candidate], preferred: Option<&str>) -> usize {
    let worth = |(at, candidate): &(usize, &Candidate)| {
        let leads = preferred.is_some() && candidate.root.as_deref() == preferred;
        (candidate.sound, leads, !candidate.caveat, Reverse(*at))
    };
    candidates.iter().enumerate().max_by_key(worth).map_or(0, |(at, _)| at)
}

impl Wish<'_> {
    fn judge(&self, pem: String) -> Candidate {
        let Ok(chain) = Chain::parse(&pem) else { return Candidate { pem, root: None, sound: false, caveat: false } };
        let (root, caveat) = (root(&chain), !caveats(&chain).is_empty());
        let sound = Pair::new(chain, self.key.clone())
            .is_ok_and(|pair| lint(&pair, self.names, self.roots, self.now).is_empty());
        Candidate { pem, root, sound, caveat }
    }

    fn is_met_by(&self, candidate: &Candidate) -> bool {
        let leads = self.preferred.is_none_or(|preferred| candidate.root.as_deref() == Some(preferred));
        candidate.sound && !candidate.caveat && leads
    }
}

fn root(chain: &Chain) -> Option<String> {
    let (_, last) = X509Certificate::from_der(chain.ders().last()?).ok()?;
    let name = last.issuer().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(root: &str, sound: bool, caveat: bool) -> Candidate {
        Candidate { pem: String::new(), root: Some(root.to_owned()), sound, caveat }
    }

    #[test]
    fn a21_a_sound_chain_comes_before_the_preferred_root_and_that_before_the_cas_own_choice() {
        let best = |candidates: &[Candidate], preferred| best(candidates, preferred);
        let offered = [candidate("A", true, true), candidate("B", true, false), candidate("C", false, false)];
        assert_eq!(best(&offered, None), 1, "it outlives its leaf");
        assert_eq!(best(&offered, Some("A")), 0, "preferred");
        assert_eq!(best(&offered, Some("C")), 1, "preferred and not sound");
        assert_eq!(best(&offered[..1], Some("X")), 0);
        assert_eq!(best(&[candidate("A", true, false), candidate("B", true, false)], None), 0, "the CA's own choice");
    }
}

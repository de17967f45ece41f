//! Our own checks of what the CA sent, before any of it is kept.

use jiff::Timestamp;

use crate::cert::{
    Chain, Malformed, NameSet, Pair, PrivateKey, Roots, Unpaired, caveats, choose, early, findings, lint,
};
use crate::plan::order::Verdict;

pub(super) struct Checked {
    pub(super) verdict: Verdict,
    /// The chain that was chosen, with its key.
    pub(super) pair: Option<Pair>,
    pub(super) caveats: Vec<String>,
    /// All that was looked at, a line each.
    pub(super) found: Vec<String>,
}

/// `pems`: the chains that the CA offers for one certificate, its default first; never empty. `preferred_root`: the
/// name of the root that the operator would rather have.
pub(super) fn check(
    pems: &[&str],
    preferred_root: Option<&str>,
    key: &PrivateKey,
    names: &NameSet,
    roots: &Roots,
    now: Timestamp,
) -> Checked {
    let rejected = |flaw: String| Checked {
        found: vec![format!("chain: wrong: {flaw}")],
        verdict: Verdict::Flawed(vec![flaw]),
        pair: None,
        caveats: Vec::new(),
    };
    let (chains, broken): (Vec<_>, Vec<_>) = pems.iter().map(|pem| Chain::parse(pem)).partition(Result::is_ok);
    let mut chains: Vec<Chain> = chains.into_iter().flatten().collect();
    let Some(choice) = choose(&chains, preferred_root, roots, now) else {
        let why = broken.into_iter().find_map(|parsed: Result<Chain, Malformed>| parsed.err());
        return rejected(why.map_or_else(|| "the CA sent no chain".to_owned(), |malformed| malformed.to_string()));
    };
    let mut found = Vec::new();
    if pems.len() > 1 {
        found.push(format!("choice: {choice}"));
    }
    let pair = match Pair::new(chains.swap_remove(choice.index), key.clone()) {
        Ok(pair) => pair,
        // Our certificate is there, and not where it belongs: another order would bring no better.
        Err(error @ Unpaired::Order { .. }) => return rejected(error.to_string()),
        Err(error @ Unpaired::OtherKey { .. }) => {
            return Checked { verdict: Verdict::ForeignKey, ..rejected(error.to_string()) };
        }
    };
    found.extend(findings(&pair, names, roots, now).iter().map(ToString::to_string));
    let flaws = lint(&pair, names, roots, now);
    let texts = || flaws.iter().map(ToString::to_string).collect();
    let verdict = match early(&flaws) {
        _ if flaws.is_empty() => Verdict::Good,
        Some(until) => Verdict::Early { until, flaws: texts() },
        None => Verdict::Flawed(texts()),
    };
    let caveats = if verdict == Verdict::Good { caveats(pair.chain()) } else { Vec::new() };
    Checked { verdict, caveats: caveats.iter().map(ToString::to_string).collect(), pair: Some(pair), found }
}

//! Our own checks of the CA's chain, before any of it is stored.

use jiff::Timestamp;

use crate::cert::{
    Chain, Choice, Malformed, NameSet, Pair, PrivateKey, Roots, Unpaired, caveats, choose, early, findings, lint,
};
use crate::plan::order::Verdict;

pub(crate) struct ChainCriteria<'a> {
    /// Name of the configured preferred root.
    pub(crate) preferred_root: Option<&'a str>,
    pub(crate) key: &'a PrivateKey,
    pub(crate) names: &'a NameSet,
    pub(crate) roots: &'a Roots,
    pub(crate) now: Timestamp,
}

pub(crate) struct Checked {
    pub(crate) verdict: Verdict,
    /// Which chain was chosen, and why.
    pub(crate) choice: Option<Choice>,
    /// The chain that was chosen, with its key.
    pub(crate) pair: Option<Pair>,
    pub(crate) caveats: Vec<String>,
    /// All results of the checks, a line each.
    pub(crate) found: Vec<String>,
}

impl ChainCriteria<'_> {
    /// Whether no alternate chain could be better.
    pub(crate) fn is_met_by(&self, pem: &String) -> bool {
        let Checked { verdict, choice, caveats, .. } = self.check(core::slice::from_ref(pem));
        let sound = matches!(verdict, Verdict::Good | Verdict::Early { .. });
        sound && caveats.is_empty() && choice.is_some_and(|choice| !choice.is_second_best())
    }

    /// `pems`: the chains that the CA offers for one certificate, its default first; never empty.
    pub(crate) fn check(&self, pems: &[String]) -> Checked {
        let rejected = |flaw: String| Checked {
            found: vec![format!("chain: wrong: {flaw}")],
            verdict: Verdict::Flawed(vec![flaw]),
            choice: None,
            pair: None,
            caveats: Vec::new(),
        };
        let Self { preferred_root, key, names, roots, now } = *self;
        let (chains, broken): (Vec<_>, Vec<_>) = pems.iter().map(|pem| Chain::parse(pem)).partition(Result::is_ok);
        let mut chains: Vec<Chain> = chains.into_iter().flatten().collect();
        let Some(choice) = choose(&chains, preferred_root, roots, now) else {
            let why = broken.into_iter().find_map(|parsed: Result<Chain, Malformed>| parsed.err());
            return rejected(why.map_or_else(|| "the CA sent no chain".to_owned(), |malformed| malformed.to_string()));
        };
        let pair = match Pair::new(chains.swap_remove(choice.index), key.clone()) {
            Ok(pair) => pair,
            // Our certificate is in the chain, in the wrong place: another order would not help.
            Err(error @ Unpaired::Order { .. }) => return rejected(error.to_string()),
            Err(error @ Unpaired::OtherKey { .. }) => {
                return Checked { verdict: Verdict::ForeignKey, ..rejected(error.to_string()) };
            }
        };
        let found = findings(&pair, names, roots, now).iter().map(ToString::to_string).collect();
        let flaws = lint(&pair, names, roots, now);
        let texts = || flaws.iter().map(ToString::to_string).collect();
        let verdict = match early(&flaws) {
            _ if flaws.is_empty() => Verdict::Good,
            Some(until) => Verdict::Early { until, flaws: texts() },
            None => Verdict::Flawed(texts()),
        };
        let caveats = if verdict == Verdict::Good { caveats(pair.chain(), roots, now) } else { Vec::new() };
        let caveats = caveats.iter().map(ToString::to_string).collect();
        Checked { verdict, choice: Some(choice), caveats, pair: Some(pair), found }
    }
}

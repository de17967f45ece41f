//! Which chain, when the CA offers several for one certificate (RFC 8555 section 7.4.2).
//!
//! The shortest is never preferred for being short: a long chain is long so that older clients find a root they know.

use core::fmt;

use jiff::Timestamp;

use super::lint::{chain_flaws, root_of};
use super::{Chain, Flaw, Roots, caveats, leaf};

/// The chain to take, and why it is that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Among the candidates.
    pub index: usize,
    pub why: Why,
    /// The roots that the candidates lead to, by name.
    pub offered: Vec<String>,
    /// Candidates that no client should get, with what is wrong with each.
    pub unsound: Vec<(usize, Vec<Flaw>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It leads to the root that was asked for.
    Preferred { root: String },
    /// It is what the CA sends by itself. `absent`: the root that was asked for and that no sound chain leads to.
    Default { absent: Option<String> },
    /// The chains before it are unsound, or have these caveats; `absent` as above.
    Better { than: Vec<Flaw>, absent: Option<String> },
    /// No chain is sound. The CA's default is named, with its flaws.
    NoneSound,
}

/// Takes, of the chains without a flaw, the first that leads to `preferred_root`; else the first without a caveat; else
/// the first. A preference that nobody can meet is no reason to go without a certificate.
///
/// A root is named by its common name, as in certbot's `--preferred-chain`: that of the issuer of the chain's last
/// certificate, or of the trusted root that the chain leads to, in letters of either case.
///
/// `candidates`: of one certificate, the CA's default first. `None`: there are none.
pub fn choose(candidates: &[Chain], preferred_root: Option<&str>, roots: &Roots, now: Timestamp) -> Option<Choice> {
    let default = candidates.first()?;
    let offered = candidates.iter().filter_map(topmost).collect();
    let flaws = |chain: &Chain| {
        let other = (chain.leaf.fingerprint != default.leaf.fingerprint).then_some(Flaw::OtherLeaf);
        other.into_iter().chain(chain_flaws(chain, roots, now)).collect::<Vec<_>>()
    };
    let (sound, unsound): (Vec<_>, Vec<_>) =
        candidates.iter().map(flaws).enumerate().partition(|(_, flaws)| flaws.is_empty());
    let sound: Vec<usize> = sound.into_iter().map(|(index, _)| index).collect();
    // The first of the least: among equals the CA's own order stands.
    let has_caveats = |index: &usize| !caveats(&candidates[*index], roots, now).is_empty();
    let first = |indexes: &mut dyn Iterator<Item = usize>| indexes.min_by_key(has_caveats);
    let Some(best) = first(&mut sound.iter().copied()) else {
        return Some(Choice { index: 0, why: Why::NoneSound, offered, unsound });
    };
    if let Some(root) = preferred_root {
        let leads = |index: &usize| leads_to(&candidates[*index], root, roots, now);
        if let Some(index) = first(&mut sound.iter().copied().filter(leads)) {
            return Some(Choice { index, why: Why::Preferred { root: root.to_owned() }, offered, unsound });
        }
    }
    let absent = preferred_root.map(str::to_owned);
    let why = if best == 0 {
        Why::Default { absent }
    } else {
        Why::Better { than: than(&candidates[..best], &unsound, |chain| caveats(chain, roots, now)), absent }
    };
    Some(Choice { index: best, why, offered, unsound })
}

/// What is wrong with those that stood before the chosen one.
fn than(before: &[Chain], unsound: &[(usize, Vec<Flaw>)], caveats: impl Fn(&Chain) -> Vec<Flaw>) -> Vec<Flaw> {
    let flaws = unsound.iter().filter(|(index, _)| *index < before.len()).flat_map(|(_, flaws)| flaws.clone());
    let weak = (0..before.len()).filter(|index| unsound.iter().all(|(other, _)| other != index));
    flaws.chain(weak.flat_map(|index| caveats(&before[index]))).collect()
}

fn leads_to(chain: &Chain, root: &str, roots: &Roots, now: Timestamp) -> bool {
    let trusted = root_of(chain, roots, now).map(|(name, _)| name);
    topmost(chain).into_iter().chain(trusted).any(|name| name.eq_ignore_ascii_case(root))
}

/// The issuer of the last certificate.
fn topmost(chain: &Chain) -> Option<String> {
    chain.certificates().last().map(|last| leaf::shown(last.issuer()))
}

impl Choice {
    /// The root that was asked for is not the one that it leads to.
    pub fn is_second_best(&self) -> bool {
        matches!(&self.why, Why::Default { absent: Some(_) } | Why::Better { absent: Some(_), .. })
    }
}

/// For progress output.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |flaws: &[Flaw]| flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let number = self.index + 1;
        let absent = match &self.why {
            Why::Preferred { root } => return write!(f, "chain {number}, which leads to {root}"),
            Why::NoneSound => return f.write_str("no chain is sound"),
            Why::Default { absent } => {
                write!(f, "chain {number}, the CA's default")?;
                absent
            }
            Why::Better { than, absent } => {
                write!(f, "chain {number}, since of those before it: {}", list(than))?;
                absent
            }
        };
        let offered = self.offered.join(", ");
        absent.iter().try_for_each(|root| write!(f, " (no sound one leads to {root}; on offer: {offered})"))
    }
}

#[cfg(test)]
mod tests;

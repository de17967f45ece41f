//! What was looked at in a new pair, and what was found: the checks of [`lint`], each with its result.

use core::fmt;

use jiff::Timestamp;

use super::lint::root_of;
use super::{Flaw, NameSet, Pair, Roots, caveats, lint};

/// One thing that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Names,
    Key,
    LeafFirst,
    Links,
    Path,
    Dates,
    Lifetime,
    /// Worth knowing, and no reason to refuse the chain.
    Caveats,
}

impl Check {
    const ALL: [Self; 8] =
        [Self::Names, Self::Key, Self::LeafFirst, Self::Links, Self::Path, Self::Dates, Self::Lifetime, Self::Caveats];

    fn of(flaw: &Flaw) -> Self {
        match flaw {
            Flaw::NamesMissing(_) | Flaw::NamesExtra(_) => Self::Names,
            Flaw::OtherLeaf => Self::Key,
            Flaw::NotLeafFirst { .. } => Self::LeafFirst,
            Flaw::LinkBroken { .. } => Self::Links,
            Flaw::NotYetValid { .. } | Flaw::Expired { .. } => Self::Dates,
            Flaw::IssuerEndsFirst { .. } | Flaw::RootEndsFirst { .. } => Self::Caveats,
            Flaw::Lifetime(_) => Self::Lifetime,
            Flaw::IntermediateMissing { .. } | Flaw::NoPath(_) => Self::Path,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::Key => "key",
            Self::LeafFirst => "leaf first",
            Self::Links => "links",
            Self::Path => "path",
            Self::Dates => "dates",
            Self::Lifetime => "lifetime",
            Self::Caveats => "caveats",
        }
    }
}

/// `names: newapi.example.com, as asked for`, or `path: wrong: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateCheck {
    pub check: Check,
    /// Empty: well.
    pub flaws: Vec<Flaw>,
    /// What was seen, when it is well.
    pub seen: String,
}

impl fmt::Display for CertificateCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.flaws.is_empty() {
            return write!(f, "{}: {}", self.check.word(), self.seen);
        }
        let flaws: Vec<String> = self.flaws.iter().map(ToString::to_string).collect();
        let wrong = if self.check == Check::Caveats { "" } else { "wrong: " };
        write!(f, "{}: {wrong}{}", self.check.word(), flaws.join("; "))
    }
}

/// One for each check, in their order.
pub fn findings(pair: &Pair, names: &NameSet, roots: &Roots, now: Timestamp) -> Vec<CertificateCheck> {
    let mut flaws = lint(pair, names, roots, now);
    flaws.extend(caveats(pair.chain(), roots, now));
    let each = Check::ALL.into_iter().map(|check| {
        let flaws: Vec<Flaw> = flaws.iter().filter(|flaw| Check::of(flaw) == check).cloned().collect();
        CertificateCheck { check, flaws, seen: seen(check, pair, names, roots, now) }
    });
    each.collect()
}

fn seen(check: Check, pair: &Pair, names: &NameSet, roots: &Roots, now: Timestamp) -> String {
    let chain = pair.chain();
    let leaf = &chain.leaf;
    match check {
        Check::Names => format!("{names}, as asked for"),
        Check::Key => {
            let kind = leaf.key_type.map_or("of another type than asked for", super::KeyType::as_str);
            format!("{kind}, the one that was made for it")
        }
        Check::LeafFirst => format!("yes, serial {}", leaf.serial),
        Check::Links => match chain.ders().len() {
            1 => "the leaf stands alone".to_owned(),
            count => format!("{count} certificates, each signed by the next"),
        },
        Check::Path => {
            let root = root_of(chain, roots, now).map_or_else(|| "a trusted root".to_owned(), |(root, _)| root);
            format!("leads to {root}, by {}", leaf.issuer)
        }
        Check::Dates => format!("{} to {}, and every issuer is valid now", leaf.not_before, leaf.not_after),
        Check::Lifetime => {
            let hours = leaf.not_after.duration_since(leaf.not_before).as_hours();
            if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours.saturating_add(1) / 24) }
        }
        Check::Caveats => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::DnsName;
    use crate::cert::fixture::{Authority, NOW, days};

    #[test]
    fn every_check_of_a_good_pair_is_told_with_what_was_seen() {
        let root = Authority::root("ISRG Root X1");
        let pair = root.intermediate("E7").issue(&["a.example.com"], days(0, 90));
        let names = [DnsName::parse("a.example.com").unwrap()].into_iter().collect();
        let lines: Vec<String> = findings(&pair, &names, &root.roots(), NOW).iter().map(ToString::to_string).collect();
        let serial = &pair.chain().leaf.serial;
        assert_eq!(
            lines,
            [
                "names: a.example.com, as asked for",
                "key: ecdsa-p256, the one that was made for it",
                &format!("leaf first: yes, serial {serial}"),
                "links: 2 certificates, each signed by the next",
                "path: leads to ISRG Root X1, by E7",
                "dates: 2026-11-23T00:00:00Z to 2027-02-21T00:00:00Z, and every issuer is valid now",
                "lifetime: 90 days",
                "caveats: none",
            ]
        );
    }

    #[test]
    fn what_is_wrong_stands_at_its_check_and_a_caveat_is_not_called_wrong() {
        let root = Authority::root("R");
        let pair = root.intermediate_valid("I", days(-90, 30)).issue(&["b.example.com"], days(0, 90));
        let names = [DnsName::parse("a.example.com").unwrap()].into_iter().collect();
        let other = Authority::root("Other");
        let lines: Vec<String> = findings(&pair, &names, &other.roots(), NOW).iter().map(ToString::to_string).collect();
        assert_eq!(lines[0], "names: wrong: it lacks a.example.com; it also holds b.example.com, not asked for");
        assert_eq!(lines[4], "path: wrong: no path leads to a trusted root: the issuer R is not known");
        assert_eq!(lines[7], "caveats: certificate 2 of the chain (I) ends at 2026-12-23T00:00:00Z, before the leaf");
    }
}

//! Whether a certificate that passed its checks is worth storing, given what is stored and served.

use jiff::{SignedDuration, Timestamp};

use super::Verdict;
use crate::cert::Leaf;
use crate::model::Intent;
use crate::plan::Issue;
use crate::plan::renewal::lifetime;

/// CAs backdate a certificate by an hour (Boulder) or to midnight; an order that is later by this surely outlives.
const DATED_BACK: SignedDuration = SignedDuration::from_hours(24);

impl Verdict {
    /// The verdict on a leaf that passed its own checks.
    pub fn of(leaf: &Leaf, issue: &Issue, intent: &Intent) -> Self {
        // Compared with both instants: a CA that backdates further than another does not make its own certificate look
        // old.
        let younger = |since: &Timestamp| *since > intent.begun_at && *since > leaf.not_before;
        if let Some(since) = issue.youngest.filter(younger) {
            return Self::Superseded { since };
        }
        match issue.outlives.filter(|than| leaf.not_after < *than) {
            Some(than) => {
                let anew_from = than.saturating_sub(lifetime(leaf) - DATED_BACK).unwrap_or(than);
                Self::EndsEarlier { than, anew_from }
            }
            None => Self::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::{Authority, NOW, days};
    use crate::cert::{CertName, KeyType};
    use crate::plan::RenewalReason;

    fn day(count: i64) -> Timestamp {
        NOW + SignedDuration::from_hours(24 * count)
    }

    /// The verdict on a leaf that is valid from one day to another, of an intent begun on a third.
    fn verdict(from: i64, to: i64, begun: i64, youngest: Option<i64>, outlives: Option<i64>) -> Verdict {
        let pair = Authority::root("R").intermediate("I").issue(&["a.example.com"], days(from, to));
        let leaf = &pair.chain().leaf;
        let ca = "ca".to_owned();
        let issue = Issue {
            certificate: CertName::parse("a.example.com").unwrap(),
            ca: ca.clone(),
            reason: RenewalReason::Nothing,
            names: leaf.names.clone(),
            key_type: KeyType::EcdsaP256,
            profile: None,
            keep_key: false,
            replaces: None,
            exempt: false,
            passed_over: Vec::new(),
            emergency: false,
            forced: false,
            outlives: outlives.map(day),
            youngest: youngest.map(day),
            seen: 0,
            above: None,
            then: Vec::new(),
        };
        let (names, key_type, begun_at) = (leaf.names.clone(), KeyType::EcdsaP256, day(begun));
        let (profile, replaces, order_url, key_of) = Default::default();
        Verdict::of(leaf, &issue, &Intent { names, key_type, profile, ca, replaces, begun_at, order_url, key_of })
    }

    #[test]
    fn p08_an_order_of_an_old_backup_is_not_kept_when_nodes_serve_something_younger() {
        assert_eq!(verdict(-40, 50, -40, Some(-10), None), Verdict::Superseded { since: day(-10) });
        assert_eq!(verdict(-40, 50, -40, Some(-40), None), Verdict::Good, "they serve this very one");
        assert_eq!(verdict(-1, 89, 0, Some(-60), None), Verdict::Good, "an ordinary renewal");
        assert_eq!(verdict(-2, 88, 0, Some(-1), None), Verdict::Good, "another CA dates back less");
        assert_eq!(verdict(-40, 50, -40, None, None), Verdict::Good);
    }

    #[test]
    fn a19_a_certificate_that_ends_before_the_stored_one_is_not_kept_when_only_age_speaks_for_it() {
        let ends_earlier = Verdict::EndsEarlier { than: day(30), anew_from: day(25) };
        assert_eq!(
            verdict(0, 6, 0, Some(-60), Some(30)),
            ends_earlier,
            "of six days, when five and the margin are left"
        );
        assert_eq!(verdict(0, 45, 0, Some(-60), Some(30)), Verdict::Good);
        assert_eq!(
            verdict(0, 6, 0, Some(-60), None),
            Verdict::Good,
            "forced, revoked, changed, or the CA asked for it"
        );
    }
}

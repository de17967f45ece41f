//! Whether CAA records let a CA issue (RFC 8659), to our account and by our method (RFC 8657).

use crate::config::Challenge;
use crate::model::{CaaRecord, CaaSet, Named};

/// Tags that CAs know besides `issue` and `issuewild`: RFC 8659 section 4.4, RFC 9495, CA/B Forum baseline requirements
/// appendix A. A critical record with any other tag forbids issuance.
const OTHER_TAGS: [&str; 5] = ["iodef", "issuemail", "issuevmc", "contactemail", "contactphone"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forbids {
    /// No record names this CA. `allowed`: the CAs that are named.
    Ca { allowed: Vec<String> },
    /// This CA is named for other accounts only.
    Account { accounts: Vec<String> },
    /// This CA is named for other validation methods only.
    Method { methods: Vec<String> },
    /// "A CA MUST NOT issue certificates … if the Relevant RRset … contains an unrecognized tag … with the critical flag".
    Critical { tag: String },
}

/// `None`: the CA may issue, or its identity or our account there is not known yet.
pub fn forbids(set: &CaaSet, wildcard: bool, ca: &Named, challenge: Challenge) -> Option<Forbids> {
    let unknown =
        |record: &&CaaRecord| record.critical && !is_issue(record) && !OTHER_TAGS.contains(&record.tag.as_str());
    if let Some(record) = set.records.iter().find(unknown) {
        return Some(Forbids::Critical { tag: record.tag.clone() });
    }
    let of = |tag: &str| -> Vec<IssueValue<'_>> {
        set.records.iter().filter(|record| record.tag == tag).map(|record| IssueValue::parse(&record.value)).collect()
    };
    // RFC 8659 section 4.3: issuewild "properties take precedence over each issue property" for a wildcard.
    let issuers = match of("issuewild") {
        wild if wildcard && !wild.is_empty() => wild,
        _ => of("issue"),
    };
    if issuers.is_empty() {
        return None;
    }
    let named: Vec<&IssueValue<'_>> = issuers.iter().filter(|issuer| !issuer.domain.is_empty()).collect();
    if !named.is_empty() && ca.identities.is_empty() {
        return None;
    }
    let ours = named.iter().filter(|issuer| ca.identities.iter().any(|it| it.eq_ignore_ascii_case(issuer.domain)));
    let ours: Vec<&&IssueValue<'_>> = ours.collect();
    if ours.is_empty() {
        let mut allowed: Vec<String> = named.iter().map(|issuer| issuer.domain.to_ascii_lowercase()).collect();
        allowed.sort();
        allowed.dedup();
        return Some(Forbids::Ca { allowed });
    }
    let method = match challenge {
        Challenge::Dns01 => "dns-01",
        Challenge::DnsPersist01 => "dns-persist-01",
    };
    let by_method: Vec<_> = ours.iter().filter(|issuer| issuer.takes_method(method)).collect();
    if by_method.is_empty() {
        let methods = ours.iter().filter_map(|issuer| issuer.parameter("validationmethods"));
        return Some(Forbids::Method { methods: methods.map(str::to_owned).collect() });
    }
    if by_method.iter().any(|issuer| issuer.takes_account(ca.account.as_deref())) {
        return None;
    }
    let accounts = by_method.iter().filter_map(|issuer| issuer.parameter("accounturi"));
    Some(Forbids::Account { accounts: accounts.map(str::to_owned).collect() })
}

fn is_issue(record: &CaaRecord) -> bool {
    matches!(record.tag.as_str(), "issue" | "issuewild")
}

/// RFC 8659 section 4.2: `letsencrypt.org; validationmethods=dns-01; accounturi=https://…`.
pub struct IssueValue<'a> {
    /// Empty: no CA may issue.
    pub domain: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    /// Each parameter is `tag=value` without white space, and occurs once.
    pub is_strict: bool,
}

impl<'a> IssueValue<'a> {
    pub fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let domain = parts.next().unwrap_or_default().trim_end_matches('.');
        let mut value = Self { domain, parameters: Vec::new(), is_strict: true };
        for part in parts {
            let parameter = part.split_once('=').map(|(tag, text)| (tag.trim(), text.trim()));
            value.is_strict &= parameter
                .is_some_and(|(tag, text)| !text.contains(char::is_whitespace) && value.parameter(tag).is_none());
            value.parameters.extend(parameter);
        }
        value
    }

    pub fn parameter(&self, tag: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(own, _)| own.eq_ignore_ascii_case(tag)).map(|(_, text)| *text)
    }

    fn takes_method(&self, method: &str) -> bool {
        let listed = |methods: &str| methods.split(',').any(|own| own.trim() == method);
        self.parameter("validationmethods").is_none_or(listed)
    }

    /// Without an account yet, its URI is unknown and counts as allowed.
    fn takes_account(&self, account: Option<&str>) -> bool {
        match (self.parameter("accounturi"), account) {
            (Some(uri), Some(account)) => uri == account,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(records: &[(&str, &str)]) -> CaaSet {
        let record = |(tag, value): &(&str, &str)| {
            let critical = tag.starts_with('!');
            CaaRecord { critical, tag: tag.trim_start_matches('!').to_owned(), value: (*value).to_owned() }
        };
        CaaSet { at: "example.com".to_owned(), records: records.iter().map(record).collect() }
    }

    fn letsencrypt() -> Named {
        let identities = [String::from("letsencrypt.org")].into();
        Named { identities, account: Some("https://ca.test/acct/1".to_owned()) }
    }

    fn asked(records: &[(&str, &str)], wildcard: bool) -> Option<Forbids> {
        forbids(&set(records), wildcard, &letsencrypt(), Challenge::Dns01)
    }

    #[test]
    fn a_ca_may_issue_where_it_is_named_and_where_nobody_is() {
        for records in [
            &[("issue", "letsencrypt.org")][..],
            &[("issue", "sectigo.com"), ("issue", "LetsEncrypt.org.")],
            &[("iodef", "mailto:a@example.com")],
            &[("!iodef", "mailto:a@example.com")],
            &[("issuewild", ";")],
            &[("!issue", " letsencrypt.org ; ")],
            &[("issue", "letsencrypt.org; validationmethods=http-01,dns-01")],
            &[("issue", "letsencrypt.org; accounturi=https://ca.test/acct/1")],
        ] {
            assert_eq!(asked(records, false), None, "{records:?}");
        }
    }

    #[test]
    fn a_ca_that_is_not_named_may_not_issue_and_one_that_nobody_knows_is_not_judged() {
        let other = &[("issue", "sectigo.com")];
        assert_eq!(asked(other, false), Some(Forbids::Ca { allowed: vec!["sectigo.com".to_owned()] }));
        assert_eq!(asked(&[("issue", ";")], false), Some(Forbids::Ca { allowed: Vec::new() }));
        assert_eq!(asked(&[("issue", "")], false), Some(Forbids::Ca { allowed: Vec::new() }));
        let nobody = Named::default();
        assert_eq!(forbids(&set(other), false, &nobody, Challenge::Dns01), None);
        let all = forbids(&set(&[("issue", ";")]), false, &nobody, Challenge::Dns01);
        assert_eq!(all, Some(Forbids::Ca { allowed: Vec::new() }), "whichever CA it is");
    }

    #[test]
    fn for_a_wildcard_issuewild_comes_first_and_issue_holds_without_it() {
        let both = &[("issue", "letsencrypt.org"), ("issuewild", ";")];
        assert_eq!(asked(both, false), None);
        assert_eq!(asked(both, true), Some(Forbids::Ca { allowed: Vec::new() }));
        assert_eq!(asked(&[("issue", ";"), ("issuewild", "letsencrypt.org")], true), None);
        assert!(asked(&[("issue", "sectigo.com")], true).is_some());
    }

    #[test]
    fn an_account_or_a_method_that_is_not_ours_forbids_and_an_unknown_account_is_not_judged() {
        let account = &[("issue", "letsencrypt.org; accounturi=https://ca.test/acct/2")];
        let accounts = vec!["https://ca.test/acct/2".to_owned()];
        assert_eq!(asked(account, false), Some(Forbids::Account { accounts }));
        let none_yet = Named { account: None, ..letsencrypt() };
        assert_eq!(forbids(&set(account), false, &none_yet, Challenge::Dns01), None);
        let method = &[("issue", "letsencrypt.org; validationmethods=http-01")];
        assert_eq!(asked(method, false), Some(Forbids::Method { methods: vec!["http-01".to_owned()] }));
        // One record names the account and the other the method: neither is enough.
        let split = &[account[0], method[0]];
        assert!(matches!(asked(split, false), Some(Forbids::Account { .. })));
    }

    #[test]
    fn a_critical_record_that_nobody_understands_forbids_everything() {
        let unknown = &[("issue", "letsencrypt.org"), ("!tbs", "x")];
        assert_eq!(asked(unknown, false), Some(Forbids::Critical { tag: "tbs".to_owned() }));
        assert_eq!(asked(&[("issue", "letsencrypt.org"), ("tbs", "x")], false), None);
    }
}

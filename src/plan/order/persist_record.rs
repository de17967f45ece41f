//! The permanent TXT record of dns-persist-01 (draft-ietf-acme-dns-persist): names the CA that may issue, and for which
//! account.
//!
//! Its syntax is that of CAA's `issue` (RFC 8659 section 4.2): `ca.example; accounturi=https://…; policy=wildcard`.

use jiff::Timestamp;

use super::PersistRecord;
use crate::cert::DnsName;
use crate::plan::caa::IssueValue;

impl PersistRecord {
    /// The record's name.
    pub fn record(&self) -> String {
        format!("_validation-persist.{}", self.name.base())
    }

    /// The value to publish. Any of the issuers will do; the first is taken.
    pub fn value(&self, account: &str) -> String {
        let issuer = self.issuers.first().map_or("ISSUER-OF-THE-CA", DnsName::as_str);
        let policy = if self.name.is_wildcard() { "; policy=wildcard" } else { "" };
        format!("{issuer}; accounturi={account}{policy}")
    }

    /// Whether this TXT record proves control. Without `issuers` (the CA has not been asked yet) any issuer will do. A
    /// value that a CA would reject, with a parameter twice or none after a semicolon, proves nothing.
    pub fn is_proven_by(&self, text: &str, account: &str, now: Timestamp) -> bool {
        let value = IssueValue::parse(text);
        let Some(issuer) = DnsName::parse(value.domain).ok().filter(|_| value.is_strict) else { return false };
        let in_time = value
            .parameter("persistuntil")
            .is_none_or(|until| until.parse().is_ok_and(|until| now.as_second() <= until));
        let wide = value.parameter("policy").is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard"));
        (self.issuers.is_empty() || self.issuers.contains(&issuer))
            && value.parameter("accounturi") == Some(account)
            && in_time
            && (wide || !self.name.is_wildcard())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "https://ca.example/acct/1";

    fn wanted(name: &str) -> PersistRecord {
        let issuers = ["ca.example", "other.example"].map(|name| DnsName::parse(name).unwrap());
        PersistRecord { name: DnsName::parse(name).unwrap(), issuers: issuers.into() }
    }

    fn proven(name: &str, text: &str) -> bool {
        wanted(name).is_proven_by(text, ACCOUNT, "2026-11-23T06:15:00Z".parse().unwrap())
    }

    #[test]
    fn the_value_to_publish_proves_the_name() {
        for name in ["example.com", "*.example.com"] {
            assert_eq!(wanted(name).record(), "_validation-persist.example.com");
            assert!(proven(name, &wanted(name).value(ACCOUNT)));
        }
        assert_eq!(wanted("*.example.com").value("u"), "ca.example; accounturi=u; policy=wildcard");
    }

    #[test]
    fn a_record_for_a_wildcard_is_good_for_the_name_itself_and_not_the_other_way_round() {
        let narrow = format!("ca.example;accounturi={ACCOUNT}");
        assert!(proven("example.com", &narrow) && !proven("*.example.com", &narrow));
        let wide = format!("Other.Example ; AccountURI={ACCOUNT} ; Policy=Wildcard;x=y");
        assert!(proven("example.com", &wide) && proven("*.example.com", &wide));
    }

    #[test]
    fn another_ca_another_account_a_day_gone_by_and_what_no_ca_would_read_prove_nothing() {
        for text in [
            "",
            "ca.example",
            "ca.example; accounturi=https://ca.example/acct/2",
            "evil.example; accounturi=https://ca.example/acct/1",
            "ca.example; accounturi=https://ca.example/acct/1; persistUntil=1700000000",
            "ca.example; accounturi=https://ca.example/acct/1; persistUntil=soon",
            "ca.example; accounturi=https://ca.example/acct/1;",
            "ca.example; accounturi=https://ca.example/acct/1; accounturi=https://ca.example/acct/1",
            "ca.example; accounturi=https://ca.example/acct/1 x",
        ] {
            assert!(!proven("example.com", text), "{text}");
        }
        assert!(proven("example.com", "ca.example; accounturi=https://ca.example/acct/1; persistUntil=2000000000"));
    }
}

//! Problem documents (RFC 7807, RFC 8555 section 6.7). Every text is escaped and shortened when it is read, so that it is
//! safe to show.

use core::fmt;

use serde::Deserialize;

use crate::text::escape;

/// The detail of Boulder's pause holds a link of some six hundred characters, which must stay whole.
const LONGEST_DETAIL: usize = 2_000;
const LONGEST_TYPE: usize = 100;
/// A certificate has at most a hundred names; a longer list would not be read.
const MOST_SUBPROBLEMS: usize = 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    pub type_uri: String,
    pub detail: String,
    /// The HTTP status; the document's own where it is part of an order or a challenge.
    pub status: Option<u16>,
    pub subproblems: Vec<Subproblem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subproblem {
    pub identifier: Option<String>,
    pub detail: String,
}

/// The error types that certd handles. RFC 8555 section 6.7, RFC 9773 section 7.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BadNonce,
    RateLimited,
    /// Boulder pauses a name that failed too often, until the operator follows a link.
    Paused,
    UserActionRequired,
    AccountDoesNotExist,
    /// `unauthorized` about the account itself: deactivated or revoked.
    AccountDead,
    AlreadyReplaced,
    AlreadyRevoked,
    Unauthorized,
    OrderNotReady,
    Caa,
    RejectedIdentifier,
    BindingRequired,
    InvalidProfile,
    ServerInternal,
    /// `dns`, `connection`, `incorrectResponse`: the CA did not find the record.
    NotFound,
    Other,
}

/// The JSON document, not escaped yet: convert it to a [`Problem`] before showing it.
#[derive(Deserialize)]
pub(super) struct Document {
    #[serde(rename = "type")]
    type_uri: Option<String>,
    detail: Option<String>,
    status: Option<u16>,
    #[serde(default)]
    subproblems: Vec<SubDocument>,
}

#[derive(Deserialize)]
struct SubDocument {
    detail: Option<String>,
    identifier: Option<DocumentIdentifier>,
}

#[derive(Deserialize)]
struct DocumentIdentifier {
    value: Option<String>,
}

impl Problem {
    /// `None`: the body is not a problem document.
    pub(super) fn parse(body: &[u8], status: u16) -> Option<Self> {
        let document: Document = serde_json::from_slice(body).ok()?;
        document.type_uri.as_ref().or(document.detail.as_ref())?;
        Some(Document { status: Some(status), ..document }.into())
    }

    /// A problem inside an order.
    pub(super) fn inner(problem: &instant_acme::Problem) -> Self {
        let subproblems = problem
            .subproblems
            .iter()
            .map(|sub| (sub.identifier.as_ref().map(|id| id.authorized(false).to_string()), sub.detail.clone()))
            .collect();
        Self::new(problem.r#type.clone(), problem.detail.clone(), problem.status, subproblems)
    }

    fn new(
        type_uri: Option<String>,
        detail: Option<String>,
        status: Option<u16>,
        subproblems: Vec<(Option<String>, Option<String>)>,
    ) -> Self {
        let type_uri = escape(&type_uri.unwrap_or_default(), LONGEST_TYPE);
        let detail = escape(&detail.unwrap_or_default(), LONGEST_DETAIL);
        let kind = Kind::of(&type_uri, &detail, status);
        let subproblems = subproblems
            .into_iter()
            .take(MOST_SUBPROBLEMS)
            .map(|(identifier, detail)| Subproblem {
                identifier: identifier.map(|text| escape(&text, LONGEST_TYPE)),
                detail: escape(&detail.unwrap_or_default(), LONGEST_DETAIL),
            })
            .collect();
        Self { kind, type_uri, detail, status, subproblems }
    }

    /// Whether it is about the external account, as an answer to a request for a bound account. RFC 8555 section 7.3.4:
    /// "If the MAC fails to verify, the CA ... MUST reject the request with an "unauthorized"": what a CA answers to a key
    /// that it does not know (any more) is open, and its words may tell.
    pub(super) fn may_be_of_binding(&self) -> bool {
        let detail = self.detail.to_ascii_lowercase();
        match self.kind {
            Kind::Unauthorized | Kind::AccountDead | Kind::AccountDoesNotExist | Kind::BindingRequired => true,
            Kind::Other => ["external", "eab", "hmac", "binding"].iter().any(|word| detail.contains(word)),
            _ => false,
        }
    }

    /// The type without its namespace.
    pub fn short_type(&self) -> &str {
        self.type_uri.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(&self.type_uri)
    }
}

/// A problem inside a challenge.
impl From<Document> for Problem {
    fn from(document: Document) -> Self {
        let subproblems = document
            .subproblems
            .into_iter()
            .map(|sub| (sub.identifier.and_then(|identifier| identifier.value), sub.detail))
            .collect();
        Self::new(document.type_uri, document.detail, document.status, subproblems)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.detail.as_str(), self.short_type()) {
            ("", short) => f.write_str(short)?,
            (detail, "") => f.write_str(detail)?,
            (detail, short) => write!(f, "{detail} ({short})")?,
        }
        for sub in &self.subproblems {
            match &sub.identifier {
                Some(identifier) => write!(f, "; {identifier}: {}", sub.detail)?,
                None => write!(f, "; {}", sub.detail)?,
            }
        }
        Ok(())
    }
}

impl Kind {
    fn of(type_uri: &str, detail: &str, status: Option<u16>) -> Self {
        let Some(short) = type_uri.strip_prefix("urn:ietf:params:acme:error:") else {
            return Self::Other;
        };
        match short {
            "badNonce" => Self::BadNonce,
            // Boulder has no type for a pause; only the link in its detail tells.
            "rateLimited" if detail.contains("unpause") => Self::Paused,
            "rateLimited" => Self::RateLimited,
            "userActionRequired" => Self::UserActionRequired,
            "accountDoesNotExist" => Self::AccountDoesNotExist,
            // RFC 8555 section 7.3.6: "If a server receives a POST or POST-as-GET from a deactivated account, it MUST
            // return an error response with status code 401 (Unauthorized)". Boulder answers 403, and only its detail tells.
            "unauthorized" if status == Some(401) || detail.contains("deactivated") || detail.contains("revoked") => {
                Self::AccountDead
            }
            "unauthorized" => Self::Unauthorized,
            "alreadyReplaced" => Self::AlreadyReplaced,
            "alreadyRevoked" => Self::AlreadyRevoked,
            "orderNotReady" => Self::OrderNotReady,
            "caa" => Self::Caa,
            "rejectedIdentifier" | "unsupportedIdentifier" => Self::RejectedIdentifier,
            "externalAccountRequired" => Self::BindingRequired,
            "invalidProfile" => Self::InvalidProfile,
            "serverInternal" => Self::ServerInternal,
            "dns" | "connection" | "incorrectResponse" => Self::NotFound,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_a_problem_names_its_subproblems() {
        let body = br#"{"type":"urn:ietf:params:acme:error:malformed","detail":"Some names were refused","subproblems":[
            {"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"not \u001b[2Jthis","identifier":{"type":"dns","value":"example.net"}}]}"#;
        let problem = Problem::parse(body, 400).unwrap();
        assert_eq!(problem.to_string(), "Some names were refused (malformed); example.net: not \\u{1b}[2Jthis");
    }

    #[test]
    fn a_problem_with_null_members_keeps_its_type_and_words() {
        let body = br#"{"type":"urn:ietf:params:acme:error:badNonce","detail":"stale","status":null,"instance":null,
            "subproblems":[{"type":null,"detail":"so","identifier":null},{"detail":null,"identifier":{"value":null}}]}"#;
        let problem = Problem::parse(&crate::http::without_nulls(body.to_vec()), 400).unwrap();
        assert_eq!((problem.kind, problem.to_string().as_str()), (Kind::BadNonce, "stale (badNonce); so; "));
        let body = br#"{"type":"urn:ietf:params:acme:error:badNonce","detail":"stale","subproblems":null}"#;
        assert!(Problem::parse(&crate::http::without_nulls(body.to_vec()), 400).is_some());
    }

    #[test]
    fn a_refused_binding_is_distinguished_from_a_failed_validation_and_a_dead_account() {
        let of_binding = |kind: &str, status: u16, detail: &str| {
            let body = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"{detail}"}}"#);
            Problem::parse(body.as_bytes(), status).unwrap().may_be_of_binding()
        };
        assert!(of_binding("unauthorized", 403, "the key of the external account is not known or has expired"));
        assert!(of_binding("unauthorized", 401, "no"));
        assert!(of_binding("malformed", 400, "Unknown EAB key id"));
        assert!(of_binding("externalAccountRequired", 403, "used already"));
        assert!(!of_binding("malformed", 400, "the contact is no address"));
        assert!(!of_binding("rateLimited", 429, "too many accounts"));
        assert!(!of_binding("serverInternal", 500, "the external account cannot be looked up now"));
    }

    #[test]
    fn a07_an_html_page_is_not_a_problem_document() {
        assert_eq!(Problem::parse(b"<html>502</html>", 502), None);
        assert_eq!(Problem::parse(b"{}", 502), None);
    }

    #[test]
    fn a33_a_paused_name_is_distinguished_from_a_rate_limit() {
        let body = br#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"Please visit https://portal.example/sfe/v1/unpause?jwt=x"}"#;
        assert_eq!(Problem::parse(body, 429).unwrap().kind, Kind::Paused);
    }

    #[test]
    fn a23_a_dead_account_is_distinguished_from_a_failed_validation() {
        let parse = |detail: &str| {
            let body = format!(r#"{{"type":"urn:ietf:params:acme:error:unauthorized","detail":"{detail}"}}"#);
            Problem::parse(body.as_bytes(), 403).unwrap().kind
        };
        assert_eq!(parse("Account is not valid, has status \\\"deactivated\\\""), Kind::AccountDead);
        assert_eq!(parse("Incorrect TXT record found"), Kind::Unauthorized);
    }
}

//! Turns errors of the protocols into findings.

use crate::acme::{AcmeError, Kind, Problem};
use crate::cert::DnsName;
use crate::config::provider_keys;
use crate::dns::DnsError;
use crate::model::{Advice, Code, Finding};
use crate::plan::order::{ErrorClass, GiveUp};

pub(crate) fn of_acme(object: impl ToString, error: &AcmeError) -> Finding {
    Finding::new(error.code(), object, error.to_string(), error.next(), error.advice())
}

pub(crate) fn of_dns(object: impl ToString, error: &DnsError) -> Finding {
    let next = match error.section() {
        // Keys of a provider are in its own section.
        Some(section) => provider_keys().fold(error.next().to_owned(), |next, key| {
            next.replace(&format!("`dns.{key}`"), &format!("`dns.{section}.{key}`"))
        }),
        None => error.next().to_owned(),
    };
    Finding::new(error.code(), object, error.to_string(), next, error.advice())
}

/// A task of certd panicked or was cancelled.
pub(crate) fn of_task(error: &tokio::task::JoinError) -> Finding {
    Finding::new(Code::Bug, "certd", error.to_string(), "report this", Advice::Bug)
}

/// The order is invalid: reports the CA's problem documents.
pub(crate) fn of_invalid_order(object: impl ToString, named: &[(DnsName, Problem)], own: Option<&Problem>) -> Finding {
    let mut words: Vec<String> = named.iter().map(|(name, problem)| format!("{name}: {problem}")).collect();
    if words.is_empty() {
        words.extend(own.map(Problem::to_string));
    }
    if words.is_empty() {
        words.push("the CA gives no reason".to_owned());
    }
    let problem = named.first().map(|(_, problem)| problem).or(own);
    let error = problem.map(|problem| AcmeError::Problem {
        url: String::new(),
        problem: Box::new(problem.clone()),
        retry_after: None,
        link: None,
    });
    Finding::new(
        error.as_ref().map_or(Code::AcmeOrderInvalid, AcmeError::code),
        named.first().map_or_else(|| object.to_string(), |(name, _)| name.to_string()),
        format!("{}: {}", GiveUp::Invalid, words.join("; ")),
        error.as_ref().map_or_else(|| "certd tries again by itself".to_owned(), AcmeError::next),
        error.as_ref().map_or(Advice::Retry { after_seconds: None }, AcmeError::advice),
    )
}

/// Why the order was given up, when no error of a step explains it.
pub(crate) fn of_give_up(object: impl ToString, why: &GiveUp) -> Finding {
    let again = Advice::Retry { after_seconds: None };
    let (code, next, advice) = match why {
        GiveUp::NoChallenge(_) => {
            (Code::AcmeNoChallenge, "use a CA that offers it, or set another `acme.challenge`", Advice::Person)
        }
        GiveUp::NotValidated | GiveUp::StillProcessing => (
            Code::AcmeSlow,
            "nothing: the next run resumes this order; another is made after a day, or now with --force",
            again,
        ),
        GiveUp::ForeignKey => {
            (Code::AcmeForeignKey, "check whether another certd uses this account for the same names", Advice::Person)
        }
        GiveUp::Rejected(_) => (
            Code::AcmeRejectedCertificate,
            "see rejected/ in the certificate's folder; certd fetches it again, and orders another after a day, or now with --force",
            again,
        ),
        GiveUp::Superseded { .. } => (Code::AcmeSuperseded, "nothing: certd drops this order and plans again", again),
        GiveUp::EndsEarlier { .. } => (
            Code::AcmeEndsEarlier,
            "nothing: the stored certificate stays until another would outlive it; `certd renew --force` takes the new one",
            again,
        ),
        GiveUp::LimitReached { .. } => (Code::LedgerFull, "nothing: certd orders as soon as there is room", again),
        GiveUp::Failed | GiveUp::Invalid | GiveUp::ReplacesRefused => {
            (Code::AcmeOrderInvalid, "certd tries again by itself", again)
        }
        GiveUp::OutOfOrder => (Code::Bug, "report this", Advice::Bug),
    };
    Finding::new(code, object, why.to_string(), next, advice)
}

/// How an order reacts to an error of the CA in one of its steps.
pub(crate) fn error_class(error: &AcmeError) -> ErrorClass {
    let after_ms = error.retry_after().map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    match error.kind() {
        Some(Kind::OrderNotReady) => ErrorClass::NotReady,
        // A rate limit without Retry-After: retrying at once would make it worse.
        _ if is_limit(error) && after_ms.is_none() => ErrorClass::Lasting,
        _ if matches!(error.status(), Some(404 | 410)) => ErrorClass::Missing,
        Some(Kind::RateLimited | Kind::ServerInternal) => ErrorClass::Passing { after_ms },
        Some(_) => ErrorClass::Lasting,
        None if matches!(error.advice(), Advice::Retry { .. }) => ErrorClass::Passing { after_ms },
        None => ErrorClass::Lasting,
    }
}

/// The CA's rate limit, or that of a proxy in front of it, which sends no problem document.
pub(crate) fn is_limit(error: &AcmeError) -> bool {
    error.kind() == Some(Kind::RateLimited) || matches!(error, AcmeError::Status { status: 429, .. })
}

/// Whether an order failed because of `replaces`: any refusal except those that the next order would meet as well.
pub(crate) fn refuses_replaces(error: &AcmeError) -> bool {
    match error {
        AcmeError::Unsupported { .. } => true,
        AcmeError::Problem { problem, .. } => match problem.kind {
            // Pebble 2.10 answers serverInternal to half of all identifiers: those whose serial's DER begins with 00.
            // If the CA is really broken, the next order fails too, without `replaces`.
            Kind::AlreadyReplaced | Kind::Unauthorized | Kind::ServerInternal => true,
            Kind::Other => problem.status.is_some_and(|status| (400..500).contains(&status) && status != 429),
            _ => false,
        },
        // RFC 9773 section 5: the server "MUST reflect that field in the response"; one that does not is refused by
        // the ACME crate.
        AcmeError::MalformedResponse { what, .. } => what.contains("replaces"),
        _ => false,
    }
}

/// The CA does not know the order, or not for this account. Only a problem document counts: an error page of a proxy
/// proves nothing about an order, whose certificate may be ready.
pub(crate) fn is_gone(error: &AcmeError) -> bool {
    let account =
        matches!(error.kind(), Some(Kind::AccountDead | Kind::AccountDoesNotExist | Kind::UserActionRequired));
    let elsewhere = matches!(error, AcmeError::UnexpectedHost { .. });
    let status = error.kind().and_then(|_| error.status());
    elsewhere || !account && status.is_some_and(|status| matches!(status, 403 | 404 | 410))
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn a04_a_429_that_is_no_problem_document_is_not_asked_again_at_once() {
        let answer = |status, seconds: Option<u64>| {
            let retry_after = seconds.map(Duration::from_secs);
            error_class(&AcmeError::Status { url: "https://ca.example/new-order".to_owned(), status, retry_after })
        };
        assert_eq!(answer(429, None), ErrorClass::Lasting);
        assert_eq!(answer(429, Some(7)), ErrorClass::Passing { after_ms: Some(7_000) });
        assert_eq!(answer(404, None), ErrorClass::Missing);
        assert_eq!(answer(502, None), ErrorClass::Passing { after_ms: None });
    }
}

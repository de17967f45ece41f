//! Changes of what nodes answer to health checks.

use core::fmt;
use std::collections::BTreeSet;

use crate::cert::CertName;
use crate::context::health::HealthChanges;
use crate::model::{Finding, Health, HealthAnswer, HealthPlace};
use crate::plan::health::Standing;
use crate::report::HealthVerdict;
use crate::report::health::{finding, of_backend, wanted};

#[derive(Clone, Debug)]
pub enum HealthEvent {
    /// A node fails, or it is no longer known whether it does.
    Bad {
        certificate: CertName,
        verdict: HealthVerdict,
        finding: Finding,
    },
    /// A node is well again.
    Well(HealthPlace),
    /// The backend answers no node.
    BackendBad(Finding),
    BackendWell {
        certificate: CertName,
    },
}

impl HealthEvent {
    /// What a person wants to hear of: neither the first bad answers nor the first good ones. `good`: the status codes of
    /// good answers.
    pub(crate) fn of(changes: HealthChanges, good: &BTreeSet<u16>) -> Vec<Self> {
        let mut events = Vec::new();
        let places: Vec<&Health> = changes.of_certificate.iter().collect();
        match changes.backend {
            (None, Some(since)) => {
                let certificate = places.first().map(|health| &health.place.certificate);
                let finding = certificate.map(|name| of_backend(name, &places, since));
                events.extend(finding.map(Self::BackendBad));
            }
            // Without one, each of them has something else to be said.
            (Some(_), None) if places.iter().any(|health| health.is_well()) => {
                let certificate = places.first().map(|health| health.place.certificate.clone());
                events.extend(certificate.map(|certificate| Self::BackendWell { certificate }));
            }
            _ => {}
        }
        for (health, before, now) in changes.places {
            let place = &health.place;
            let is_news = match (before, now) {
                (Some(Standing::Failing | Standing::Rising(_)), Standing::Failing) => false,
                (_, Standing::Failing) => true,
                // A look says it once, for all addresses.
                (_, Standing::Unknown) if matches!(health.answer, HealthAnswer::NoRoute { .. }) => false,
                (before, Standing::Unknown) => before != Some(Standing::Unknown),
                (Some(Standing::Failing | Standing::Rising(_) | Standing::Unknown), Standing::Well) => true,
                _ => false,
            };
            if !is_news {
                continue;
            }
            let verdict = HealthVerdict::of(now, &health.answer);
            events.push(match finding(&health, verdict, &wanted(good)) {
                Some(finding) => Self::Bad { certificate: place.certificate.clone(), verdict, finding },
                None => Self::Well(place.clone()),
            });
        }
        events
    }
}

impl HealthEvent {
    /// The node that it is about alone.
    pub(crate) fn node(&self) -> Option<&str> {
        match self {
            Self::Bad { finding, .. } => Some(&finding.object),
            Self::Well(place) => Some(place.node.as_str()),
            Self::BackendBad(_) | Self::BackendWell { .. } => None,
        }
    }
}

impl fmt::Display for HealthEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad { certificate, verdict, finding } => {
                let Finding { object, what, next, .. } = finding;
                write!(f, "{object}: health of {certificate} is {}: {what}\n  next: {next}", verdict.word())
            }
            Self::Well(HealthPlace { certificate, node, address }) => {
                let at = address.map(|address| format!(" ({address})")).unwrap_or_default();
                write!(f, "{node}{at}: health of {certificate} is ok")
            }
            Self::BackendBad(finding) => {
                write!(f, "health of {}: {}\n  next: {}", finding.object, finding.what, finding.next)
            }
            Self::BackendWell { certificate } => write!(f, "health of {certificate}: the backend answers again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::cert::{DnsName, NodeName};
    use crate::context::health::Healths;
    use crate::plan::health::{Answered, Thresholds};

    /// Each letter is the answer of the next node of two, in turn: `.` well, `x` none, `5` is 500, `2` is 502.
    fn lines(answers: &str) -> Vec<String> {
        let (healths, good) = (Healths::default(), [200, 401].into());
        let mut lines = Vec::new();
        for (number, letter) in (0..).zip(answers.chars().filter(|letter| !letter.is_whitespace())) {
            let http = "HTTP/2".to_owned();
            let status = |status| HealthAnswer::Status { status, http: http.clone(), location: None };
            let answer = match letter {
                '.' => HealthAnswer::Well { status: 200, http },
                '5' => status(500),
                '2' => status(502),
                _ => HealthAnswer::NoAnswer { why: "connection refused".to_owned() },
            };
            let node = NodeName::parse(if number % 2 == 0 { "one" } else { "two" }).unwrap();
            let place = HealthPlace { certificate: CertName::parse("api").unwrap(), node, address: None };
            let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(15 * number);
            let name = DnsName::parse("api.example.com").unwrap();
            let changes = healths.note(
                Answered { place, name, answer, took_ms: None, at },
                Thresholds { rise: 2, fall: 2, fresh_for: None },
            );
            let events = HealthEvent::of(changes, &good);
            lines.extend(events.iter().map(|event| event.to_string().lines().next().unwrap().to_owned()));
        }
        lines
    }

    #[test]
    fn a_node_that_falls_and_rises_is_two_lines_and_single_bad_answers_are_none() {
        assert_eq!(lines(".. .. x. .. .x .. 5. .."), [""; 0]);
        assert_eq!(
            lines(".. x. 5. x. .. x. .. .."),
            ["one: health of api is status: answers 500, and not 200 or 401", "one: health of api is ok"]
        );
        assert_eq!(
            lines("xx xx"),
            [
                "one: health of api is no-answer: connection refused",
                "two: health of api is no-answer: connection refused"
            ]
        );
    }

    #[test]
    fn a_backend_that_goes_and_comes_back_is_said_once_and_of_no_node() {
        let said = lines(".. 22 22 22 .. ..");
        assert_eq!(said.len(), 4, "{said:?}");
        assert!(said[0].starts_with("health of api: every node that answers says 502"), "{said:?}");
        assert_eq!(said[1], "health of api: the backend answers again");
        assert!(said[2..].iter().all(|line| line.ends_with("health of api is ok")), "{said:?}");
        // The second had not fallen yet when it came back.
        let said = lines(".. .2 22 .. .. ..");
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[1..], ["health of api: the backend answers again", "two: health of api is ok"]);
        // One odd answer is no word of the backend.
        assert_eq!(lines(".. 22 22 52 25 22").len(), 1);
        // One node alone has lost its way to the backend.
        assert_eq!(lines(".. 2. 2."), ["one: health of api is status: answers 502, and not 200 or 401"]);
    }
}

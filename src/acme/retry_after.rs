//! `Retry-After` (RFC 9110 section 10.2.3): seconds or a date. A date is measured against the `Date` of the same answer,
//! so that our clock has no part in it.

use core::time::Duration;

use ::http::HeaderMap;
use ::http::header::{DATE, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// The longest wait that Let's Encrypt's own limits ask for is 34 hours (one certificate back per exact name set).
pub(super) const LONGEST: Duration = Duration::from_hours(48);

/// How long to wait, at most [`LONGEST`]. `None`: the answer does not say, or not in a form that can be read.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let (until, sent) = (date(text)?, sent(headers)?);
    let wait = Duration::try_from(until.duration_since(sent)).unwrap_or(Duration::ZERO);
    Some(wait.min(LONGEST))
}

/// When the answer was sent, by the CA's clock.
pub(super) fn sent(headers: &HeaderMap) -> Option<Timestamp> {
    date(headers.get(DATE)?.to_str().ok()?)
}

fn date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        headers.insert(DATE, "Mon, 23 Nov 2026 06:15:00 GMT".parse().unwrap());
        retry_after(&headers)
    }

    #[test]
    fn a02_seconds_are_obeyed() {
        assert_eq!(read("3600"), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn a03_a_date_is_measured_against_the_answers_own_clock() {
        assert_eq!(read("Mon, 23 Nov 2026 07:15:00 GMT"), Some(Duration::from_secs(3600)));
        assert_eq!(read("Mon, 23 Nov 2026 05:15:00 GMT"), Some(Duration::ZERO));
    }

    #[test]
    fn a05_absurd_values_are_clamped_or_ignored() {
        assert_eq!(read("315360000"), Some(LONGEST));
        assert_eq!(read("Fri, 23 Nov 2136 07:15:00 GMT"), Some(LONGEST));
        for nonsense in ["-5", "soon", "", "99999999999999999999"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}

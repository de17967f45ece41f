//! What health checks share: the state of every place, and the header fields of their requests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http::header::{HeaderName, HeaderValue};
use http::HeaderMap;
use jiff::Timestamp;

use crate::config::Config;
use crate::context::failure::{bug, failure};
use crate::context::secrets::Secrets;
use crate::model::{Advice, Code, Finding, Health, HealthPlace};
use crate::mutex::lock;
use crate::plan::health::{self, Answered, Standing, Thresholds};
use crate::store::secret;

/// Header fields in one file.
const MOST_HEADERS: usize = 32;

/// Those that would change which request it is, and to whom.
const NOT_OURS: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What an answer has changed.
pub(crate) struct HealthChanges {
    /// Since when the backend answers no node: before and now.
    pub(crate) backend: (Option<Timestamp>, Option<Timestamp>),
    /// All of the certificate, where that has changed; else empty.
    pub(crate) of_certificate: Vec<Health>,
    /// Each with its standing before, if it was known, and now.
    pub(crate) places: Vec<(Health, Option<Standing>, Standing)>,
}

/// The health of every place. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Healths(Arc<Mutex<BTreeMap<HealthPlace, Health>>>);

impl Healths {
    pub fn new(known: impl IntoIterator<Item = Health>) -> Self {
        let by_place = known.into_iter().map(|health| (health.place.clone(), health)).collect();
        Self(Arc::new(Mutex::new(by_place)))
    }

    pub fn all(&self) -> Vec<Health> {
        lock(&self.0).values().cloned().collect()
    }

    /// Takes an answer in. What has changed by it, at whatever place of the certificate.
    pub(crate) fn note(&self, answered: Answered, thresholds: Thresholds) -> HealthChanges {
        let mut all = lock(&self.0);
        let place = answered.place.clone();
        let judged = |all: &BTreeMap<HealthPlace, Health>| health::judge(of_certificate(all, &place));
        let before = judged(&all);
        let known = all.remove(&place);
        let is_new = known.is_none();
        all.insert(place.clone(), health::after(known, answered, thresholds));
        let after = judged(&all);
        let mut standings = before.standings.into_iter();
        let mut places = Vec::new();
        for (health, now) in of_certificate(&all, &place).zip(after.standings) {
            let before = if is_new && health.place == place { None } else { standings.next() };
            if before != Some(now) {
                places.push((health.clone(), before, now));
            }
        }
        let backend = (before.backend, after.backend);
        let changed = backend.0.is_some() != backend.1.is_some();
        let of_certificate = of_certificate(&all, &place).filter(|_| changed).cloned().collect();
        HealthChanges { backend, of_certificate, places }
    }

    pub(crate) fn retain(&self, keep: impl Fn(&HealthPlace) -> bool) {
        lock(&self.0).retain(|place, _| keep(place));
    }
}

/// By file; or why it cannot be used.
pub(super) type Headers = BTreeMap<PathBuf, Result<HeaderMap, Finding>>;

impl Secrets {
    /// With the header fields of health checks.
    pub fn with_health_headers(mut self, config: &Config) -> Self {
        self.health_headers = headers(config);
        self
    }

    /// What was read before stays where it cannot be read any more, as after root's rights were given up.
    pub(crate) fn keep_health_headers(&mut self, before: &Self) {
        for (file, read) in self.health_headers.iter_mut().filter(|(_, read)| read.is_err()) {
            if let Some(Ok(headers)) = before.health_headers.get(file) {
                *read = Ok(headers.clone());
            }
        }
    }

    /// The header fields of this file.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn health_headers(&self, file: &Path) -> Result<HeaderMap, Finding> {
        let unread = || Err(bug(file.display(), "it was not read"));
        self.health_headers.get(file).cloned().unwrap_or_else(unread)
    }

    /// Files of header fields that cannot be used.
    pub fn health_troubles(&self) -> impl Iterator<Item = &Finding> {
        self.health_headers.values().filter_map(|read| read.as_ref().err())
    }
}

fn of_certificate<'a>(
    all: &'a BTreeMap<HealthPlace, Health>,
    place: &'a HealthPlace,
) -> impl Iterator<Item = &'a Health> {
    all.values().filter(|health| health.place.certificate == place.certificate)
}

/// Each file that the configuration names.
pub(super) fn headers(config: &Config) -> Headers {
    let files: BTreeSet<&PathBuf> = config.health_headers();
    files.into_iter().map(|file| (file.clone(), read(file))).collect()
}

fn read(file: &Path) -> Result<HeaderMap, Finding> {
    let text = secret::read_text(file)?;
    parse(&text).map_err(|what| {
        let next = "write a line `Name: value` for each field; Host and what belongs to the connection are certd's";
        failure(Code::HealthHeaders, file.display(), format!("{}: {what}", file.display()), next, Advice::Person)
    })
}

/// A line for each field; empty lines and lines that begin with '#' are none. An error names no content.
fn parse(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let field = line.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::try_from(name.trim()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let Some((name, mut value)) = field else {
            return Err(format!("line {} is no header field", number + 1));
        };
        if NOT_OURS.contains(&name.as_str()) {
            return Err(format!("line {}: the field {name} is not for this file", number + 1));
        }
        value.set_sensitive(true);
        headers.append(name, value);
        if headers.len() > MOST_HEADERS {
            return Err(format!("more than {MOST_HEADERS} header fields"));
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_are_read_line_by_line_and_a_bad_one_is_named_by_its_number_alone() {
        let headers = parse("# a comment\nAuthorization: Bearer s3cret\n\nX-Check:certd\r\n").unwrap();
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["x-check"], "certd");
        assert!(!format!("{headers:?}").contains("s3cret"), "it is secret");
        for (text, why) in [
            ("Authorization Bearer s3cret", "line 1 is no header field"),
            ("A: b\nX-\u{1}: s3cret", "line 2 is no header field"),
            ("X: s3cret\u{7}", "line 1 is no header field"),
            ("HOST: other.example.com", "line 1: the field host is not for this file"),
            ("Transfer-Encoding: chunked", "line 1: the field transfer-encoding is not for this file"),
        ] {
            assert_eq!(parse(text).unwrap_err(), why);
        }
        assert!(parse(&"A: b\n".repeat(33)).unwrap_err().starts_with("more than"));
    }
}

//! Header fields of health checks, which may be secret: a file of lines `Name: value`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::config::Config;
use crate::context::failure::{bug, failure};
use crate::model::{Advice, Code, Finding};
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

/// By file; or why it cannot be used, which stops nothing but health checks.
#[derive(Clone, Default)]
pub struct HealthHeaders(BTreeMap<PathBuf, Result<HeaderMap, Finding>>);

impl HealthHeaders {
    /// Each file that the configuration names. Call it before privileges are dropped.
    pub fn read(config: &Config) -> Self {
        let files = config.health_headers();
        Self(files.into_iter().map(|file| (file.clone(), read(file))).collect())
    }

    /// What was read before stays where a file cannot be used any more, as after root's rights were given up, or while it is
    /// being written. Also returns why each of those cannot be used.
    pub(crate) fn or_before(mut self, before: &Self) -> (Self, Vec<Finding>) {
        let mut covered = Vec::new();
        for (file, read) in &mut self.0 {
            if let (Err(failure), Some(Ok(headers))) = (&*read, before.0.get(file)) {
                covered.push(failure.clone());
                *read = Ok(headers.clone());
            }
        }
        (self, covered)
    }

    /// # Errors
    /// The file cannot be used.
    pub(crate) fn of(&self, file: &Path) -> Result<HeaderMap, Finding> {
        self.0.get(file).cloned().unwrap_or_else(|| Err(bug(file.display(), "it was not read")))
    }

    /// Files that cannot be used.
    pub fn troubles(&self) -> impl Iterator<Item = &Finding> {
        self.0.values().filter_map(|read| read.as_ref().err())
    }

    /// Why one of these files cannot be used.
    pub fn trouble(&self, files: &BTreeSet<PathBuf>) -> Option<&Finding> {
        files.iter().find_map(|file| self.0.get(file)?.as_ref().err())
    }
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

    #[test]
    fn a_file_that_is_spoilt_keeps_its_fields_and_that_is_said() {
        let of = |text: &str| {
            let bad = |what| failure(Code::HealthHeaders, "h", what, "", Advice::Person);
            HealthHeaders([(PathBuf::from("/h"), parse(text).map_err(bad))].into())
        };
        let (kept, covered) = of("X-Secret").or_before(&of("X-Secret: sesame"));
        assert_eq!(kept.of(Path::new("/h")).unwrap()["x-secret"], "sesame");
        assert_eq!(covered.iter().map(|it| it.what.as_str()).collect::<Vec<_>>(), ["line 1 is no header field"]);
        let (bad, covered) = of("X-Secret").or_before(&of("X-Secret"));
        assert!(bad.of(Path::new("/h")).is_err() && covered.is_empty(), "nothing was there before");
        let (new, covered) = of("X-Secret: new").or_before(&of("X-Secret: old"));
        assert_eq!(
            (&new.of(Path::new("/h")).unwrap()["x-secret"], covered.len()),
            (&HeaderValue::from_static("new"), 0)
        );
    }

    #[test]
    fn a_bad_file_of_another_certificate_is_no_trouble() {
        let bad = failure(Code::HealthHeaders, "h", "bad", "", Advice::Person);
        let (good, other) = (PathBuf::from("/good"), PathBuf::from("/other"));
        let headers = HealthHeaders([(good.clone(), Ok(HeaderMap::new())), (other.clone(), Err(bad))].into());
        assert_eq!(headers.trouble(&[good.clone()].into()), None);
        assert!(headers.trouble(&[good, other].into()).is_some());
    }
}

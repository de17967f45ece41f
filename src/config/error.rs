//! Errors of a written configuration: the place, the problem, and what to write instead.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::written::Spanned;

/// One error of the written configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// From 1. `None`: the error concerns the whole file (such as a missing section).
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// `node[2].host_key` is a key of the second `[[node]]`. Empty for a syntax error.
    pub key: String,
    pub what: String,
    /// What to write instead. Empty if unknown.
    pub write: String,
}

impl ConfigError {
    /// Two lines: the place and the problem, then what to write.
    pub fn render(&self, file: &str) -> String {
        let mut text = file.to_owned();
        for number in [self.line, self.column].into_iter().flatten() {
            text.push_str(&format!(":{number}"));
        }
        if !self.key.is_empty() {
            text.push_str(&format!(": {}", self.key));
        }
        text.push_str(&format!(": {}", self.what));
        if !self.write.is_empty() {
            text.push_str(&format!("\n  write: {}", self.write.replace('\n', "\n         ")));
        }
        text
    }
}

/// Collects errors. Sections and checks share one collector, so that an error does not prevent later checks.
pub(super) struct ConfigErrors<'t> {
    text: &'t str,
    found: RefCell<Vec<Found>>,
    /// Each of these once.
    known: RefCell<BTreeSet<Found>>,
}

/// An error whose line is counted at the end: for each by itself, that would be a look through the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    place: Option<usize>,
    key: String,
    what: String,
    write: String,
}

impl<'t> ConfigErrors<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: RefCell::default(), known: RefCell::default() }
    }

    /// Adds an error at a value.
    pub(super) fn at<T>(&self, value: &Spanned<T>, what: impl Into<String>, write: impl Into<String>) {
        self.add(Some(value.place), &value.key, what, write);
    }

    /// Adds an error in place of a value.
    pub(super) fn none<T>(
        &self,
        value: &Spanned<impl Sized>,
        what: impl Into<String>,
        write: impl Into<String>,
    ) -> Option<T> {
        self.at(value, what, write);
        None
    }

    /// Adds an error at a byte of the text, or for the whole file.
    pub(super) fn add(&self, place: Option<usize>, key: &str, what: impl Into<String>, write: impl Into<String>) {
        let found = Found { place, key: key.to_owned(), what: what.into(), write: write.into() };
        if self.known.borrow_mut().insert(found.clone()) {
            self.found.borrow_mut().push(found);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// In the order of the file; errors without a place come first.
    pub(super) fn into_found(self) -> Vec<ConfigError> {
        let Self { text, found, .. } = self;
        let mut found = found.into_inner();
        found.sort_by_key(|error| error.place);
        // The line that the last error is on, and where it begins.
        let (mut line, mut start) = (1, 0);
        let error = |Found { place, key, what, write }: Found| {
            let at = place.map(|place| {
                let place = text.floor_char_boundary(place);
                line += text[start..place].matches('\n').count();
                start = text[..place].rfind('\n').map_or(0, |newline| newline + 1);
                (line, text[start..place].chars().count() + 1)
            });
            let (line, column) = at.unzip();
            ConfigError { line, column, key, what, write }
        };
        found.into_iter().map(error).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::ConfigErrors;

    #[test]
    fn a_column_counts_characters_and_not_bytes() {
        let errors = ConfigErrors::new("a = 1\nname = \"上海\" x");
        errors.add(Some("a = 1\nname = \"上海\" ".len()), "name", "what", "write");
        assert_eq!(errors.into_found()[0].render("f"), "f:2:13: name: what\n  write: write");
    }
}

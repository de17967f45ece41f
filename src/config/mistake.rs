//! What is wrong with a written configuration: where, what, and what to write instead.

use std::cell::RefCell;

use super::written::At;

/// One thing wrong with the written configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// From 1. `None`: of the whole file (a section that is missing).
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// The key: `node[2].host_key` is that of the second `[[node]]`. Empty for an error of syntax.
    pub key: String,
    pub what: String,
    /// What to write instead. Empty where nobody can know.
    pub write: String,
}

impl Mistake {
    /// Two lines: the place and what is wrong there, then what to write.
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

/// Mistakes as they are found. Sections and checks share one collector, so that no check ends the next one.
pub(super) struct Mistakes<'t> {
    text: &'t str,
    found: RefCell<Vec<Mistake>>,
}

impl<'t> Mistakes<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: RefCell::default() }
    }

    /// At a value.
    pub(super) fn at<T>(&self, value: &At<T>, what: impl Into<String>, write: impl Into<String>) {
        self.add(Some(value.place), &value.key, what, write);
    }

    /// At a byte of the text, or of the whole file.
    pub(super) fn add(&self, place: Option<usize>, key: &str, what: impl Into<String>, write: impl Into<String>) {
        let (line, column) = place.map(|place| self.line_and_column(place)).unzip();
        let mistake = Mistake { line, column, key: key.to_owned(), what: what.into(), write: write.into() };
        let mut found = self.found.borrow_mut();
        if !found.contains(&mistake) {
            found.push(mistake);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// In the order of the file; those without a place come first.
    pub(super) fn into_found(self) -> Vec<Mistake> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|mistake| (mistake.line, mistake.column));
        found
    }

    fn line_and_column(&self, place: usize) -> (usize, usize) {
        let before = self.text.get(..place).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Mistakes;

    #[test]
    fn a_column_counts_characters_and_not_bytes() {
        let mistakes = Mistakes::new("a = 1\nname = \"上海\" x");
        mistakes.add(Some("a = 1\nname = \"上海\" ".len()), "name", "what", "write");
        assert_eq!(mistakes.into_found()[0].render("f"), "f:2:13: name: what\n  write: write");
    }
}

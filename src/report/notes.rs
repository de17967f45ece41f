//! Sentences below the tables of a report. Each cause is printed once, with everything that it concerns.

use crate::model::Finding;
use crate::text::list;

use super::{Style, words};

/// Names listed for a cause; a hundred nodes may share it.
const SUBJECTS: usize = 8;

struct Note {
    subjects: Vec<String>,
    what: String,
    next: Option<String>,
}

/// In order of arrival.
#[derive(Default)]
pub(super) struct Notes(Vec<Note>);

impl Notes {
    pub(super) fn add(&mut self, subject: impl Into<String>, what: impl Into<String>, next: Option<String>) {
        let (subject, what) = (subject.into(), what.into());
        match self.0.iter_mut().find(|note| note.what == what && note.next == next) {
            Some(note) if note.subjects.contains(&subject) => {}
            Some(note) => note.subjects.push(subject),
            None => self.0.push(Note { subjects: vec![subject], what, next }),
        }
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether a note already covers this cause: the sentence may say more, but ends with the cause and has the same
    /// advice.
    pub(super) fn cover(&self, failure: &Finding) -> bool {
        let cause = words::what(failure);
        self.0.iter().any(|note| note.what.ends_with(cause) && note.next.as_deref() == Some(failure.next.as_str()))
    }

    pub(super) fn text(&self, style: Style) -> String {
        let of = |note: &Note| {
            let subjects = list::first(SUBJECTS, &note.subjects);
            item("  ", &format!("{subjects}: {}", note.what), note.next.as_deref(), style)
        };
        self.0.iter().map(of).collect()
    }
}

/// A sentence and its advice, folded at words. `before` begins its first line.
pub(super) fn item(before: &str, what: &str, next: Option<&str>, style: Style) -> String {
    let indent = " ".repeat(before.len());
    let mut out = fold(before, &format!("{indent}  "), what, style);
    if let Some(next) = next.filter(|next| !next.is_empty()) {
        out.push_str(&fold(&format!("{indent}  next: "), &format!("{indent}        "), next, style));
    }
    out
}

/// Ends with a newline. Words longer than a line (URLs, paths) are not broken.
pub(super) fn fold(first: &str, further: &str, text: &str, style: Style) -> String {
    let Some(width) = style.width else { return format!("{first}{text}\n") };
    let options = textwrap::Options::new(width)
        .initial_indent(first)
        .subsequent_indent(further)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(text, options) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_folded_at_words_and_never_within_one() {
        let style = Style { width: Some(30), ..Style::default() };
        let url = "https://acme.example/an/order/that/is/longer/than/a/line";
        let text = item("! ", &format!("上海: the CA says no, see {url} for more"), Some("wait for it or ask"), style);
        assert_eq!(
            text,
            format!("! 上海: the CA says no, see\n    {url}\n    for more\n    next: wait for it or ask\n")
        );
    }

    #[test]
    fn a_cause_of_a_hundred_nodes_is_one_sentence() {
        let mut notes = Notes::default();
        for number in 0..100 {
            notes.add(format!("n{number}"), "its disk is full", Some("free some space".into()));
        }
        assert_eq!(
            notes.text(Style::default()),
            "  n0, n1, n2, n3, n4, n5, n6, n7 and 92 more: its disk is full\n    next: free some space\n"
        );
    }
}

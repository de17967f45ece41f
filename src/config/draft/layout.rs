//! How TOML is laid out for a reader: keys of a section padded, comments in one column, long lists a line each.

use toml::Value;

use crate::text::escape;

/// Where comments begin, as in `config/certd.toml`.
const COMMENTS: usize = 41;
/// Characters; a list beyond that has a line for each entry.
const LONGEST: usize = 110;

/// A key with its value, if it has one.
pub(super) struct Line {
    key: String,
    value: Option<Written>,
    comment: &'static str,
}

enum Written {
    Value(Value),
    /// An inline table, in this order.
    Pairs(Vec<(String, Value)>),
}

impl Line {
    pub(super) fn new(key: &str, value: Option<Value>, comment: &'static str) -> Self {
        Self { key: key.to_owned(), value: value.map(Written::Value), comment }
    }

    pub(super) fn pairs(key: &str, lines: Vec<Self>) -> Self {
        let pairs = lines.into_iter().filter_map(|line| match line.value? {
            Written::Value(value) => Some((line.key, value)),
            Written::Pairs(_) => None,
        });
        let pairs: Vec<(String, Value)> = pairs.collect();
        Self { key: key.to_owned(), value: (!pairs.is_empty()).then_some(Written::Pairs(pairs)), comment: "" }
    }
}

/// An empty line, the header and the lines; nothing, where no line has a value.
pub(super) fn section(header: &str, comment: &str, lines: &[Line]) -> String {
    let written: Vec<(String, &Written, &str)> =
        lines.iter().filter_map(|line| Some((key(&line.key), line.value.as_ref()?, line.comment))).collect();
    let Some(width) = written.iter().map(|(key, ..)| key.chars().count()).max() else { return String::new() };
    let mut text = String::from("\n");
    if !header.is_empty() {
        text.push_str(&with_comment(header, comment));
    }
    for (key, value, comment) in written {
        let start = format!("{key:width$} = ");
        let short = match value {
            Written::Value(value) => format!("{start}{}", inline(value)),
            Written::Pairs(pairs) => format!("{start}{}", table(pairs.iter().map(|(name, value)| (name, value)))),
        };
        text.push_str(&match value {
            Written::Value(Value::Array(entries)) if short.chars().count() > LONGEST => {
                let entries: String = entries.iter().map(|entry| format!("  {},\n", inline(entry))).collect();
                format!("{start}[\n{entries}]\n")
            }
            _ => with_comment(&short, comment),
        });
    }
    text
}

fn with_comment(line: &str, comment: &str) -> String {
    if comment.is_empty() {
        return format!("{line}\n");
    }
    let pad = COMMENTS.saturating_sub(line.chars().count()).max(3);
    format!("{line}{:pad$}# {comment}\n", "")
}

/// A line each. What would end a comment, or hide in it, is escaped.
pub(super) fn comments(notes: &[String]) -> String {
    notes
        .iter()
        .flat_map(|note| note.lines())
        .map(|line| format!("# {}\n", escape(line, usize::MAX)).replace("#  \n", "#\n"))
        .collect()
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(entries) => format!("[{}]", entries.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Table(pairs) => table(pairs.iter()),
        other => other.to_string(),
    }
}

fn table<'a>(pairs: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    let pairs = pairs.map(|(name, value)| format!("{} = {}", key(name), inline(value)));
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

/// A bare key, or a quoted one.
pub(super) fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// A basic string (TOML 1.0, "String") in one line, in which no character is invisible.
pub fn quoted(text: &str) -> String {
    let mut shown = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => shown.extend(['\\', c]),
            ' '..='~' => shown.push(c),
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            _ if escape(&format!("a{c}"), 20).chars().nth(1) == Some(c) => shown.push(c),
            _ => shown.push_str(&match u32::from(c) {
                code @ ..=0xffff => format!("\\u{code:04X}"),
                code => format!("\\U{code:08X}"),
            }),
        }
    }
    shown.push('"');
    shown
}

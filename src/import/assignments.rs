//! Lines `NAME='value'`, as acme.sh writes them and its shell reads them. Here nothing is evaluated: a value is a text in
//! quotes or a plain word, and what would need a shell is refused with its line.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const BASE64_START: &str = "__ACME_BASE64__START_";
const BASE64_END: &str = "__ACME_BASE64__END_";
/// Bytes of one line; the longest are those with a hundred domains.
const LONGEST: usize = 16 * 1024;

/// Some names of a file, each with its last value.
pub(super) struct Assignments {
    file: String,
    values: BTreeMap<&'static str, (usize, Result<Zeroizing<String>, &'static str>)>,
}

impl Assignments {
    /// `file`: as it is shown. Other names are not looked at.
    pub(super) fn read(file: String, text: &str, names: &[&'static str]) -> Self {
        let mut values = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let Some((name, value)) = line.split_once('=') else { continue };
            if let Some(name) = names.iter().find(|known| **known == name) {
                values.insert(*name, (number + 1, self::value(value)));
            }
        }
        Self { file, values }
    }

    /// The value; `None` when there is none, or an empty one.
    ///
    /// # Errors
    /// The file with the line, and why it is refused.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, (String, String)> {
        match self.values.get(name) {
            None => Ok(None),
            Some((_, Ok(value))) => Ok(Some(value.as_str()).filter(|value| !value.is_empty())),
            Some((_, Err(why))) => Err((self.line(name), format!("{name} {why}"))),
        }
    }

    /// The file and the line of a value.
    pub(super) fn line(&self, name: &str) -> String {
        match self.values.get(name) {
            Some((line, _)) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        }
    }
}

fn value(written: &str) -> Result<Zeroizing<String>, &'static str> {
    if written.len() > LONGEST {
        return Err("is too long");
    }
    let text = unquoted(written.trim_end())?;
    let text = match text.strip_prefix(BASE64_START).and_then(|rest| rest.strip_suffix(BASE64_END)) {
        Some(encoded) => {
            let decoded = STANDARD.decode(encoded).map_err(|_| "is not base64")?;
            Zeroizing::new(String::from_utf8(decoded).map_err(|_| "is not text (UTF-8)")?)
        }
        None => text,
    };
    // A command of several lines is shown as what it is; nothing else has a reason to hold any of these.
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err("has a control character");
    }
    Ok(text)
}

/// POSIX.1-2024, Shell Command Language, section 2.2, without all that expands.
fn unquoted(written: &str) -> Result<Zeroizing<String>, &'static str> {
    let mut text = Zeroizing::new(String::with_capacity(written.len()));
    let mut rest = written;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '\'' => {
                let (inside, after) = rest[1..].split_once('\'').ok_or("has a quote that does not end on its line")?;
                text.push_str(inside);
                after
            }
            '"' => {
                let (inside, after) = rest[1..].split_once('"').ok_or("has a quote that does not end on its line")?;
                if inside.contains(['$', '`', '\\']) {
                    return Err("is not a plain text: a shell would expand it");
                }
                text.push_str(inside);
                after
            }
            // How a quote stands between two texts in quotes.
            '\\' if rest[1..].starts_with('\'') => {
                text.push('\'');
                &rest[2..]
            }
            c if c.is_ascii_alphanumeric() || "_@%+:,./-".contains(c) => {
                text.push(c);
                &rest[1..]
            }
            _ => return Err("is not a plain text: a shell would do more than read it"),
        };
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Result<Option<String>, String> {
        let read = Assignments::read("f".to_owned(), &format!("# first\n{line}\n"), &["A"]);
        read.get("A").map(|value| value.map(str::to_owned)).map_err(|(at, why)| format!("{at}: {why}"))
    }

    #[test]
    fn values_are_read_as_a_shell_reads_plain_ones() {
        for (line, text) in [
            ("A='a b'", "a b"),
            ("A=\"/x/y\"", "/x/y"),
            ("A=plain-1.2:3", "plain-1.2:3"),
            ("A='it'\\''s'", "it's"),
            ("A='a'\"b\"c", "abc"),
            ("A='$(id) `id` \\'", "$(id) `id` \\"),
            ("A='x'   ", "x"),
            ("A='x'\r", "x"),
            ("A='__ACME_BASE64__START_aXQncyAiYSI=__ACME_BASE64__END_'", "it's \"a\""),
            ("A='old'\nA='new'", "new"),
        ] {
            assert_eq!(one(line), Ok(Some(text.to_owned())), "{line}");
        }
        for line in ["A=''", "A=", "B='x'", "#A='x'", " A='x'", "export A='x'"] {
            assert_eq!(one(line), Ok(None), "{line}");
        }
    }

    #[test]
    fn what_a_shell_would_expand_or_run_is_refused_with_its_line() {
        for (line, why) in [
            ("A=$(id)", "a shell would do more"),
            ("A='x'; id", "a shell would do more"),
            ("A='x' id", "a shell would do more"),
            ("A=\"$HOME\"", "expand it"),
            ("A=\"`id`\"", "expand it"),
            ("A='x", "does not end"),
            ("A='a\x1b[2J'", "control character"),
            ("A='__ACME_BASE64__START_!__ACME_BASE64__END_'", "not base64"),
            ("A='__ACME_BASE64__START_AAAA__ACME_BASE64__END_'", "control character"),
            ("A='__ACME_BASE64__START_//8=__ACME_BASE64__END_'", "not text"),
        ] {
            let refused = one(line).unwrap_err();
            assert!(refused.starts_with("f:2: A ") && refused.contains(why), "{line}: {refused}");
        }
        assert!(one(&format!("A='{}'", "x".repeat(LONGEST))).unwrap_err().contains("too long"));
    }
}

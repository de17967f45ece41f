//! What a CA, an API, a DNS server or a node sends is shown, never obeyed: control characters and bidirectional
//! overrides become visible escapes, so that they can neither move a cursor nor hide a word.

/// The text with every control and invisible formatting character escaped, cut after `most` characters.
pub fn escape(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == most {
            shown.push('…');
            break;
        }
        match c {
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            _ if c.is_control() || invisible(c) => shown.extend(c.escape_unicode()),
            _ => shown.push(c),
        }
    }
    shown
}

/// Zero-width and bidirectional formatting characters (Unicode's Bidi_Control and Default_Ignorable in general text).
fn invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn what_a_peer_sends_cannot_move_the_cursor() {
        assert_eq!(escape("a\x1b[2Jb\nc\u{202e}d", 100), "a\\u{1b}[2Jb\\nc\\u{202e}d");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!(escape("上海上海", 2), "上海…");
    }
}

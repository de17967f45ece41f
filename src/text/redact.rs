//! A node whose test or reload script prints the private key, or whose login shell echoes its input, must not
//! get it into an error, a report or the state. What certd sent is known and is found in any wrapping; of other keys the
//! marks of PEM are.
//!
//! It is no fence against a node that wants its key to be known: that one has the key and can publish it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const GONE: &str = "[private key removed]";
/// Characters of base64 that are looked at together, 6 bytes of a key: two texts have them in common by a chance of one in
/// a million millions, and less is of no use to anybody.
const BASE64: usize = 8;
/// The same for hexadecimal digits: colons between them, as `openssl pkey -text` shows a key, or none.
const HEX: usize = 16;
/// The longest kind of a key in a PEM mark: `BEGIN OPENSSH `.
const KIND: usize = 40;

/// The text without any piece of these keys (PEM), in base64 or hexadecimal, however broken into lines, and without any
/// other private key in PEM.
pub fn redact<'a>(text: &str, keys: impl IntoIterator<Item = &'a str>) -> String {
    let pieces = Pieces::of(keys);
    let spans = pieces.spans(text);
    let mut shown = String::new();
    let mut from = 0;
    for (start, end) in spans {
        shown.push_str(&text[from..start]);
        shown.push_str(GONE);
        from = text.len() - text[end..].trim_start_matches('=').len();
    }
    shown.push_str(&text[from..]);
    without_pem(&shown).into_owned()
}

/// The text without private keys in PEM. One whose beginning or end is cut off takes everything before or behind it along.
pub(crate) fn without_pem(text: &str) -> Cow<'_, str> {
    let marks: Vec<Mark> =
        text.match_indices("PRIVATE KEY").filter_map(|(at, label)| Mark::at(text, at, label)).collect();
    if marks.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    let (mut from, mut inside) = (0, false);
    for Mark { start, end, begins } in marks {
        if inside && begins {
            continue;
        }
        if begins {
            shown.push_str(&text[from..start]);
        }
        if !inside {
            shown.push_str(GONE);
        }
        (inside, from) = (begins, end);
    }
    if !inside {
        shown.push_str(&text[from..]);
    }
    Cow::Owned(shown)
}

/// `-----BEGIN … PRIVATE KEY-----`, or the same with END (RFC 7468 section 3).
struct Mark {
    start: usize,
    end: usize,
    begins: bool,
}

impl Mark {
    fn at(text: &str, at: usize, label: &str) -> Option<Self> {
        let of_kind = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ';
        let before = &text[..at];
        let word = before.trim_end_matches(of_kind);
        let kind = &before[word.len()..];
        let rest = &text[at + label.len()..];
        let end = text.len() - rest.trim_start_matches('-').len();
        let begins = kind.starts_with("BEGIN ");
        if kind.len() > KIND || !(rest.starts_with('-') || rest.is_empty()) {
            return None;
        }
        if word.ends_with('-') && (begins || kind.starts_with("END ")) {
            return Some(Self { start: word.trim_end_matches('-').len(), end, begins });
        }
        // What is left of a first line whose own beginning was cut off.
        (word.is_empty() && rest.starts_with('-')).then_some(Self { start: 0, end, begins: true })
    }
}

/// Every piece of the keys that is long enough, as numbers, in order. Made where it is used and wiped after it: what is
/// kept of a key is kept where the key is.
struct Pieces {
    base64: Zeroizing<Vec<u64>>,
    hex: Zeroizing<Vec<u64>>,
}

impl Pieces {
    fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        let ders: Vec<Zeroizing<Vec<u8>>> = keys.into_iter().flat_map(ders).collect();
        let all: usize = ders.iter().map(|der| der.len()).sum();
        // Room for all of it: growing would leave copies behind.
        let (mut base64, mut hex) =
            (Zeroizing::new(Vec::with_capacity(4 * (all + 2 * ders.len()))), Zeroizing::new(Vec::with_capacity(all)));
        for der in &ders {
            let mut eight: u64 = 0;
            // Two bytes of nothing more: the last character of base64 is filled up with them.
            for (read, byte) in (1..).zip(der.iter().chain(&[0, 0])) {
                eight = eight << 8 | u64::from(*byte);
                if read < HEX / 2 {
                    continue;
                }
                if read <= der.len() {
                    hex.push(eight);
                }
                // 48 of the 64 bits, at each of the places where a character of base64 can begin: whatever stands before a
                // key in another format moves it by whole bytes.
                base64.extend((0..4).map(|step| eight >> (16 - 2 * step) & WHOLE));
            }
        }
        base64.sort_unstable();
        hex.sort_unstable();
        Self { base64, hex }
    }

    /// Where pieces stand, in order and apart from each other.
    fn spans(&self, text: &str) -> Vec<(usize, usize)> {
        if self.hex.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        windows(text, BASE64, 6, sextet, |number, span| {
            if self.base64.binary_search(&(number & WHOLE)).is_ok() {
                found.push(span);
            }
        });
        let nibble = |c: char| c.to_digit(16).map(u64::from);
        windows(text, HEX, 4, nibble, |number, span| {
            if self.hex.binary_search(&number).is_ok() {
                found.push(span);
            }
        });
        found.sort_unstable();
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for (start, end) in found {
            match spans.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => spans.push((start, end)),
            }
        }
        spans
    }
}

/// The bits of [`BASE64`] characters.
const WHOLE: u64 = (1 << (6 * BASE64)) - 1;

/// Each row of `count` characters that are digits of a number, other characters between them left out, with the place of
/// the first and the end of the last.
fn windows(
    text: &str,
    count: usize,
    bits: u32,
    digit: impl Fn(char) -> Option<u64>,
    mut each: impl FnMut(u64, (usize, usize)),
) {
    let mut number: u64 = 0;
    let mut starts = std::collections::VecDeque::with_capacity(count);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        // A line break as texts in JSON, shells and our own errors have it.
        if c == '\\' && chars.next_if(|(_, next)| matches!(next, 'n' | 'r' | 't')).is_some() {
            continue;
        }
        let Some(value) = digit(c) else { continue };
        number = number << bits | value;
        starts.push_back(at);
        if starts.len() > count {
            starts.pop_front();
        }
        if starts.len() == count {
            each(number, (starts[0], at + c.len_utf8()));
        }
    }
}

/// RFC 4648 sections 4 and 5, both alphabets.
fn sextet(c: char) -> Option<u64> {
    Some(match c {
        'A'..='Z' => u64::from(c) - u64::from('A'),
        'a'..='z' => u64::from(c) - u64::from('a') + 26,
        '0'..='9' => u64::from(c) - u64::from('0') + 52,
        '+' | '-' => 62,
        '/' | '_' => 63,
        _ => return None,
    })
}

/// What stands between the marks of each key in a PEM.
fn ders(pem: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let blocks = pem.split("-----BEGIN ").filter_map(|block| block.split_once("PRIVATE KEY-----"));
    let bodies = blocks.filter_map(|(_, rest)| rest.split_once("-----END"));
    bodies
        .filter_map(|(body, _)| {
            let line: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
            STANDARD.decode(line.as_bytes()).ok().map(Zeroizing::new)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::{KeyType, PrivateKey};
    use crate::text::escape;

    fn body(pem: &str) -> String {
        pem.lines().filter(|line| !line.starts_with('-')).collect()
    }

    /// No eight characters of the key in a row, whatever stands between them.
    fn has_nothing_of(pem: &str, shown: &str) {
        let (body, squeezed) = (body(pem), shown.replace("\\n", "").replace(|c: char| sextet(c).is_none(), ""));
        for window in body.as_bytes().windows(BASE64) {
            let window = core::str::from_utf8(window).unwrap();
            assert!(!squeezed.contains(window), "{window} in {shown}");
        }
    }

    #[test]
    fn the_key_that_was_sent_is_found_in_any_wrapping() {
        for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048] {
            let key = PrivateKey::generate(kind).unwrap();
            let (pem, body) = (key.pem().to_owned(), body(key.pem()));
            let wrapped = |width: usize, between: &str| {
                let lines: Vec<&str> =
                    body.as_bytes().chunks(width).map(|line| core::str::from_utf8(line).unwrap()).collect();
                lines.join(between)
            };
            for text in [
                pem.clone(),
                pem.replace('\n', "\r\n"),
                pem.replace('\n', "\\n"),
                pem.replace('\n', " "),
                body.clone(),
                wrapped(64, "\n"),
                wrapped(76, "\n> "),
                wrapped(48, "\n  12: "),
                wrapped(20, "\" \""),
                wrapped(8, "\n"),
                wrapped(1, " "),
                body.replace('+', "-").replace('/', "_"),
                escape(&pem, 100_000),
            ] {
                let shown = redact(&format!("nginx: output\n{text}\nand failed"), [pem.as_str()]);
                has_nothing_of(&pem, &shown);
                assert!(shown.contains("nginx: output") && shown.contains("and failed"), "{shown}");
            }
            for line in pem.lines().filter(|line| !line.starts_with('-')) {
                // No letter before it: the key's line above may end in that very one, and it would go along.
                assert_eq!(redact(&format!("=> \"{line}\";"), [pem.as_str()]), format!("=> \"{GONE}\";"));
            }
        }
    }

    #[test]
    fn the_key_is_found_in_another_format_and_in_hexadecimal() {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let der = &ders(key.pem())[0];
        // SEC 1 is the end of PKCS#8, so that each character of its base64 is another one; a JWK has the bare number.
        for inner in [&der[27..], &der[28..], &der[29..], &der[36..68]] {
            let other = STANDARD.encode(inner);
            let shown = redact(&other, [key.pem()]);
            assert!(shown.len() <= GONE.len() + 2 * BASE64, "{shown}");
        }
        for between in ["", ":", ":\n    ", " "] {
            let hex: Vec<String> = der.iter().map(|byte| format!("{byte:02x}")).collect();
            for text in [hex.join(between), hex.join(between).to_uppercase()] {
                assert_eq!(redact(&text, [key.pem()]), GONE);
            }
        }
    }

    #[test]
    fn what_is_no_key_is_left_as_it_is() {
        let key = PrivateKey::generate(KeyType::Rsa2048).unwrap();
        for text in [
            "",
            "nginx: [emerg] PEM_read_bio_PrivateKey() failed (SSL: error:0480006C:PEM routines::no start line:Expecting: ANY PRIVATE KEY)",
            "test ok\nbase www.example.com managed 20261123061500-04c3d5a7e9f0b1c2d3e4f5061728394a\noutput\n",
            "digest a 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUVOO\n-----END CERTIFICATE-----",
            "上海: 没有私钥",
        ] {
            assert_eq!(redact(text, [key.pem()]), text);
        }
    }

    #[test]
    fn remains_of_a_key_that_nobody_knows_go_with_its_marks() {
        for (text, shown) in [
            ("a\n-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\nb", "a\n[private key removed]\nb"),
            ("a\n-----BEGIN RSA PRIVATE KEY-----\nMIGH", "a\n[private key removed]"),
            ("MIGH\n-----END OPENSSH PRIVATE KEY-----\nb", "[private key removed]\nb"),
            ("GIN PRIVATE KEY-----\nMIGH", "[private key removed]"),
            ("MIGH\n-----END PRIVATE KEY", "[private key removed]"),
            (
                "-----BEGIN PRIVATE KEY-----\nMI\n-----END PRIVATE KEY-----\n-----BEGIN PRIVATE KEY-----\nMI\n-----END PRIVATE KEY-----",
                "[private key removed]\n[private key removed]",
            ),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMI\n-----BEGIN PRIVATE KEY-----\nMI", "[private key removed]"),
        ] {
            assert_eq!(redact(text, []), shown, "{text}");
        }
    }

    #[test]
    fn a_long_answer_and_the_longest_keys_cost_no_time_to_speak_of() {
        let key = PrivateKey::generate(KeyType::Rsa2048).unwrap();
        let text = "A".repeat(256 * 1024);
        assert_eq!(redact(&text, core::iter::repeat_n(key.pem(), 100)), text);
    }
}

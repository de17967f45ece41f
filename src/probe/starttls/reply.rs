//! What a server says before TLS, parsed strictly: is it complete, and is it the expected answer?

/// What the client waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    /// A reply of one or more lines that begin with one of these codes of three digits; one line has the word `offers`
    /// after its code. `free_lines`: those between the first and the last may have no code.
    Code {
        of: &'static [&'static str],
        offers: &'static str,
        free_lines: bool,
    },
    /// A line that begins with `ok`, after lines that begin with `past`; one of them has `offers` in it.
    Line {
        ok: &'static str,
        past: &'static str,
        offers: &'static str,
    },
    /// XMPP: the stream's head and its features, with STARTTLS among them.
    Features,
    /// XMPP: TLS may begin.
    Proceed,
    Byte(u8),
    /// A binary message that has its length in its head.
    Frame(Frame),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Frame {
    Ldap,
    Mysql,
    Rdp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing that this protocol allows here.
    Foreign,
    /// An answer, and not the one that leads to TLS.
    Other,
    /// TLS is not offered.
    NotOffered,
    /// The server serves others, and turns this client away.
    TurnedAway,
}

/// The length of the complete answer at the beginning of `bytes`; `None`: more has to be read.
pub(super) fn parse(expect: Expect, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match expect {
        Expect::Code { of, offers, free_lines } => code(bytes, of, offers, free_lines),
        Expect::Line { ok, past, offers } => line(bytes, ok, past, offers),
        Expect::Features => features(bytes),
        Expect::Proceed => proceed(bytes),
        Expect::Byte(byte) if bytes[0] == byte => Ok(Some(1)),
        // PostgreSQL: no TLS; or an error message, which old servers send.
        Expect::Byte(_) if bytes[0] == b'N' => Err(Refusal::NotOffered),
        // PostgreSQL when it has no room for one more.
        Expect::Byte(_) if bytes[0] == b'E' => Err(Refusal::TurnedAway),
        Expect::Byte(_) => Err(Refusal::Foreign),
        Expect::Frame(Frame::Ldap) => ldap(bytes),
        Expect::Frame(Frame::Mysql) => mysql(bytes),
        Expect::Frame(Frame::Rdp) => rdp(bytes),
    }
}

fn code(bytes: &[u8], of: &[&str], offers: &str, free_lines: bool) -> Result<Option<usize>, Refusal> {
    if !bytes.iter().take(3).all(u8::is_ascii_digit) {
        return Err(Refusal::Foreign);
    }
    let mut offered = offers.is_empty();
    let mut at = 0;
    while let Some(end) = line_end(bytes, at) {
        let line = trimmed(&bytes[at..end]);
        let (own, rest) = line.split_at(line.len().min(3));
        let same = own == &bytes[..3];
        let last = same && (rest.is_empty() || rest[0] == b' ');
        let goes_on = same && rest.first() == Some(&b'-');
        let is_free = free_lines && at > 0;
        if !(last || goes_on || is_free) {
            return Err(Refusal::Foreign);
        }
        let word = rest.get(1..).and_then(|text| text.split(|byte| *byte == b' ').next());
        offered |= word.is_some_and(|word| word.eq_ignore_ascii_case(offers.as_bytes()));
        if last {
            return match of.iter().any(|code| code.as_bytes() == own) {
                true if offered => Ok(Some(end)),
                true => Err(Refusal::NotOffered),
                false if matches!(own[0], b'4' | b'5') => Err(Refusal::TurnedAway),
                false => Err(Refusal::Other),
            };
        }
        at = end;
    }
    Ok(None)
}

fn line(bytes: &[u8], ok: &str, past: &str, offers: &str) -> Result<Option<usize>, Refusal> {
    let mut offered = offers.is_empty();
    let mut at = 0;
    while at < bytes.len() {
        let line = &bytes[at..];
        let (good, other) = (begins(line, ok), !past.is_empty() && begins(line, past));
        if !good && !other {
            return Err(if at == 0 { Refusal::Foreign } else { Refusal::Other });
        }
        let Some(end) = line_end(bytes, at) else { return Ok(None) };
        offered |= contains(&bytes[at..end], offers.as_bytes());
        at = end;
        if good {
            return if offered { Ok(Some(at)) } else { Err(Refusal::NotOffered) };
        }
    }
    Ok(None)
}

fn features(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    const END: &[u8] = b"</stream:features>";
    if !begins(bytes, "<?xml") && !begins(bytes, "<stream:stream") {
        return Err(Refusal::Foreign);
    }
    if contains(bytes, b"<stream:error") || contains(bytes, b"</stream:stream>") {
        return Err(Refusal::Other);
    }
    let Some(end) = find(bytes, END).map(|at| at + END.len()) else {
        return if contains(bytes, b"<stream:features/>") { Err(Refusal::NotOffered) } else { Ok(None) };
    };
    if contains(&bytes[..end], b"<starttls") { Ok(Some(end)) } else { Err(Refusal::NotOffered) }
}

fn proceed(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    const END: &[u8] = b"</proceed>";
    if !begins(bytes, "<proceed") {
        return Err(Refusal::Other);
    }
    match find(bytes, b">") {
        None => Ok(None),
        Some(at) if bytes[at - 1] == b'/' => Ok(Some(at + 1)),
        Some(at) if begins(&bytes[at + 1..], "</proceed>") => {
            let end = at + 1 + END.len();
            Ok((bytes.len() >= end).then_some(end))
        }
        Some(_) => Err(Refusal::Other),
    }
}

/// `LDAPMessage ::= SEQUENCE { messageID, ExtendedResponse [APPLICATION 24] { resultCode ENUMERATED, … } }`, in BER.
fn ldap(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    if bytes[0] != 0x30 {
        return Err(Refusal::Foreign);
    }
    let Some((message, end)) = ber(bytes)? else { return Ok(None) };
    let Some(answer) = message.strip_prefix(&[0x02, 0x01, 0x01]) else { return Err(Refusal::Other) };
    if answer.first() != Some(&0x78) {
        return Err(Refusal::Other);
    }
    let Some((answer, _)) = ber(answer)? else { return Err(Refusal::Foreign) };
    match answer {
        [0x0a, 0x01, 0, ..] => Ok(Some(end)),
        // protocolError: "the server does not support TLS" (RFC 4511 section 4.14.2).
        [0x0a, 0x01, 2, ..] => Err(Refusal::NotOffered),
        _ => Err(Refusal::Other),
    }
}

/// The content of the element at the beginning, and its end; `None`: it goes on.
fn ber(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Refusal> {
    let Some(first) = bytes.get(1) else { return Ok(None) };
    let (begin, length) = match first {
        0..=0x7f => (2, usize::from(*first)),
        0x81..=0x84 => {
            let begin = 2 + usize::from(first & 0x0f);
            let Some(digits) = bytes.get(2..begin) else { return Ok(None) };
            (begin, digits.iter().fold(0_usize, |length, digit| length << 8 | usize::from(*digit)))
        }
        _ => return Err(Refusal::Foreign),
    };
    let end = begin.checked_add(length).ok_or(Refusal::Foreign)?;
    Ok(bytes.get(begin..end).map(|content| (content, end)))
}

/// Protocol::HandshakeV10: the protocol's version, the server's as text, a thread's number, eight bytes of a salt, and
/// then capabilities; or an error.
fn mysql(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    const CLIENT_SSL: u8 = 0x08;
    let number = bytes.get(3).is_none_or(|number| *number == 0);
    if !number || !bytes.get(4).is_none_or(|kind| [10, 0xff].contains(kind)) {
        return Err(Refusal::Foreign);
    }
    let [low, middle, high, _, content @ ..] = bytes else { return Ok(None) };
    let length = usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16;
    let Some(content) = content.get(..length) else { return Ok(None) };
    match content {
        [10, rest @ ..] => {
            let version = rest.iter().position(|byte| *byte == 0).ok_or(Refusal::Foreign)?;
            let capabilities = rest.get(version + 1 + 4 + 8 + 1..).and_then(|rest| rest.get(..2));
            let capabilities = capabilities.ok_or(Refusal::Foreign)?;
            if capabilities[1] & CLIENT_SSL == 0 { Err(Refusal::NotOffered) } else { Ok(Some(4 + length)) }
        }
        // Too many connections, a blocked address, or one that is not admitted.
        [0xff, ..] => Err(Refusal::TurnedAway),
        _ => Err(Refusal::Foreign),
    }
}

/// A TPKT header, an X.224 Connection Confirm, and in it RDP_NEG_RSP (type 2) with the protocol that the server chose.
fn rdp(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    const CONFIRM: u8 = 0xd0;
    if !begins(bytes, "\u{3}\0") {
        return Err(Refusal::Foreign);
    }
    let [_, _, high, low, confirm @ ..] = bytes else { return Ok(None) };
    let end = usize::from(u16::from_be_bytes([*high, *low]));
    let length = end.checked_sub(4).ok_or(Refusal::Foreign)?;
    let Some(confirm) = confirm.get(..length) else { return Ok(None) };
    match confirm {
        [_, CONFIRM, _, _, _, _, _, 2, _, 8, 0, protocol, 0, 0, 0] if *protocol != 0 => Ok(Some(end)),
        [_, CONFIRM, ..] => Err(Refusal::NotOffered),
        _ => Err(Refusal::Foreign),
    }
}

/// Whether a line begins so, as far as it was read. Keywords of these protocols are the same in capitals.
fn begins(bytes: &[u8], with: &str) -> bool {
    let length = bytes.len().min(with.len());
    bytes[..length].eq_ignore_ascii_case(&with.as_bytes()[..length])
}

fn line_end(bytes: &[u8], from: usize) -> Option<usize> {
    bytes[from..].iter().position(|byte| *byte == b'\n').map(|length| from + length + 1)
}

fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    what.is_empty() || find(bytes, what).is_some()
}

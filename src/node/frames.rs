//! Framed answers: a node's stdout is hostile until proven ours. A login shell may say anything before the program
//! does, so an answer begins with a magic word and the nonce that only this dialogue knows, and tells its length.
//!
//! ```text
//! certd-node NONCE VERB LENGTH\n
//! LENGTH bytes
//! ```

/// Noise of `.bashrc`, banners and the like, bytes, that is skipped in the whole dialogue.
const NOISE: usize = 64 * 1024;
/// The node caps a command's words at 4 kB; the rest is names: of a look, 400 bytes a certificate.
const BODY: usize = 256 * 1024;
const HEADER: usize = 128;

/// Takes answers out of a stream of bytes.
#[derive(Debug)]
pub(super) struct Frames {
    magic: Vec<u8>,
    buffer: Vec<u8>,
    /// No answer begins before this byte: who says one byte at a time does not have all of it searched each time.
    searched: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) verb: String,
    pub(super) body: String,
}

/// What makes a stream unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Garbage {
    #[error("more than {} kB came before the answer", NOISE / 1024)]
    Noise,
    #[error("an answer of {0} bytes")]
    TooLong(usize),
    #[error("an answer whose first line cannot be read")]
    Header,
}

impl Frames {
    pub(super) fn new(nonce: &str) -> Self {
        Self { magic: format!("certd-node {nonce} ").into_bytes(), buffer: Vec::new(), searched: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What came and is no answer.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer
    }

    /// The next answer, when all of it has come. Bytes that are no UTF-8 are replaced.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Garbage> {
        let Some(start) = find(&self.buffer[self.searched..], &self.magic).map(|at| self.searched + at) else {
            self.searched = self.searched.max((self.buffer.len() + 1).saturating_sub(self.magic.len()));
            return if self.buffer.len() > NOISE + self.magic.len() { Err(Garbage::Noise) } else { Ok(None) };
        };
        self.searched = start;
        if start > NOISE {
            return Err(Garbage::Noise);
        }
        let rest = &self.buffer[start + self.magic.len()..];
        let Some(end) = rest.iter().take(HEADER).position(|&byte| byte == b'\n') else {
            return if rest.len() >= HEADER { Err(Garbage::Header) } else { Ok(None) };
        };
        let header = core::str::from_utf8(&rest[..end]).map_err(|_| Garbage::Header)?;
        let (verb, length) = header.split_once(' ').ok_or(Garbage::Header)?;
        let length: usize = length.parse().map_err(|_| Garbage::Header)?;
        if length > BODY {
            return Err(Garbage::TooLong(length));
        }
        let Some(body) = rest.get(end + 1..end + 1 + length) else { return Ok(None) };
        let frame = Frame { verb: verb.to_owned(), body: String::from_utf8_lossy(body).into_owned() };
        self.buffer.drain(..start + self.magic.len() + end + 1 + length);
        self.searched = 0;
        Ok(Some(frame))
    }
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(text: &[u8]) -> Result<Option<Frame>, Garbage> {
        let mut frames = Frames::new("n0");
        frames.push(text);
        frames.next()
    }

    #[test]
    fn s18_noise_before_an_answer_is_skipped_up_to_64_kb() {
        let mut text = vec![b'x'; NOISE];
        text.extend_from_slice(b"certd-node n0 back 2\nok");
        assert_eq!(frames(&text), Ok(Some(Frame { verb: "back".to_owned(), body: "ok".to_owned() })));
        text.insert(0, b'x');
        assert_eq!(frames(&text), Err(Garbage::Noise));
        assert_eq!(frames(&vec![b'x'; NOISE * 2]), Err(Garbage::Noise));
    }

    #[test]
    fn an_answer_may_come_a_byte_at_a_time() {
        let mut frames = Frames::new("n0");
        let text = b"motd\ncertd-node n0 prepared 7\ntest ok";
        for byte in &text[..text.len() - 1] {
            frames.push(&[*byte]);
            assert_eq!(frames.next(), Ok(None));
        }
        frames.push(b"k");
        assert!(frames.next().unwrap().is_some());
    }

    #[test]
    fn noise_and_an_answer_a_byte_at_a_time_cost_no_more_than_their_length() {
        let mut frames = Frames::new("n0");
        let mut text = vec![b'c'; NOISE];
        text.extend_from_slice(format!("certd-node n0 seen {BODY}\n").as_bytes());
        text.resize(text.len() + BODY, b'y');
        // Searched anew for each byte this is ten thousand million comparisons.
        for byte in &text[..text.len() - 1] {
            frames.push(&[*byte]);
            assert_eq!(frames.next(), Ok(None));
        }
        frames.push(b"y");
        assert_eq!(frames.next().unwrap().map(|frame| frame.body.len()), Some(BODY));
    }

    #[test]
    fn an_answer_with_another_nonce_or_a_mad_length_is_none() {
        assert_eq!(frames(b"certd-node n1 back 2\nok"), Ok(None));
        assert_eq!(frames(b"certd-node n0 back 9999999\n"), Err(Garbage::TooLong(9_999_999)));
        assert_eq!(frames(b"certd-node n0 back -1\n"), Err(Garbage::Header));
        assert_eq!(frames(b"certd-node n0 back\n"), Err(Garbage::Header));
        assert_eq!(frames(&[b"certd-node n0 ".to_vec(), vec![b'v'; 200]].concat()), Err(Garbage::Header));
    }
}

//! What a program writes into one pipe. A bounded part of it is kept.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};

use tokio::net::unix::pipe::Receiver;

/// Reads after the program's end: enough for the pipe's 64 KiB, but not for a process left behind that writes on.
const LAST_READS: usize = 32;
const BUFFER: usize = 4096;

pub(super) struct Pipe {
    from: Receiver,
    pub(super) open: bool,
    /// Of the end.
    kept: VecDeque<u8>,
    most: usize,
    pub(super) overflowed: bool,
}

impl Pipe {
    /// Keeps `most` bytes, those of the end.
    pub(super) fn new(most: usize) -> io::Result<(Self, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        let from = Receiver::from_owned_fd(OwnedFd::from(reader))?;
        Ok((Self { from, open: true, kept: VecDeque::new(), most, overflowed: false }, writer))
    }

    /// Waits for output, and takes it. Can be dropped and called again.
    pub(super) async fn take(&mut self) {
        let mut buffer = [0; BUFFER];
        match self.from.readable().await.and_then(|()| self.from.try_read(&mut buffer)) {
            Ok(0) => self.open = false,
            Ok(length) => self.keep(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.open = false,
        }
    }

    /// What is kept, with the rest that is in the pipe after the program's end.
    pub(super) fn rest(&mut self) -> &[u8] {
        if let Ok(rest) = self.from.as_fd().try_clone_to_owned() {
            // Does not block: the pipe is non-blocking.
            let (mut rest, mut buffer) = (File::from(rest), [0; BUFFER]);
            for _ in 0..LAST_READS {
                match rest.read(&mut buffer) {
                    Ok(length) if length > 0 => self.keep(&buffer[..length]),
                    _ => break,
                }
            }
        }
        self.kept.make_contiguous()
    }

    fn keep(&mut self, more: &[u8]) {
        self.kept.extend(more);
        let over = self.kept.len().saturating_sub(self.most);
        self.overflowed |= over > 0;
        self.kept.drain(..over);
    }
}

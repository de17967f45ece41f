//! One run of the program, in its own process group and with a minimal environment. Only the end of its output is kept. The
//! whole group is killed when the time limit expires or the caller is dropped.

use core::time::Duration;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::ProgramError;
use crate::text::{escape, redact};

/// From SIGTERM to SIGKILL, for a program that cleans up.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes kept of the output's end, which usually holds the error.
const KEPT: usize = 4096;
/// Characters shown of the output.
const SHOWN: usize = 1000;
/// Reads after the program's end: enough for the pipe's 64 KiB, but not for a process left behind that writes on.
const LAST_READS: usize = 32;
/// The variables passed on; none of them holds a secret.
const ENVIRONMENT: [&str; 4] = ["PATH", "LANG", "HOME", "TMPDIR"];

pub(super) struct Call<'a> {
    /// Not empty.
    pub(super) command: &'a [String],
    /// Appended to the command: task, name, value.
    pub(super) arguments: [&'a str; 3],
    pub(super) limit: Duration,
}

impl Call<'_> {
    pub(super) async fn run(&self) -> Result<(), ProgramError> {
        let (program, call) = (self.command[0].clone(), self.arguments[..2].join(" "));
        let cannot = |source: io::Error| ProgramError::Start { program: program.clone(), source: Arc::new(source) };
        let mut running = self.start().map_err(cannot)?;
        let limit = self.limit;
        match timeout(limit, running.ended()).await {
            Ok(status) => {
                let status = status.map_err(cannot)?;
                let output = running.shown_output();
                if status.success() { Ok(()) } else { Err(ProgramError::Failed { program, call, status, output }) }
            }
            Err(_) => {
                running.end().await;
                Err(ProgramError::TooLong { program, call, limit, output: running.shown_output() })
            }
        }
    }

    fn start(&self) -> io::Result<Running> {
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).args(self.arguments).current_dir("/").env_clear();
        for name in ENVIRONMENT {
            std::env::var_os(name).map(|value| command.env(name, value));
        }
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0).kill_on_drop(true);
        let output = Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let child = command.spawn()?;
        let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
        Ok(Running { group, child, output, open: true, kept: VecDeque::new() })
    }
}

/// Fields drop in this order: the group is signalled before its leader is reaped, while its id cannot be reused.
struct Running {
    group: Group,
    child: Child,
    output: Receiver,
    open: bool,
    kept: VecDeque<u8>,
}

/// Kills the process group on drop; `None` once it is released.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        // An error means that the group is gone already.
        self.0.map(|id| killpg(id, signal));
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

impl Running {
    /// Waits for the program itself and not for the end of its output, which a process left behind may hold open. Can be
    /// dropped and called again.
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        let mut buffer = [0; KEPT];
        loop {
            tokio::select! {
                status = self.child.wait() => {
                    self.group.0 = None;
                    return status;
                }
                ready = self.output.readable(), if self.open => match ready.and_then(|()| self.output.try_read(&mut buffer)) {
                    Ok(0) => self.open = false,
                    Ok(length) => keep(&mut self.kept, &buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => self.open = false,
                },
            }
        }
    }

    /// Ends the whole group.
    async fn end(&mut self) {
        let id = Group(self.group.0);
        self.group.signal(Signal::SIGTERM);
        let _ = timeout(GRACE, self.ended()).await;
        // SIGKILL for the processes of the group that ignored SIGTERM.
        drop(id);
        let _ = timeout(GRACE, self.ended()).await;
    }

    /// The end of the output, redacted and escaped.
    fn shown_output(&mut self) -> String {
        if let Ok(rest) = self.output.as_fd().try_clone_to_owned() {
            // Does not block: the pipe is non-blocking.
            let (mut rest, mut buffer) = (File::from(rest), [0; KEPT]);
            for _ in 0..LAST_READS {
                match rest.read(&mut buffer) {
                    Ok(length) if length > 0 => keep(&mut self.kept, &buffer[..length]),
                    _ => break,
                }
            }
        }
        // Before shortening, which could remove the marker of a private key.
        let text = redact(&String::from_utf8_lossy(self.kept.make_contiguous()), []);
        let text = text.trim();
        let before = text.chars().count().saturating_sub(SHOWN);
        let end: String = text.chars().skip(before).collect();
        format!("{}{}", if before > 0 { "…" } else { "" }, escape(&end, SHOWN))
    }
}

fn keep(kept: &mut VecDeque<u8>, more: &[u8]) {
    kept.extend(more);
    kept.drain(..kept.len().saturating_sub(KEPT));
}

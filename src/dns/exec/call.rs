//! One run of the program, in its own process group and with a minimal environment. Only the end of its output is kept. The
//! whole group is killed when the time limit expires or the caller is dropped.

use core::time::Duration;
use std::io::{self, PipeWriter};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::ProgramError;
use super::pipe::Pipe;
use crate::text::{escape, redact};

/// From SIGTERM to SIGKILL, for a program that cleans up.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes kept of the output's end, which usually holds the error.
const KEPT: usize = 4096;
/// Characters shown of the output.
const SHOWN: usize = 1000;
/// Bytes of an answer; a thousand records have fewer.
const LONGEST_ANSWER: usize = 256 * 1024;
/// The variables passed on; none of them holds a secret.
const ENVIRONMENT: [&str; 4] = ["PATH", "LANG", "HOME", "TMPDIR"];

pub(super) struct Call<'a> {
    /// Not empty.
    pub(super) command: &'a [String],
    /// Appended to the command: task, name, and more.
    pub(super) arguments: &'a [&'a str],
    pub(super) limit: Duration,
}

impl Call<'_> {
    pub(super) async fn run(&self) -> Result<(), ProgramError> {
        self.ended(None).await.map(drop)
    }

    /// What the program writes to its standard output; an error if that is too much, or no text.
    pub(super) async fn read(&self) -> Result<String, ProgramError> {
        let (answer, writer) = Pipe::new(LONGEST_ANSWER).map_err(|source| self.cannot(source))?;
        let answer = self.ended(Some((answer, writer))).await?;
        let mut answer = answer.ok_or_else(|| self.malformed("nothing".to_owned()))?;
        let text = String::from_utf8(answer.rest().to_vec());
        if answer.overflowed {
            return Err(self.malformed(format!("more than {LONGEST_ANSWER} bytes")));
        }
        text.map_err(|_| self.malformed("what is not UTF-8".to_owned()))
    }

    pub(super) fn malformed(&self, what: String) -> ProgramError {
        ProgramError::Malformed { program: self.command[0].clone(), call: self.shown(), what }
    }

    fn cannot(&self, source: io::Error) -> ProgramError {
        ProgramError::Start { program: self.command[0].clone(), source: Arc::new(source) }
    }

    /// Task and name; a value is nobody else's business.
    fn shown(&self) -> String {
        self.arguments.iter().take(2).copied().collect::<Vec<_>>().join(" ")
    }

    async fn ended(&self, answer: Option<(Pipe, PipeWriter)>) -> Result<Option<Pipe>, ProgramError> {
        let mut running = self.start(answer).map_err(|source| self.cannot(source))?;
        let (program, call, limit) = (self.command[0].clone(), self.shown(), self.limit);
        match timeout(limit, running.ended()).await {
            Ok(status) => {
                let status = status.map_err(|source| self.cannot(source))?;
                if status.success() {
                    return Ok(running.answer.take());
                }
                Err(ProgramError::Failed { program, call, status, output: running.shown_output() })
            }
            Err(_) => {
                running.end().await;
                Err(ProgramError::TooLong { program, call, limit, output: running.shown_output() })
            }
        }
    }

    fn start(&self, answer: Option<(Pipe, PipeWriter)>) -> io::Result<Running> {
        let (output, writer) = Pipe::new(KEPT)?;
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).args(self.arguments).current_dir("/").env_clear();
        for name in ENVIRONMENT {
            std::env::var_os(name).map(|value| command.env(name, value));
        }
        let (answer, stdout) = match answer {
            Some((answer, stdout)) => (Some(answer), stdout),
            None => (None, writer.try_clone()?),
        };
        command.stdin(Stdio::null()).stdout(stdout).stderr(writer).process_group(0).kill_on_drop(true);
        let child = command.spawn()?;
        let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
        Ok(Running { group, child, output, answer })
    }
}

/// Fields drop in this order: the group is signalled before its leader is reaped, while its id cannot be reused.
struct Running {
    group: Group,
    child: Child,
    output: Pipe,
    /// Its standard output, if that is not among the rest.
    answer: Option<Pipe>,
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
        loop {
            let answer = async {
                match &mut self.answer {
                    Some(answer) if answer.open => answer.take().await,
                    _ => core::future::pending().await,
                }
            };
            tokio::select! {
                status = self.child.wait() => {
                    self.group.0 = None;
                    return status;
                }
                () = self.output.take(), if self.output.open => {}
                () = answer => {}
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
        // Before shortening, which could remove the marker of a private key.
        let text = redact(&String::from_utf8_lossy(self.output.rest()), []);
        let text = text.trim();
        let before = text.chars().count().saturating_sub(SHOWN);
        let end: String = text.chars().skip(before).collect();
        format!("{}{}", if before > 0 { "…" } else { "" }, escape(&end, SHOWN))
    }
}

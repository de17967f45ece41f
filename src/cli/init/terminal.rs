//! Questions on a terminal, and a way out of each that leaves the terminal as it was.

use std::io::{BufRead as _, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::sync::Mutex;

use dialoguer::console::Term;
use dialoguer::{Confirm, Error, Input, Select};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::mutex::lock;
use crate::report::Exit;

use super::Fault;

pub(super) struct Terminal {
    term: Term,
}

impl Terminal {
    pub(super) fn new() -> Self {
        Self { term: Term::stderr() }
    }

    /// Asks until the answer is good. `default`: what Enter alone stands for.
    pub(super) fn line(
        &self,
        prompt: &str,
        default: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<String, Fault> {
        let mut input = Input::<String>::new().with_prompt(prompt).allow_empty(true);
        if !default.is_empty() {
            input = input.default(default.to_owned());
        }
        let input = input.validate_with(|answer: &String| check(answer.trim()));
        input.interact_text_on(&self.term).map(|answer| answer.trim().to_owned()).map_err(of)
    }

    /// Not echoed: the terminal is silent before the prompt is there, so that what is pasted early is not shown either.
    pub(super) fn secret(&self, prompt: &str) -> Result<Zeroizing<String>, Fault> {
        const LONGEST: u64 = 4096;
        let stdin = std::io::stdin();
        let ask = || {
            let before = tcgetattr(&stdin)?;
            let mut silent = before.clone();
            silent.local_flags.remove(LocalFlags::ECHO);
            tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent)?;
            self.term.write_str(&format!("{prompt}: "))?;
            let mut line = Zeroizing::new(String::with_capacity(LONGEST as usize));
            let read = stdin.lock().take(LONGEST).read_line(&mut line);
            tcsetattr(&stdin, SetArg::TCSANOW, &before)?;
            self.term.write_line("")?;
            // Ctrl-D.
            if read? == 0 { Err(ErrorKind::Interrupted.into()) } else { Ok(Zeroizing::new(line.trim().to_owned())) }
        };
        ask().map_err(|error| of(Error::IO(error)))
    }

    pub(super) fn confirm(&self, prompt: &str, default: bool) -> Result<bool, Fault> {
        Confirm::new().with_prompt(prompt).default(default).interact_on(&self.term).map_err(of)
    }

    /// The number of the chosen one.
    pub(super) fn choose(&self, prompt: &str, choices: &[String]) -> Result<usize, Fault> {
        Select::new().with_prompt(prompt).items(choices).default(0).interact_on(&self.term).map_err(of)
    }
}

fn of(error: Error) -> Fault {
    let Error::IO(error) = error;
    if error.kind() == ErrorKind::Interrupted {
        return interrupted();
    }
    Fault::usage(format!("the terminal: {error}\n  next: give the answers by options, see certd init --help"))
}

fn interrupted() -> Fault {
    let text = "interrupted: nothing was written\n  next: run certd init again".to_owned();
    Fault { exit: Exit::Usage, texts: vec![text] }
}

/// Runs `work` beside the signals that end it. `changing` is held while it changes something: then its end is awaited.
pub(super) fn interruptible<T: Send + 'static>(
    runtime: &Runtime,
    changing: &Mutex<()>,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let before = Before::now();
    let (sender, mut done) = oneshot::channel();
    let result = runtime.block_on(async {
        let listen = |kind| signal(kind).map_err(|error| Fault::usage(format!("no signal handler: {error}")));
        let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        // The login was lost.
        let mut hangup = listen(SignalKind::hangup())?;
        // A question blocks its thread, and nothing but the end of the process ends it.
        std::thread::spawn(move || drop(sender.send(work())));
        tokio::select! {
            result = &mut done => return result.unwrap_or_else(|_| Err(interrupted())),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        let held = lock(changing);
        let result = done.try_recv().unwrap_or_else(|_| Err(interrupted()));
        // For good: what waits for it must not begin.
        core::mem::forget(held);
        result
    });
    before.restore();
    result
}

/// The terminal's settings before the first question.
pub(super) struct Before(Option<Termios>);

impl Before {
    pub(super) fn now() -> Self {
        let stdin = std::io::stdin();
        Self(stdin.is_terminal().then(|| tcgetattr(&stdin).ok()).flatten())
    }

    /// It may be in the middle of a question: without echo, or without a cursor.
    pub(super) fn restore(self) {
        const SHOW_CURSOR: &[u8] = b"\x1b[?25h";
        let Some(settings) = self.0 else { return };
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &settings);
        let mut stderr = std::io::stderr().lock();
        if stderr.is_terminal() {
            let _ = stderr.write_all(SHOW_CURSOR);
        }
    }
}

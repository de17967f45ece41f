//! The process that writes: root still, where certd was started so, and connected to nobody. What it writes, and where, it
//! takes from its own options; from the other process it takes texts.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use crate::config::{defaults, parse};
use crate::import::EAB_FILE;
use crate::ops::init::files::{NewFile, edit, generate_key, write_new};
use crate::report::Exit;

use super::terminal::{Before, Terminal};
use super::{Answers, Fault, Init, Options, absolute, output, setup, trusted};

/// Bytes: two texts of a configuration.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Starts this program again as the process that asks, with the same options. `Err`: its exit code; it has said why.
pub(super) fn ask() -> Result<Result<Answers, u8>, Fault> {
    let failed = |error: std::io::Error| Fault {
        exit: Exit::Internal,
        texts: vec![format!("the process that asks does not start: {error}\n  next: see why the system refuses it")],
    };
    let runtime = setup::runtime()?;
    let before = Before::now();
    let asked = async {
        // Ctrl-C, or the end of the login, is for the other process, which has the terminal; this one waits for its end.
        let _kept = [SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .arg("--answers")
            .stdout(Stdio::piped())
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let stdout = child.stdout.take();
        let mut end = core::pin::pin!(async {
            let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
            if let Some(stdout) = stdout {
                stdout.take(LONGEST).read_to_end(&mut text).await?;
            }
            Ok::<_, std::io::Error>((text, child.wait().await?))
        });
        tokio::select! {
            ended = &mut end => ended,
            _ = terminate.recv() => {
                // It puts the terminal in order; if it is gone already, so much the better.
                let _ = id.map(|id| kill(id, Signal::SIGTERM));
                end.await
            }
        }
    };
    let (text, status) = runtime.block_on(asked).map_err(failed)?;
    runtime.shutdown_background();
    if !status.success() {
        // The thread that asks may have gone on to the next key while its process ended.
        before.restore();
        return Ok(Err(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Internal.code())));
    }
    serde_json::from_slice(&text).map(Ok).map_err(|error| failed(error.into()))
}

/// Whether anything was written.
pub(super) fn write(init: &Init, options: &Options, answers: Answers) -> Result<bool, Fault> {
    let path = absolute(&options.config);
    let shown = path.display().to_string();
    if let Some((before, after)) = &answers.edit {
        checked(&shown, after)?;
        if !trusted::added_to(before, after) {
            return Err(not_asked(&shown, after));
        }
        edit(&path, before, after)?;
        output::text(&format!("written: {shown}\n"));
        return Ok(true);
    }
    let Some(config) = answers.config else {
        output::text(&format!("{shown}: nothing to add; DNS shows no address that is not a node's\n"));
        return Ok(false);
    };
    checked(&shown, &config)?;
    let draft = init.begun(options)?;
    let eab_file = path.with_file_name(EAB_FILE).display().to_string();
    let imported = init.from.nodes().is_some();
    if !trusted::first_is_of(&draft.render(), &config, imported, &eab_file) {
        return Err(not_asked(&shown, &config));
    }
    let mut files = Vec::new();
    let token = answers.token.map(Zeroizing::new);
    if let Some((token, file)) = token.zip(draft.dns.token_file.as_ref()) {
        let text = Zeroizing::new(format!("{}\n", token.as_str()));
        files.push(NewFile { path: PathBuf::from(file), mode: 0o600, text });
    }
    if let Some(text) = answers.eab.map(Zeroizing::new) {
        files.push(NewFile { path: path.with_file_name(EAB_FILE), mode: 0o600, text });
    }
    files.push(NewFile { path, mode: 0o644, text: Zeroizing::new(config) });
    let key = draft.ssh.identity_files.first().filter(|_| answers.generate_key);
    let line = key.map(|file| generate_key(Path::new(file))).transpose()?;
    write_new(&files).inspect_err(|_| {
        // Made a moment ago; nobody knows it.
        let halves = key.map(PathBuf::from).into_iter().flat_map(|file| [file.with_added_extension("pub"), file]);
        halves.for_each(|file| _ = std::fs::remove_file(file));
    })?;
    let written = files.iter().map(|file| format!("written: {}\n", file.path.display()));
    output::text(&written.collect::<String>());
    if let Some((line, file)) = line.zip(key) {
        let user = draft.ssh.user.as_deref().unwrap_or(defaults::SSH_USER);
        let_in(init, user, &line, file);
    }
    Ok(true)
}

fn checked(shown: &str, text: &str) -> Result<(), Fault> {
    let Err(errors) = parse(text) else { return Ok(()) };
    let last =
        format!("nothing was written, since this would not be a configuration:\n{text}\n  next: see the errors above");
    let texts = errors.iter().map(|error| error.render(shown)).chain([last]).collect();
    Err(Fault { exit: Exit::Usage, texts })
}

/// It would have been written by a process that somebody else has got hold of.
fn not_asked(shown: &str, text: &str) -> Fault {
    let what = format!(
        "{shown}: nothing was written: the process that asks changed more than nodes, names and installs in it:\n{text}\n  next: \
         look at each file that it names; then write it by hand"
    );
    Fault { exit: Exit::Internal, texts: vec![what] }
}

/// A new key is in no authorized_keys yet.
fn let_in(init: &Init, user: &str, line: &str, file: &str) {
    output::text(&format!(
        "written: {file}, a new key; let it in on each node, by this line in ~{user}/.ssh/authorized_keys:\n  restrict \
         {line}\nor, better, with a login of yours, by an account that can only receive certificates:\n  certd node setup \
         NODE --login USER\n"
    ));
    if init.asks() {
        // All is written: without the answer, the checkup comes at once.
        let _ = Terminal::new().line("Enter when that is done, for the checkup", "", |_| Ok(()));
    }
}

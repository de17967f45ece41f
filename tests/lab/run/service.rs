//! A running `certd run`, and the service manager that hears it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use super::lab::Lab;
use super::lab::process::{signal, wait_until};

/// From the signal to the end of the process.
const SOON: Duration = Duration::from_secs(10);
/// A message that has not come within this time will not come; a minute's schedule is within it.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Running {
    child: Child,
    manager: UnixDatagram,
    stdout: PathBuf,
    stderr: PathBuf,
    /// Up to here stderr was waited for.
    seen: usize,
}

impl Running {
    pub(crate) fn start(lab: &Lab, environment: &[(&str, &str)]) -> Self {
        let path = |name: &str| {
            let free = (0..).map(|n| lab.folder.join(format!("run-{n}.{name}"))).find(|path| !path.exists());
            free.unwrap()
        };
        let (stdout, stderr, socket) = (path("stdout"), path("stderr"), path("socket"));
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = lab.command(&["run"]);
        command.env("NOTIFY_SOCKET", &socket).envs(environment.iter().copied());
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        Self { child: lab.spawn(command), manager, stdout, stderr, seen: 0 }
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Returns when the manager gets this message, from now on.
    #[track_caller]
    pub(crate) fn hear(&mut self, words: &str) {
        let mut buffer = [0; 4096];
        loop {
            let length = match self.manager.recv(&mut buffer) {
                Ok(length) => length,
                // signal(7): a receive with a time limit is not begun again after a signal, such as the end of a child.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    panic!("the manager does not hear {words:?}: {error}\n{}\n{}", self.stderr(), self.stdout())
                }
            };
            if String::from_utf8_lossy(&buffer[..length]).contains(words) {
                return;
            }
        }
    }

    /// Returns when a line of the journal has these words, after the one that was waited for before.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, words: &str) {
        let found = |all: String| Some(self.seen + all.get(self.seen..)?.find(words)? + words.len());
        // A minute's schedule takes more than one patience.
        let there = (0..3).any(|_| wait_until(|| found(self.stderr()).is_some()));
        assert!(there, "no {words:?} in\n{}", self.stderr());
        self.seen = found(self.stderr()).unwrap();
    }

    /// Returns when a report has these words.
    #[track_caller]
    pub(crate) fn wait_for_report(&self, words: &str) {
        assert!(wait_until(|| self.stdout().contains(words)), "no {words:?} in\n{}\n{}", self.stderr(), self.stdout());
    }

    pub(crate) fn hang_up(&self) {
        signal("HUP", &[self.child.id()]);
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    #[track_caller]
    pub(crate) fn ends(&mut self, code: i32) {
        signal("TERM", &[self.child.id()]);
        let soon = (0..SOON.as_millis() / 10).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            self.child.try_wait().unwrap().is_some()
        });
        assert!(soon, "it does not end:\n{}", self.stderr());
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{}\n{}", self.stderr(), self.stdout());
    }
}

//! Child processes that cannot outlive their lab.
//!
//! A reaper (a small shell script) waits for the end of a pipe that only this process holds. However the test ends, by
//! returning, by a panic or by SIGKILL, the pipe ends too, and the reaper kills what the lab started, unmounts what it
//! mounted and removes its folder. An error means: a program did not start, and the panic shows the tail of its log.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Every process of a lab has this in its environment, sshd's sessions too (`SetEnv`).
pub const MARK: &str = "CERTD_LAB";

/// Long enough for a busy machine; nothing waits this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);

const REAPER: &str = r##"
trap '' INT TERM HUP
cat >/dev/null
cd /
alive() {
    for file in "$1"/run/*; do
        [ -e "$file" ] || continue
        pid=${file##*/}
        sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | {
            read -r state _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ start _
            [ "$state" != Z ] && [ "$start" = "$(cat "$file")" ] && echo "$pid"
        }
    done
    grep -lsF "$2" /proc/[0-9]*/environ | cut -d/ -f3
    # A worker of nginx writes its title over its environment, and may have lost its master: its log tells whose it is.
    ls -l /proc/[0-9]*/fd/2 2>/dev/null | sed -n "s#.* /proc/\([0-9]*\)/fd/2 -> $1/.*#\1#p"
}
round=0
while roots=$(alive "$1" "$2" | tr '\n' ' '); [ -n "$roots" ] && [ $round -lt 100 ]; do
    kill -KILL $(ps -e -o pid=,ppid= | awk -v roots="$roots" '
        { parent[$1] = $2 }
        END {
            n = split(roots, r, " "); for (i = 1; i <= n; i++) dead[r[i]] = 1
            do { more = 0; for (p in parent) if (!(p in dead) && (parent[p] in dead)) { dead[p] = 1; more = 1 } } while (more)
            for (p in dead) print p
        }') 2>/dev/null
    round=$((round + 1)); sleep 0.01
done
cut -d' ' -f2 /proc/mounts | grep -F "$1/" | while read -r at; do
    if [ "$(id -u)" = 0 ]; then umount -l "$at"; else sudo -n umount -l "$at"; fi
done
[ -n "$3" ] || rm -rf "$1"
"##;

pub struct Reaper {
    folder: PathBuf,
    mark: String,
    script: Child,
    pipe: Option<ChildStdin>,
}

impl Reaper {
    /// Watches over `folder`; `CERTD_LAB_KEEP=1` keeps the folder with its logs at the end.
    pub fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("run")).expect("the lab's folder is ours");
        let mark = folder.file_name().expect("a temporary folder has a name").to_string_lossy().into_owned();
        let mut script = Command::new("sh")
            .args(["-c", REAPER, "reaper"])
            .args([folder.as_os_str(), format!("{MARK}={mark}").as_ref()])
            .arg(std::env::var_os("CERTD_LAB_KEEP").unwrap_or_default())
            .env_remove(MARK)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let pipe = script.stdin.take();
        Self { folder: folder.into(), mark, script, pipe }
    }

    /// A command that the reaper will find; its output goes to `<folder>/<name>.log`.
    pub fn spawn(&self, name: &str, mut command: Command) -> Process {
        let log = self.folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).expect("the lab's folder is ours");
        let offset = out.metadata().expect("an open file has a size").len();
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a file can be cloned"))
            .stderr(out)
            .env(MARK, &self.mark)
            .process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} ({command:?}) does not start: {error}"));
        let record = self.record(child.id());
        Process { name: name.into(), child, log, offset, record }
    }

    /// `KEY=value` for children that are started elsewhere.
    pub fn mark(&self) -> (&'static str, &str) {
        (MARK, &self.mark)
    }

    pub fn record(&self, pid: u32) -> PathBuf {
        let record = self.folder.join("run").join(pid.to_string());
        fs::write(&record, stat(pid).map(|s| s.start).unwrap_or_default()).expect("the lab's folder is ours");
        record
    }

    /// The processes of this lab that are alive, with everything below them.
    pub fn pids(&self) -> Vec<u32> {
        let records = fs::read_dir(self.folder.join("run")).into_iter().flatten().flatten();
        records.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).flat_map(tree).collect()
    }

    /// The shells of this lab: what certd runs on nodes, also where its session is over.
    pub fn shells(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}\0", self.mark);
        let is_ours = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sh")
                && fs::read(format!("/proc/{pid}/environ"))
                    .is_ok_and(|all| String::from_utf8_lossy(&all).contains(&mark))
        };
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.script.wait();
    }
}

pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    offset: u64,
    record: PathBuf,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it wrote since this start.
    pub fn log(&self) -> String {
        let all = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(all.get(self.offset as usize..).unwrap_or_default()).into_owned()
    }

    /// Returns when the log holds `line`; panics with the log when the program ends first.
    pub fn wait_for_log(&mut self, line: &str) {
        let seen = wait_until(|| self.log().contains(line) || self.child.try_wait().is_ok_and(|end| end.is_some()));
        assert!(seen && self.log().contains(line), "{} is not ready, no {line:?} in:\n{}", self.name, self.log());
    }

    /// Ends it with all that it started, and waits for that.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.child.try_wait().is_ok_and(|end| end.is_none()) {
            let all = tree(self.id());
            signal("KILL", &all);
            let _ = self.child.wait();
            wait_until(|| all.iter().all(|pid| stat(*pid).is_none_or(|s| s.state == "Z")));
        }
        let _ = fs::remove_file(&self.record);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks again every few milliseconds; false when the patience is at its end.
pub fn wait_until(mut done: impl FnMut() -> bool) -> bool {
    #[expect(clippy::disallowed_methods, reason = "what is asked may take longer than the pause between two questions")]
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if done() {
            return true;
        }
        thread::sleep(POLL);
    }
    done()
}

/// Runs a command to its end and returns its stdout; panics with its stderr when it fails.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command as root: itself or through sudo, which must not ask.
pub fn as_root(program: &str) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub fn signal(name: &str, pids: &[u32]) {
    let list = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let _ = Command::new("sh").args(["-c", &format!("kill -{name} {list} 2>/dev/null")]).status();
}

pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != "Z")
}

/// A process and all below it, parents first.
fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut all = vec![root];
    let mut next = 0;
    while let Some(parent) = all.get(next).copied() {
        all.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid));
        next += 1;
    }
    all.retain(|pid| is_alive(*pid));
    all
}

struct Stat {
    state: String,
    parent: u32,
    start: String,
}

/// proc(5): the fields after the command's closing parenthesis; the start time is the 22nd.
fn stat(pid: u32) -> Option<Stat> {
    let text: io::Result<String> = fs::read_to_string(format!("/proc/{pid}/stat"));
    let text = text.ok()?;
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    Some(Stat {
        state: fields.first()?.to_string(),
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.to_string(),
    })
}

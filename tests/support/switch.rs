//! What one switch costs on a node: the node program by itself, as it comes over SSH, beside a plain script with the same two
//! files, test and reload. Wall time and CPU time with all programs that are started; how many, by strace where that is.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use certd::node::{BOOTSTRAP, SEPARATOR, compact, sized};

use super::lab::{Lab, SERVICE};

const SOURCE: &str = include_str!("../../src/node/receive.sh");
const RUNS: usize = 20;

pub(super) fn show(lab: &Lab) {
    let node = &lab.nodes[0];
    let at = node.folder.display();
    let nginx = format!("/usr/sbin/nginx -p {at} -e {at}/logs/error.log -c {at}/conf/nginx.conf");
    let (test, reload) = (format!("{nginx} -t"), format!("{nginx} -s reload"));
    let (chain, key) = (node.fullchain(SERVICE), node.key(SERVICE));
    println!("\n          a switch on a node: wall      CPU   (median and mean of {RUNS})");
    let mut number = 0;
    let pair = || lab.old_authority.issue(&[SERVICE.to_owned()], 90);
    let mut shells = vec!["dash", "bash"];
    shells.retain(|shell| Command::new(shell).args(["-c", ":"]).status().is_ok_and(|status| status.success()));
    for shell in &shells {
        let mut deliver = |watch: &[&str]| {
            number += 1;
            let opening = opening(&chain, &key, &test, &reload, &pair(), number);
            let begun = now();
            switch(&[watch, &[*shell]].concat(), &opening);
            begun.elapsed().as_secs_f64()
        };
        deliver(&[]);
        measured(&format!("certd, {shell}"), || deliver(&[]));
        let trace = lab.folder.join("trace");
        let file = trace.display().to_string();
        if Command::new("strace").arg("-V").output().is_ok() {
            deliver(&["strace", "-f", "-o", &file, "-e", "trace=execve,fork,vfork,clone,clone3"]);
            let text = fs::read_to_string(&trace).expect("strace wrote it");
            let ends = |what: &[&str]| {
                let is_one = |line: &&str| what.iter().any(|call| line.contains(call)) && !line.contains("= -1");
                text.lines().filter(is_one).filter(|line| !line.contains("unfinished")).count()
            };
            println!("{:>16}  {} programs, {} forks", "", ends(&["execve"]), ends(&["fork", "clone"]));
        }
    }
    measured("plain sh -s", || {
        let (chain_text, key_text) = pair();
        let (chain, key) = (chain.display(), key.display());
        let script = format!(
            "set -e; umask 077\ncat >{chain}.new <<'X'\n{chain_text}X\ncat >{key}.new <<'X'\n{key_text}X\n\
             mv {chain}.new {chain}; mv {key}.new {key}\n{test} 2>&1\n{reload}\n"
        );
        let begun = now();
        let mut child = started(&["dash", "-s"]);
        child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("it reads");
        assert!(child.wait().expect("ours").success());
        begun.elapsed().as_secs_f64()
    });
}

fn measured(name: &str, mut run: impl FnMut() -> f64) {
    let before = of_children();
    let mut walls: Vec<f64> = (0..RUNS).map(|_| run()).collect();
    let cpu = (of_children() - before) * 1000.0 / f64::from(u32::try_from(RUNS).expect("small"));
    walls.sort_by(f64::total_cmp);
    println!("{name:>16}  {:>17.3} s  {cpu:>4.0} ms", walls[RUNS / 2]);
}

/// CPU time of all children that have been waited for, in seconds: proc(5), fields 16 and 17, a hundredth each.
fn of_children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let (_, fields) = stat.rsplit_once(") ").expect("proc(5)");
    fields.split(' ').skip(13).take(2).map(|field| field.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}

fn opening(chain: &Path, key: &Path, test: &str, reload: &str, pair: &(String, String), number: u32) -> Vec<u8> {
    // A delivery carries no look.
    let (before, rest) = SOURCE.split_once("# --- look").expect("a section");
    let (_, after) = rest.split_once("#@forms").expect("a marker");
    let words =
        |name: &str, command: &str| command.split(' ').map(|word| format!("{name} {word}\n")).collect::<String>();
    let hex =
        |text: &str| digest(&SHA256, text.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect::<String>();
    let dialogue = format!(
        "END\nnonce 0123456789abcdef\ncertd 3\nname measure\ngeneration {}-0a\nfullchain {}\nkey {}\n{}{}\
         chain-pem {}\n{}.\nkey-pem {}\n{}.\nend\n",
        20_260_101_000_000_u64 + u64::from(number),
        chain.display(),
        key.display(),
        words("test", test),
        words("reload", reload),
        hex(&pair.0),
        pair.0,
        hex(&pair.1),
        pair.1,
    );
    sized(&[&compact(&[before, after].concat()), SEPARATOR, &dialogue]).to_vec()
}

fn started(words: &[&str]) -> Child {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("it is installed")
}

fn switch(shell: &[&str], opening: &[u8]) {
    let line = BOOTSTRAP.strip_prefix("exec sh -c '").and_then(|rest| rest.strip_suffix('\'')).expect("its shape");
    let mut child = started(&[shell, &["-c", line]].concat());
    let (mut stdin, mut stdout) =
        (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
    for (said, verb) in [(opening, "prepared"), (&b"commit\n"[..], "committed")] {
        stdin.write_all(said).expect("it reads");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("UTF-8");
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(fields.get(2), Some(&verb), "{line}");
        let mut body = vec![0; fields[3].parse().expect("a length")];
        stdout.read_exact(&mut body).expect("as long as it says");
    }
    stdin.write_all(b"done\n").expect("it reads");
    drop(stdin);
    child.wait().expect("ours");
}

#[expect(clippy::disallowed_methods, reason = "wall time is what is measured")]
fn now() -> Instant {
    Instant::now()
}

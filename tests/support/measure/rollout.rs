//! A rollout of a stored certificate to a fleet on loopback, canary and proof included; and beside it what a shell does in
//! parallel with plain `ssh`: two files, the configuration test, the reload, and nothing checked.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::lab::config::ConfigText;
use crate::lab::pebble::PebbleOptions;
use crate::lab::{Lab, Options, SERVICE};
use crate::{RUNS, Row, Run, is_installed, measured, row, timed};

const NODES: usize = 10;

pub(crate) fn lab(certd: &Path) -> Lab {
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let lab = Lab::start(Options { pebble, certd: certd.into(), ..Options::nodes(NODES) });
    lab.write_config_with(&ConfigText::default());
    lab
}

pub(crate) fn rows(lab: &Lab) -> Vec<Row> {
    // Two generations, between which an operator goes back and forth.
    let renew = |arguments: &[&str]| {
        let output = lab.certd(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        let current = fs::read_link(lab.state_dir().join("certs").join(SERVICE).join("current"));
        current.ok().and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()))
    };
    let first = renew(&["renew", "-q"]).expect("it is stored");
    renew(&["renew", "--force", SERVICE, "-q"]);
    let deploy = |which: &[&str]| {
        let mut command = timed(lab, lab.certd_binary());
        command.args(["deploy", SERVICE, "-q"]).args(which).arg("--config").arg(lab.config_path());
        // A hold is a warning.
        measured(lab, &mut command, &[0, 3])
    };
    let both = || [deploy(&["--generation", &first]), deploy(&["--latest"])];
    let ours: Vec<Run> = (0..RUNS / 2).flat_map(|_| both()).collect();
    let peer = match is_installed("xargs") {
        true => Ok(("`ssh 'sh -s'` by xargs, nothing checked", of_ssh(lab))),
        false => Err("ssh by xargs: not measured, since xargs is not installed".to_owned()),
    };
    vec![row(format!("rollout, {NODES} nodes, no delay on the wire, canary and proof included"), &ours, peer)]
}

fn of_ssh(lab: &Lab) -> Vec<Run> {
    let folder = lab.folder.join("plain");
    fs::create_dir_all(&folder).expect("the lab's folder is ours");
    let mut options = String::new();
    for node in &lab.nodes {
        let _ = writeln!(
            options,
            "Host {}\n HostName {}\n Port {}\n User {}\n IdentityFile {}\n IdentitiesOnly yes\n BatchMode yes\n \
             StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR",
            node.name,
            node.ssh.ip(),
            node.ssh.port(),
            crate::lab::user(),
            lab.folder.join("id_ed25519").display(),
        );
        let read = |path: &Path| fs::read_to_string(path).expect("it was delivered");
        let place = node.folder.join("plain");
        let script = format!(
            "set -e\nmkdir -p {place}\ncat > {place}/fullchain.pem <<'E'\n{}E\ncat > {place}/privkey.pem <<'E'\n{}E\n{}\n{}\n",
            read(&node.fullchain(SERVICE)),
            read(&node.key(SERVICE)),
            node.test_command().join(" "),
            node.reload_command().join(" "),
            place = place.display(),
        );
        fs::write(folder.join(&node.name), script).expect("the lab's folder is ours");
    }
    fs::write(folder.join("config"), options).expect("the lab's folder is ours");
    let names: Vec<&str> = lab.nodes.iter().map(|node| node.name.as_str()).collect();
    let run = || {
        let mut command: Command = timed(lab, Path::new("sh"));
        command.current_dir(&folder).arg("-c").arg(format!(
            "printf '%s\\n' {} | xargs -P {NODES} -I HOST sh -c 'ssh -F config HOST sh -s < HOST'",
            names.join(" ")
        ));
        measured(lab, &mut command, &[0])
    };
    (0..RUNS).map(|_| run()).collect()
}

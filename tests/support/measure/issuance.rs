//! One issuance against the lab's Pebble without its validation sleep. The nodes are paused, so that issuing alone is
//! measured. Each has its account already. lego is spared the wait for the name servers, which certd does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::lab::config::ConfigText;
use crate::lab::pebble::PebbleOptions;
use crate::lab::{Lab, Options, SERVICE};
use crate::{RUNS, Row, Run, is_installed, measured, row, timed};

pub(crate) fn rows(certd: &Path) -> Vec<Row> {
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let lab = Lab::start(Options { pebble, certd: certd.into(), ..Options::nodes(1) });
    let paused = vec![(lab.nodes[0].name.clone(), "paused_until = \"2099-01-01\"".to_owned())];
    lab.write_config_with(&ConfigText { nodes: paused, ..ConfigText::default() });
    let before = lab.proxy.script.calls().len();
    let ours = of_certd(&lab, certd);
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let requests = (lab.proxy.script.calls().len() - before) as f64 / (RUNS + 1) as f64;
    let work = format!("issuance at Pebble without its sleep ({requests:.1} requests)");
    let peer = match is_installed("lego") {
        true => Ok(("lego", of_lego(&lab))),
        false => Err("lego: not measured, since it is not installed (apt-get install lego)".to_owned()),
    };
    vec![row(work, &ours, peer)]
}

fn of_certd(lab: &Lab, certd: &Path) -> Vec<Run> {
    let renew = || {
        let mut command = timed(lab, certd);
        command.args(["renew", "-q", "--config"]).arg(lab.config_path());
        measured(lab, &mut command, &[0, 3])
    };
    renew();
    let again = || {
        for kept in ["certs", "ledger.jsonl", "state.json"] {
            let path = lab.state_dir().join(kept);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.expect("the first run has made it");
        }
        renew()
    };
    (0..RUNS).map(|_| again()).collect()
}

fn of_lego(lab: &Lab) -> Vec<Run> {
    let script = lab.folder.join("lego-exec");
    fs::write(&script, lab.dns.exec_script()).expect("the lab's folder is ours");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let run = || {
        let mut command = timed(lab, Path::new("lego"));
        command.args(["-a", "-m", "ops@example.test", "-d", SERVICE, "--dns", "exec", "--dns.disable-cp"]);
        command.args(["--server", &lab.proxy.directory(), "--path"]).arg(lab.folder.join("lego")).arg("run");
        command.env("LEGO_CA_CERTIFICATES", lab.folder.join("api-root.pem")).env("EXEC_PATH", &script);
        measured(lab, &mut command, &[0])
    };
    run();
    (0..RUNS).map(|_| run()).collect()
}

//! `certd check` of the fleet, and beside it the shortest script that makes the same handshakes at once.

use std::fs;
use std::path::Path;

use crate::lab::{Lab, SERVICE};
use crate::{RUNS, Row, is_installed, measured, row, timed};

const SCRIPT: &str = "
import asyncio, ssl, sys
async def look(at):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, port = at.rsplit(':', 1)
    _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=sys.argv[1])
    leaf = writer.get_extra_info('ssl_object').getpeercert(True)
    writer.close()
    return leaf
async def main():
    assert all(await asyncio.gather(*map(look, sys.argv[2:])))
asyncio.run(main())
";

pub(crate) fn rows(lab: &Lab) -> Vec<Row> {
    let check = || {
        let mut command = timed(lab, lab.certd_binary());
        command.args(["check", "-q", "--config"]).arg(lab.config_path());
        measured(lab, &mut command, &[0])
    };
    let ours: Vec<_> = (0..RUNS).map(|_| check()).collect();
    let script = lab.folder.join("look.py");
    fs::write(&script, SCRIPT).expect("the lab's folder is ours");
    let look = || {
        let mut command = timed(lab, Path::new("python3"));
        command.arg(&script).arg(SERVICE).args(lab.nodes.iter().map(|node| node.tls.to_string()));
        measured(lab, &mut command, &[0])
    };
    let peer = match is_installed("python3") {
        true => Ok(("asyncio, nothing verified", (0..RUNS).map(|_| look()).collect())),
        false => Err("asyncio: not measured, since python3 is not installed".to_owned()),
    };
    vec![row(format!("check, {} endpoints, no delay on the wire", lab.nodes.len()), &ours, peer)]
}

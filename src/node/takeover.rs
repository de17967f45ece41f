//! The script that switches other ACME clients off on a node, for certd's names alone, and puts them back: to be read
//! first, and run by root. There is no secret in it.

use core::fmt::Write as _;

use super::receiver::{COMMON, quoted};
use crate::cert::NodeName;
use crate::model::Renewal;
use crate::text::escape;

const TAKEOVER: &str = include_str!("takeover.sh");
/// What root may touch; of every such script.
pub(super) const TRUSTED: &str = include_str!("trusted.sh");

/// What a line of the script's says of something that it did not touch.
pub const LEFT: &str = "left: ";
/// What a line says of something that was switched off and can be put back.
pub const RECORDED: &str = "recorded: ";

/// What a line of the dry run says would be done.
pub const WOULD: &str = "would: ";

/// Switches these off, and whatever starts acme.sh where nothing is left for it to renew. `configured`: certd's paths there.
/// `agreed`: nothing but these lines of the dry run is done.
pub fn switch_off(node: &NodeName, off: &[Renewal], configured: &[String], agreed: Option<&[String]>) -> String {
    let agreed = agreed
        .map_or("asked='' agreed=''".to_owned(), |lines| format!("asked=yes agreed={}", quoted(&lines.join("\n"))));
    let what = "Switches off there what else renews or writes what certd delivers";
    script(node, "switch_off", what, &format!("dry='' {agreed}\n{}", items(off, configured)))
}

/// Says what that would do, and does nothing.
pub fn dry_run(node: &NodeName, off: &[Renewal], configured: &[String]) -> String {
    let what = "Says what else renews or writes there what certd delivers, and would be switched off";
    script(node, "switch_off", what, &format!("dry=yes asked='' agreed=''\n{}", items(off, configured)))
}

fn items(off: &[Renewal], configured: &[String]) -> String {
    let mut items = format!("configured={}\nitems() {{\n  :\n", quoted(&configured.join("\n")));
    for Renewal { client, file, names, .. } in off {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        let _ = writeln!(items, "  off {} {} {}", client.as_str(), quoted(file), quoted(&names.join(" ")));
    }
    items.push_str("}\n");
    items
}

/// Puts back whatever was switched off.
pub fn put_back(node: &NodeName) -> String {
    script(node, "put_back", "Puts back there what a takeover switched off", "")
}

/// Says what can be put back, and changes nothing.
pub fn recorded(node: &NodeName) -> String {
    script(node, "list", "Says what a takeover has switched off there", "")
}

fn script(node: &NodeName, task: &str, what: &str, items: &str) -> String {
    let node = escape(node.as_str(), 100);
    format!(
        "#!/bin/sh\n# For {node}. {what}.\n# Made by `certd node takeover`: to be read, and run by root (sh FILE). It can be \
         run again, and it holds no secret.\nos='' task={task}\n{items}{COMMON}\n{TRUSTED}\n{TAKEOVER}"
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::cert::DnsName;
    use crate::model::AcmeClient;

    #[test]
    fn the_scripts_pass_shellcheck_and_none_of_their_lines_ends_the_way_there() {
        let node = NodeName::parse("上海").unwrap();
        let item = Renewal {
            client: AcmeClient::AcmeSh,
            file: "/root/.acme.sh/it's/*.conf".to_owned(),
            names: vec![DnsName::parse("*.a.example").unwrap(), DnsName::parse("a.example").unwrap()],
            others: Vec::new(),
            paths: Vec::new(),
            elsewhere: Vec::new(),
        };
        let dry = dry_run(&node, core::slice::from_ref(&item), &[]);
        let off = switch_off(&node, &[item], &["/it's".to_owned()], Some(&["it's".to_owned()]));
        assert!(off.contains("\n  off acme.sh '/root/.acme.sh/it'\\''s/*.conf' '*.a.example a.example'\n"), "{off}");
        for script in [off, dry, put_back(&node), recorded(&node)] {
            assert!(script.lines().all(|line| line != "END"));
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("script"), &script).unwrap();
            let mut lint = Command::new("shellcheck");
            let lint = lint
                .args(["-s", "sh", "-e", "SC2015,SC1007,SC2034,SC2154,SC2329,SC2317"])
                .arg(dir.path().join("script"));
            let output = lint.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

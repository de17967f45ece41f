//! Homes that acme.sh itself made, of each Debian release that has it, with its own hook for Cloudflare: imported, nothing
//! is ordered, and the first renewal replaces what acme.sh had ordered.

use super::story::program;
use crate::lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use lab::pebble::PebbleOptions;
use lab::printed::exits;
use lab::process::output;
use lab::{Lab, Options, SERVICE};

/// Its home, with a certificate of the lab's CA that it installed on the node.
fn home(lab: &Lab, program: &Path, account_key: &str, key_length: &str) -> PathBuf {
    let home = lab.folder.join("acme-home");
    output(Command::new("cp").arg("-r").arg(program).arg(&home));
    // The hook is Debian's own, but for where the API is; and the double lists zones with other members first.
    let hook = home.join("dnsapi/dns_cf.sh");
    let zone = lab.cloudflare.with(|account| account.zones[0].id.clone());
    let text = fs::read_to_string(&hook).unwrap();
    let text = text.replace("https://api.cloudflare.com/client/v4", lab.cloudflare.base().trim_end_matches('/'));
    let root = format!("_get_root() {{\n  _domain_id={zone}\n  _domain=example.test\n}}\n");
    fs::write(&hook, format!("{text}\n{root}")).unwrap();
    let acme = |arguments: &[&str]| {
        let mut command = Command::new("sh");
        command.arg(home.join("acme.sh")).arg("--home").arg(&home).args(arguments);
        command.args(["--server", &lab.proxy.directory(), "--ca-bundle"]).arg(lab.folder.join("api-root.pem"));
        command.env("HOME", &lab.folder).env("CF_Token", &lab.token);
        output(&mut command);
    };
    let account = ["--accountkeylength", account_key, "--accountemail", "ops@example.test"];
    let issue = ["--issue", "--dns", "dns_cf", "--dnssleep", "1", "-d", SERVICE, "--keylength", key_length];
    acme(&[&issue[..], &account].concat());
    let node = &lab.nodes[0];
    let (chain, key) = (node.fullchain(SERVICE).display().to_string(), node.key(SERVICE).display().to_string());
    let reload = node.reload_command().join(" ");
    let ecc: &[&str] = if key_length.starts_with("ec") { &["--ecc"] } else { &[] };
    let install =
        ["--install-cert", "-d", SERVICE, "--fullchain-file", &chain, "--key-file", &key, "--reloadcmd", &reload];
    acme(&[&install[..], ecc].concat());
    home
}

#[test]
fn homes_that_acme_sh_made_are_imported_and_their_certificates_replaced() {
    for (suite, account_key, key_length) in [
        ("trixie", "ec-256", "ec-256"),
        ("sid", "ec-256", "2048"),
        ("trixie", "2048", "ec-384"),
        ("sid", "ec-384", "ec-256"),
    ] {
        // The answer that is looked at is the order's.
        let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
        let lab = Lab::start(Options { pebble, ..Options::nodes(1) });
        let home = home(&lab, &program(suite), account_key, key_length).display().to_string();
        let key_type = match key_length {
            "ec-256" => "ecdsa-p256",
            "ec-384" => "ecdsa-p384",
            _ => "rsa2048",
        };
        lab.write_config("");
        let domains = format!("key_type = {key_type:?}\ndomains = [\"newapi");
        let text = fs::read_to_string(lab.config_path()).unwrap().replace("domains = [\"newapi", &domains);
        fs::write(lab.config_path(), text).unwrap();
        let orders = lab.proxy.script.count("new-order");
        let mut import = vec!["import", "acme.sh", &home, "--yes"];
        if account_key != "ec-256" {
            let without = exits(&lab.certd(&import[..3]), 0);
            assert!(without.contains("--new-account-key"), "{suite}: {without}");
            import.push("--new-account-key");
        }
        let written = exits(&lab.certd(&import), 0);
        assert!(written.contains("written: the account at"), "{suite}: {written}");
        // acme.sh has installed it already: nothing is to be done.
        let plan = exits(&lab.certd(&["plan"]), 0);
        assert!(plan.contains("nothing to do"), "{suite} {key_length}: {plan}");
        exits(&lab.certd(&["check"]), 0);
        assert_eq!(lab.proxy.script.count("new-order"), orders, "nothing was ordered");
        let (sender, receiver) = mpsc::channel();
        lab.proxy.script.rewrite("new-order", 1, move |body| {
            sender.send(body.clone()).unwrap();
            body
        });
        exits(&lab.certd(&["renew", "--force"]), 0);
        let order = receiver.recv().unwrap();
        assert!(order.contains("\"replaces\""), "{suite}: {order}");
        println!("acme.sh of {suite}, account key {account_key}, key {key_length}: imported and replaced");
    }
}

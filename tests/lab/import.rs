//! `certd import`: what other clients have ordered becomes certd's, and nothing is ordered for it.

use crate::lab;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use lab::config::ConfigText;
use lab::homes::{AcmeSh, issue};
use lab::node::NodeOptions;
use lab::pebble::PebbleOptions;
use lab::printed::{exits, stdout};
use lab::{Lab, Options, SERVICE};

/// Logs in with a home of the node's own, named after its address.
fn homes_by_address(folder: &Path) -> String {
    let folder = folder.display();
    format!("ForceCommand set -- $SSH_CONNECTION; HOME={folder}/$3; export HOME; exec sh -c \"$SSH_ORIGINAL_COMMAND\"")
}

#[test]
fn three_nodes_with_a_certificate_each_share_the_one_with_the_longest_life_and_nothing_is_ordered() {
    let homes = tempfile::tempdir().unwrap();
    fs::set_permissions(homes.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let sshd = homes_by_address(homes.path());
    let node = |name: &str| NodeOptions { sshd: sshd.clone(), ..NodeOptions::new(name) };
    let nodes = ["cn2-shanghai", "广州", "shenzhen"].map(node).into();
    // The answer that is looked at is the order's.
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let lab = Lab::start(Options { nodes, pebble, ..Options::default() });
    for (at, profile) in [(0, "shortlived"), (1, "default"), (2, "shortlived")] {
        let state = issue(&lab, &format!("acme-{at}"), profile);
        AcmeSh::of(&lab, &state, &lab.nodes[at]).write(&homes.path().join(lab.ip(at)).join(".acme.sh"));
    }
    lab.write_config("");
    let orders = lab.proxy.script.count("new-order");
    let nodes = ["import", "acme.sh", "cn2-shanghai", "广州", "shenzhen"];

    let shown = exits(&lab.certd(&nodes), 0);
    assert!(shown.contains("nothing was written: give --yes"), "{shown}");
    assert!(!lab.state_dir().exists(), "a look makes nothing");
    assert!(shown.contains("广州:") && shown.contains("that one becomes the shared one"), "{shown}");

    let written = exits(&lab.certd(&[&nodes[..], &["--yes"]].concat()), 0);
    assert!(written.contains("written: the account at") && written.contains(SERVICE), "{written}");
    for secret in ["PRIVATE KEY", lab.token.as_str()] {
        assert!(!shown.contains(secret) && !written.contains(secret), "{secret}");
    }
    let again = exits(&lab.certd(&[&nodes[..], &["--yes"]].concat()), 0);
    assert!(again.contains("nothing to import") && again.contains("has this certificate already"), "{again}");

    // The nodes serve something else yet (6), and there is nothing to order.
    let plan = exits(&lab.certd(&["plan"]), 6);
    assert!(plan.contains("not due until") && !plan.contains("issue    "), "{plan}");
    let rehearsed = stdout(&lab.certd(&["renew", "--dry-run"]));
    assert!(rehearsed.contains("prepared, nothing changed"), "{rehearsed}");
    let renewed = exits(&lab.certd(&["renew"]), 0);
    assert!(renewed.contains("3 of 3 serve the right certificate"), "{renewed}");
    assert_eq!(lab.proxy.script.count("new-order"), orders, "nothing was ordered");
    let leaf = lab.nodes[0].settled(SERVICE).unwrap();
    assert!(lab.nodes.iter().all(|node| node.settled(SERVICE).unwrap() == leaf));

    // What acme.sh ordered on three nodes in one week counts at the CA, and so here.
    let full = exits(&lab.certd(&["renew", "--force"]), 5);
    assert!(full.contains("the ledger is full: 3 certificates for these names within 7 days"), "{full}");
    // The CA itself says of the order what it replaces: it was ordered with this account.
    lab.write_config_with(&ConfigText { acme: "certificates_per_week = 50".to_owned(), ..ConfigText::default() });
    let (sender, receiver) = mpsc::channel();
    lab.proxy.script.rewrite("new-order", 1, move |body| {
        sender.send(body.clone()).unwrap();
        body
    });
    exits(&lab.certd(&["renew", "--force"]), 0);
    let order = receiver.recv().unwrap();
    assert!(order.contains("\"replaces\""), "{order}");
}

#[test]
fn a_folder_of_this_machine_becomes_a_configuration_a_token_and_a_store() {
    let lab = Lab::start(Options::nodes(1));
    let home = lab.folder.join("home/.acme.sh");
    let state = issue(&lab, "acme", "default");
    AcmeSh::of(&lab, &state, &lab.nodes[0]).write(&home);
    let etc = lab.folder.join("etc");
    fs::create_dir(&etc).unwrap();
    let certd = |arguments: &[&str]| {
        let mut command = Command::new(lab.certd_binary());
        command.args(arguments).arg("--config").arg(etc.join("certd.toml"));
        command.env("SSL_CERT_FILE", lab.folder.join("issuer-roots.pem")).output().unwrap()
    };
    let (home, own) = (home.display().to_string(), lab.state_dir().display().to_string());
    let import = ["import", "acme.sh", &home, "--address", "192.0.2.1", "--state-dir", &own];
    let shown = exits(&certd(&import), 0);
    assert!(shown.contains("nothing was written") && fs::read_dir(&etc).unwrap().next().is_none(), "{shown}");

    // Another's token is not overwritten, and nothing else is written then.
    fs::write(etc.join("cloudflare.token"), "another\n").unwrap();
    // A CA and a reload command that certd does not know are not written unseen.
    let unseen = exits(&certd(&[&import[..], &["--yes"]].concat()), 2);
    for words in
        ["--yes does not write what certd does not know:\n    the CA https://", "/sbin/nginx -s reload\n  next: "]
    {
        assert!(unseen.contains(words), "{words:?} in\n{unseen}");
    }
    let yes = [&import[..], &["--yes", "--accept-unknown"]].concat();
    let refused = exits(&certd(&yes), 2);
    assert!(refused.contains("cloudflare.token: is there already"), "{refused}");
    assert_eq!(fs::read_to_string(etc.join("cloudflare.token")).unwrap(), "another\n");
    assert!(!etc.join("certd.toml").exists() && !lab.state_dir().exists());

    fs::remove_file(etc.join("cloudflare.token")).unwrap();
    let written = exits(&certd(&yes), 0);
    assert!(!written.contains(&lab.token) && !written.contains("PRIVATE KEY"), "{written}");
    let mode = |name: &str| fs::metadata(etc.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("cloudflare.token"), mode("certd.toml")), (0o600, 0o644));
    assert_eq!(fs::read_to_string(etc.join("cloudflare.token")).unwrap().trim(), lab.token);
    exits(&certd(&["config", "check"]), 0);
    let listed = stdout(&certd(&["generations", SERVICE]));
    assert!(listed.contains("20"), "{listed}");

    // A configuration is there now, and stays as it is.
    fs::write(etc.join("certd.toml"), fs::read_to_string(etc.join("certd.toml")).unwrap() + "# mine\n").unwrap();
    let again = exits(&certd(&yes), 0);
    assert!(again.contains("nothing to import"), "{again}");
    assert!(fs::read_to_string(etc.join("certd.toml")).unwrap().ends_with("# mine\n"));
}

#[test]
fn a_node_that_answers_anything_is_refused_whole_and_in_time() {
    let script = "ForceCommand printf 'certd-read: home /x\\ncertd-read: file a\\n'; yes certd-read:=x";
    let hostile = NodeOptions { sshd: script.to_owned(), ..NodeOptions::new("hostile") };
    let lab = Lab::start(Options { nodes: vec![hostile], ..Options::default() });
    lab.write_config_with(&ConfigText::default());
    let refused = exits(&lab.certd(&["import", "acme.sh", "hostile", "--yes"]), 2);
    assert!(refused.contains("hostile: it has more than an import takes"), "{refused}");
    assert!(refused.contains("next: copy acme.sh's folder from hostile by hand"), "{refused}");
    assert!(!lab.state_dir().exists());
}

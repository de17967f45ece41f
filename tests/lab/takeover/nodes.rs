//! The commands, on nodes whose sessions see a machine of their own: with a home of acme.sh, and a table of cron's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::bench::{CRON, Home};
use crate::lab::node::NodeOptions;
use crate::lab::printed::exits;
use crate::lab::process::is_root;
use crate::lab::{Lab, Options, SERVICE};

/// Each session is in a mount namespace, in which cron's tables, root's home and /var are those of this home.
fn sessions(home: &Home) -> String {
    home.write("var/tmp/keep", "", 0o600);
    let at = |path: &str| home.path(path).display().to_string();
    let script = format!(
        "#!/bin/sh\nexec unshare -m sh -c 'mount --bind {} /etc/cron.d && mount --bind {} /root && mount --bind {} /var && \
         exec sh -c \"$SSH_ORIGINAL_COMMAND\"'\n",
        at("etc/cron.d"),
        at("root"),
        at("var")
    );
    home.write("session", &script, 0o755);
    format!("ForceCommand {}", at("session"))
}

fn acme_conf(lab: &Lab, home: &Home, name: &str) -> String {
    let node = &lab.nodes[0];
    let (key, chain) = (node.key(SERVICE), node.fullchain(SERVICE));
    let paths = format!("Le_RealKeyPath='{}'\nLe_RealFullChainPath='{}'\n", key.display(), chain.display());
    let paths = if name == SERVICE { paths } else { String::new() };
    let conf = format!("root/.acme.sh/{name}_ecc/{name}.conf");
    home.write(&conf, &format!("Le_Domain='{name}'\nLe_Alt='no'\n{paths}Le_NextRenewTime='1'\n"), 0o644);
    conf
}

#[test]
fn one_command_switches_ours_off_alone_delivers_and_proves_it_and_another_puts_it_back() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let nodes = vec![
        NodeOptions { sshd: sessions(&home), ..NodeOptions::new("上海") },
        NodeOptions { sshd: sessions(&home), ..NodeOptions::new("广州") },
    ];
    let lab = Lab::start(Options { nodes, ..Options::default() });
    lab.write_config("");
    let (ours, other) = (acme_conf(&lab, &home, SERVICE), acme_conf(&lab, &home, "other.example.test"));
    home.write("var/spool/cron/crontabs/root", CRON, 0o600);
    home.write("var/spool/cron/crontabs/eve", "1 1 * * * /usr/bin/true\n", 0o600);

    let early = exits(&lab.certd(&["node", "takeover", "上海", "--yes"]), 6);
    assert!(early.contains("nothing is stored that could be delivered") && home.path(&ours).exists(), "{early}");
    exits(&lab.certd(&["renew", "--node", "广州"]), 0);
    let before = home.all();
    let text = exits(&lab.certd(&["check", "--deep"]), 6);
    assert!(text.contains(&format!("acme.sh has {SERVICE}")), "{text}");
    let asks = exits(&lab.certd(&["node", "takeover", "上海"]), 2);
    assert!(asks.contains(&format!("off    acme.sh renews {SERVICE}: /{ours} is renamed")), "{asks}");
    assert!(asks.contains(&format!("would: acme.sh: /{ours} gets another name")), "{asks}");
    assert!(asks.contains("nothing was done") && asks.contains("--yes"), "{asks}");
    exits(&lab.certd(&["node", "takeover", "上海", "广州", "--print"]), 2);
    let script = exits(&lab.certd(&["node", "takeover", "上海", "--print"]), 0);
    assert!(
        script.starts_with("#!/bin/sh\n# For 上海. ") && script.contains(&format!("off acme.sh '/{ours}' '{SERVICE}'"))
    );
    assert_eq!(home.all(), before);

    let text = exits(&lab.certd(&["node", "takeover", "上海", "--yes"]), 0);
    assert!(text.contains("delivered, reloaded and proven by handshake"), "{text}");
    assert!(
        text.contains("is called")
            && text
                .contains("to remove on 上海, once you are sure (--undo cannot bring it back then): /root/.acme.sh/"),
        "{text}"
    );
    assert_eq!(lab.nodes[0].settled(SERVICE), lab.nodes[0].pair(SERVICE));
    assert!(!home.path(&ours).exists() && home.path(&other).exists());
    assert_eq!(home.read("var/spool/cron/crontabs/root"), CRON, "the other one goes on");
    let text = exits(&lab.certd(&["check", "--deep"]), 0);
    assert!(!text.contains("acme.sh"), "{text}");
    let text = exits(&lab.certd(&["node", "takeover", "上海", "--yes"]), 0);
    assert!(text.contains("found nothing else that renews or writes what certd delivers"), "{text}");

    exits(&lab.certd(&["node", "takeover", "上海", "--undo"]), 2);
    let text = exits(&lab.certd(&["node", "takeover", "上海", "--undo", "--yes"]), 0);
    assert!(text.contains(&format!("back: /{ours}")), "{text}");
    assert_eq!(home.all(), before);
    let text = exits(&lab.certd(&["check", "--deep"]), 0);
    assert!(text.contains(&format!("acme.sh has {SERVICE}")) && text.contains("certd node takeover 上海"), "{text}");
    let text = exits(&lab.certd(&["node", "takeover", "上海", "--undo", "--yes"]), 0);
    assert!(text.contains("nothing is recorded there"), "{text}");
}

#[test]
fn what_changes_of_path_leave_behind_is_named_and_cleaned_and_nothing_that_is_read() {
    let lab = Lab::start(Options { nodes: vec![NodeOptions::new("上海")], ..Options::default() });
    let config = lab.write_config("");
    exits(&lab.certd(&["renew"]), 0);
    let node = &lab.nodes[0];
    let old = node.fullchain(SERVICE).parent().unwrap().to_owned();
    let new = node.folder.join("conf/new");
    fs::create_dir(&new).unwrap();
    let moved = |text: String| {
        text.replace("conf/ssl/{name}/", "conf/new/").replace(&format!("conf/ssl/{SERVICE}/"), "conf/new/")
    };
    fs::write(&config, moved(fs::read_to_string(&config).unwrap())).unwrap();
    exits(&lab.certd(&["deploy"]), 0);
    let folder = old.join(".certd").join(SERVICE);
    let text = exits(&lab.certd(&["check", "--deep"]), 0);
    let named = format!("keys of certificates that are not configured there: {}", folder.display());
    assert!(text.contains(&named) && text.contains("certd node clean"), "{text}");

    // Its server reads the old paths still.
    let before = fs::read_to_string(node.folder.join("conf/nginx.conf")).unwrap();
    let text = exits(&lab.certd(&["node", "clean", "上海", "--yes"]), 3);
    assert!(text.contains("the server's test misses it: nginx"), "{text}");
    assert_eq!(node.served(SERVICE), node.pair(SERVICE));

    fs::write(node.folder.join("conf/nginx.conf"), moved(before)).unwrap();
    let text = exits(&lab.certd(&["node", "clean", "上海"]), 2);
    assert!(text.contains(&format!("goes: {}", folder.display())) && text.contains("0-found"), "{text}");
    assert!(text.contains(&format!("link {}", old.join("privkey.pem").display())) && folder.exists(), "{text}");
    let text = exits(&lab.certd(&["node", "clean", "上海", "--yes"]), 0);
    assert!(text.contains(&format!("removed: {}", folder.display())), "{text}");
    assert_eq!(fs::read_dir(&old).unwrap().count(), 0, "{text}");
    let text = exits(&lab.certd(&["check", "--deep"]), 0);
    assert!(!text.contains("not configured there"), "{text}");
    exits(&lab.certd(&["renew", "--force"]), 0);
    let text = exits(&lab.certd(&["node", "clean", "上海", "--yes"]), 0);
    assert!(text.contains("nothing is left there"), "{text}");
}

#[test]
fn a_certificate_and_a_node_that_are_renamed_take_the_next_delivery_without_a_hand_on_the_node() {
    let lab = Lab::start(Options { nodes: vec![NodeOptions::new("上海")], ..Options::default() });
    let config = lab.write_config("");
    exits(&lab.certd(&["renew"]), 0);
    let text = fs::read_to_string(&config).unwrap().replace("{name}/", &format!("{SERVICE}/"));
    let text = text.replace(&format!("name = \"{SERVICE}\""), "name = \"web\"").replace("上海", "huangpu");
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    exits(&lab.certd(&["renew"]), 0);
    let own = lab.nodes[0].fullchain(SERVICE).parent().unwrap().join(".certd");
    assert!(own.join("web").exists());
    assert!(
        crate::lab::process::wait_until(|| !own.join(SERVICE).exists()),
        "the folder of the old name goes by itself"
    );
    let text = exits(&lab.certd(&["check", "--deep"]), 0);
    assert!(!text.contains("not configured there"), "{text}");
}

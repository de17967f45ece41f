//! The short way of `docs/migrate.md`, from acme.sh on three nodes to one certificate that all of them serve.

use super::plays;
use super::scenes::tidied;
use crate::lab::process::is_root;
use crate::lab::story::{Homes, Story, TOKEN_FILE, play};

const OTHERS: [&str; 2] = ["cn2-guangzhou", "cn2-shenzhen"];

#[test]
fn three_commands_lead_from_acme_sh_on_three_nodes_to_one_certificate_without_an_order_or_a_failed_handshake() {
    if !is_root() {
        return;
    }
    let story = play(&Homes::Written);
    let [init, takeover, check] = [0, 1, 2].map(|at| printed(&story, at));
    let nodes = "cn2-shanghai=root@192.0.2.1 cn2-guangzhou=root@192.0.2.2 cn2-shenzhen=root@192.0.2.3";
    plays("migrate-init", &format!("sudo certd init --from-acme.sh {nodes}"), &of_import(&init));
    let nodes = "cn2-shanghai cn2-guangzhou cn2-shenzhen";
    plays("migrate-takeover", &format!("sudo certd node takeover {nodes}"), &of_one_node(&takeover));
    plays("migrate-check", "sudo certd check", &check);
    story.afterwards(&Homes::Written);
}

fn printed(story: &Story, at: usize) -> String {
    let token_file = story.lab.folder.join(TOKEN_FILE).display().to_string();
    let text = tidied(&story.lab, &story.commands[at].1).replace(&token_file, "/etc/certd/cloudflare.token");
    let ca = story.lab.proxy.directory();
    let ca = ca.split("://").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
    text.replace(ca, "ca.example.com")
}

/// Without the checkup, but for its end.
fn of_import(text: &str) -> String {
    let lines: Vec<&str> = text.lines().take_while(|line| *line != "configuration").collect();
    let end = &text.lines().collect::<Vec<_>>()[text.lines().count() - 2..];
    format!("{}\n…\n{}", lines.join("\n"), end.join("\n"))
}

/// What is said of the other nodes is the same.
fn of_one_node(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut is_shown = true;
    for line in text.lines() {
        if !line.starts_with(' ') {
            is_shown = !OTHERS.iter().any(|node| line == *node || line.starts_with(&format!("to remove on {node}")));
        }
        lines.push(if is_shown { line } else { "…" });
    }
    lines.dedup_by(|one, other| *one == "…" && *other == "…");
    lines.join("\n")
}

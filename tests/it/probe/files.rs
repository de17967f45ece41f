//! Hundreds of handshakes in a process that may have few files open.

use std::fmt::Write as _;
use std::process::Command;

use certd::cert::KeyType;
use serde_json::Value;

use super::pair;
use super::server::{Then, serve_at};

const ENDPOINTS: u8 = 150;
const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINE6oCgJNnehCrnqbjHPY8LJ6NpP/bOCkwZg7OlICSol";

/// As many nodes as watched endpoints, each with an address of its own.
fn configuration(state_dir: &std::path::Path, port: u16) -> String {
    let mut text = format!(
        "state_dir = {state_dir:?}\n[acme]\ndirectory = \"https://acme.example.com/dir\"\ncontact = [\"ops@example.com\"]\n\
         [dns]\nprovider = \"cloudflare\"\ntoken_file = \"/nonexistent/token\"\n\
         [ssh]\nuser = \"root\"\nidentity_files = [\"/nonexistent/id\"]\n[probe]\nport = {port}\n\
         [install]\nfullchain = \"/etc/t/{{name}}/fullchain.pem\"\nkey = \"/etc/t/{{name}}/privkey.pem\"\n\
         test = [\"/bin/true\"]\nreload = [\"/bin/true\"]\n\
         [[certificate]]\ndomains = [\"a.example.com\"]\nnodes = [\"*\"]\n"
    );
    for number in 1..=ENDPOINTS {
        write!(text, "[[node]]\nname = \"n{number}\"\naddress = \"127.0.9.{number}\"\nhost_key = \"{HOST_KEY}\"\n")
            .unwrap();
        write!(
            text,
            "[[watch]]\nname = \"w{number}\"\naddress = \"127.0.8.{number}\"\nport = {port}\nsni = \"a.example.com\"\n"
        )
        .unwrap();
    }
    text
}

/// The verdicts in a report, wherever they are.
fn verdicts(report: &Value, found: &mut Vec<String>) {
    match report {
        Value::Object(members) => {
            found.extend(members.get("verdict").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| verdicts(member, found));
        }
        Value::Array(members) => members.iter().for_each(|member| verdicts(member, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_few_files_make_a_check_slower_and_no_node_unreachable() {
    let pair = pair(KeyType::EcdsaP256);
    let shown = (pair.chain().ders().to_vec(), pair.key().clone(), Then::Close);
    let server = serve_at("0.0.0.0:0".parse().unwrap(), vec![shown]).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("certd.toml");
    std::fs::write(&config, configuration(&folder.path().join("state"), server.address.port())).unwrap();
    for files in [64, 256] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_certd")]);
        command.args(["check", "--quiet", "--output", "json", "--config"]).arg(&config);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|bad| panic!("{bad}: {words}"));
        let mut found = Vec::new();
        verdicts(&report, &mut found);
        assert_eq!(found.len(), 2 * usize::from(ENDPOINTS), "{files}: {words}");
        let odd: Vec<&String> = found.iter().filter(|verdict| *verdict != "untrusted").collect();
        assert!(odd.is_empty(), "{files}: {odd:?}, {words}");
    }
}

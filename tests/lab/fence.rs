//! A node in somebody else's hands, over real SSH: it reads what it is sent and answers what it likes. It costs the others
//! no certificate and no time, and its claims are reported for it alone.

use crate::lab;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use certd::cert::{Generation, generation};
use certd::context::clock;
use jiff::SignedDuration;

use lab::node::NodeOptions;
use lab::printed::{exits, stderr, stdout};
use lab::{Lab, Options, SERVICE};

/// Reads a dialogue to its end and answers with what is in a file: the verb, and the body after it.
const PROGRAM: &str = r#"#!/bin/sh
while IFS= read -r line; do
  case $line in
  'nonce '*) nonce=${line#nonce } ;;
  end) break ;;
  esac
done
body=$(cat BODY; printf .) body=${body%.}
printf 'certd-node %s %s %s\n%s' "$nonce" "$(cat VERB)" "${#body}" "$body"
while IFS= read -r line; do [ "$line" != commit ] || printf 'certd-node %s rolled-back 2\nno' "$nonce"; done
"#;

struct Hostile {
    lab: Lab,
    folder: tempfile::TempDir,
}

impl Hostile {
    /// The second of three nodes; the first the configuration's choice of a canary.
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("program"), PROGRAM.replace("BODY", &path("body")).replace("VERB", &path("verb")))
            .expect("the folder is ours");
        for (file, mode) in [(folder.path().to_owned(), 0o755), (PathBuf::from(path("program")), 0o755)] {
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("the folder is ours");
        }
        let mut options = Options::nodes(3);
        let hostile: &mut NodeOptions = &mut options.nodes[1];
        hostile.sshd = format!("ForceCommand {}\n", path("program"));
        let lab = Lab::start(options);
        lab.write_config("");
        Self { lab, folder }
    }

    fn says(&self, verb: &str, body: &str) {
        fs::write(self.folder.path().join("verb"), verb).expect("the folder is ours");
        fs::write(self.folder.path().join("body"), body).expect("the folder is ours");
    }

    /// The others serve the same certificate, the store's, and every folder of the store is a generation that nobody's
    /// clock rules out.
    fn others_are_well(&self, issued: usize, about: &str) {
        assert_eq!(self.lab.pebble.issued(), issued, "{about}");
        let leaf = self.lab.nodes[0].settled(SERVICE).expect("it is served");
        assert_eq!(self.lab.nodes[2].settled(SERVICE).as_ref(), Ok(&leaf), "{about}");
        let mut generations = 0;
        for entry in fs::read_dir(self.lab.kept()).expect("it is kept") {
            let entry = entry.expect("an entry that can be read").file_name().into_string().expect("it is text");
            if ["current", "pending", "rejected"].contains(&entry.as_str()) || entry.starts_with('.') {
                continue;
            }
            let generation: Generation = entry.parse().unwrap_or_else(|_| panic!("{entry} after {about}"));
            assert!(generation.number() <= generation::latest(clock::now()), "{entry} after {about}");
            generations += 1;
        }
        assert_eq!(generations, issued, "{about}");
    }
}

#[test]
fn whatever_a_node_says_that_it_holds_one_certificate_is_issued_and_the_others_serve_it() {
    let hostile = Hostile::start();
    let ahead = |hours| generation::number(clock::now() + SignedDuration::from_hours(hours));
    let newer = |number: &str| format!("newer {SERVICE} {number}");
    let answers = [
        // No number that anybody can have given: reported for this node, with what to do there.
        (newer("9999999999999999999"), "it is no second, or more than a day ahead"),
        (newer("99999999999999999999"), "it is no second, or more than a day ahead"),
        (newer("99999999999999"), "it is no second, or more than a day ahead"),
        (newer(&ahead(25).to_string()), "it is no second, or more than a day ahead"),
        (newer("20261123061560"), "it is no second, or more than a day ahead"),
        // Names that were not sent, and what is no newer.
        ("newer other.example 20991231235959".to_owned(), "no answer"),
        ("changed other.example".to_owned(), "no answer"),
        (newer("20200101000000"), "no answer"),
        (newer(""), "it is no second, or more than a day ahead"),
        // What may be honest: the certificate is numbered above it once, and no other is ordered for it.
        (newer(&ahead(1).to_string()), "the node holds a newer generation"),
        (newer(&ahead(20).to_string()), "the node holds a newer generation"),
        (newer(&ahead(22).to_string()), "the node holds a newer generation"),
    ];
    for (body, reply) in &answers {
        hostile.says("refused", body);
        let output = hostile.lab.certd(&["renew"]);
        let text = stdout(&output) + &stderr(&output);
        assert!(text.contains(reply), "{body}: {text}");
        hostile.others_are_well(1, body);
    }
    // The next certificate: one, and the others have it in the same run.
    let printed = hostile.lab.certd(&["renew", "--force"]);
    hostile.others_are_well(2, &stdout(&printed));
    let shown = exits(&hostile.lab.certd(&["node", "fence"]), 0);
    assert!(shown.contains("node-2: holds number"), "{shown}");
    exits(&hostile.lab.certd(&["node", "fence", "node-2", "--reset"]), 0);
    let shown = exits(&hostile.lab.certd(&["node", "fence"]), 0);
    assert!(!shown.contains("holds number"), "{shown}");
}

#[test]
fn a_node_that_always_goes_back_is_told_alone_and_the_others_have_the_certificate_in_the_same_run() {
    let hostile = Hostile::start();
    hostile.says("prepared", &format!("test ok\nbase {SERVICE} found\noutput\n"));
    for issued in [1, 2] {
        let output = hostile.lab.certd(&["renew", "--force"]);
        let text = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(6), "{text}");
        assert!(text.contains("node-2") && text.contains("refused the new certificate"), "{text}");
        hostile.others_are_well(issued, &text);
    }
}

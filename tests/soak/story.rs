//! The short way of `docs/migrate.md` with acme.sh itself, as Debian's releases have it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::process::output;
use crate::lab::story::{Homes, play};

/// acme.sh as Debian's package has it, unpacked and not installed.
pub(crate) fn program(suite: &str) -> PathBuf {
    let folder = format!("acme.sh/{suite}");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = repository.join("tests/packages.sh");
    output(Command::new("sh").arg(script).args([&folder, suite, "acme.sh"]));
    repository.join("lab").join(folder).join("usr/share/acme.sh")
}

#[test]
fn three_commands_lead_from_real_homes_of_acme_sh_to_one_certificate_that_acme_sh_leaves_alone() {
    let [trixie, sid] = ["trixie", "sid"].map(program);
    let homes = Homes::Real([&trixie, &sid, &trixie]);
    play(&homes).afterwards(&homes);
}

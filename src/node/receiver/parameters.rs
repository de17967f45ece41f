//! The parameters of a node's receiver, as files on the node: shared by the setup script that writes them and by the look
//! that compares them.

use core::fmt::Write as _;

use super::super::bundle;
use super::program::installed;
use super::{Account, Permit};
use crate::cert::sha256_hex;

/// Everything that may be delivered, and whose word for it counts.
#[derive(Clone, Debug, Default)]
pub struct Permits {
    pub certificates: Vec<Permit>,
    /// PEM of the roots that the configuration names (`issuer_root_file`).
    pub own_roots: String,
    /// The node's own roots count: there is a CA without such a file.
    pub system_roots: bool,
}

/// The file of those roots.
const ROOTS: &str = "roots";

impl Permits {
    /// Name and text of each file, in the order in which the node goes through them.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let mut files: Vec<(String, String)> = Vec::new();
        for permit in &self.certificates {
            files.push((format!("{}.conf", permit.certificate), self.parameters(permit)));
        }
        files.sort();
        let roots = self.roots();
        if !roots.is_empty() {
            files.push((ROOTS.to_owned(), roots));
        }
        files
    }

    /// In the words of the dialogue, so that what comes can be compared to the letter; but for the first two, which are the
    /// node's alone.
    fn parameters(&self, permit: &Permit) -> String {
        let name = &permit.certificate;
        let mut text =
            format!("# What may be delivered here as {name}. The other side must send these lines to the letter.\n");
        let names: Vec<String> = permit.names.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "# Who it is for, and whose roots its chain must lead to: judged here, and never sent.");
        let _ = writeln!(text, "names {}", names.join(" "));
        if !self.roots().is_empty() {
            text.push_str("trust own\n");
        }
        if self.system_roots {
            text.push_str("trust system\n");
        }
        bundle::parameters(&mut text, &permit.install);
        text
    }

    /// Blocks of certificates alone: comments, and whatever else stands in such a file, could be anything to a shell.
    fn roots(&self) -> String {
        let (mut text, mut inside) = (String::new(), false);
        for line in self.own_roots.lines().map(str::trim) {
            inside |= line == "-----BEGIN CERTIFICATE-----";
            let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | ' ');
            if inside && line.chars().all(word) {
                text.extend([line, "\n"]);
            }
            inside &= line != "-----END CERTIFICATE-----";
        }
        text
    }
}

/// SHA-256, hex, of the program and of the parameters that [`setup`](super::setup) would install.
pub fn digests(account: &Account, permits: &Permits) -> (String, String) {
    let files: String = permits.files().into_iter().map(|(_, text)| text).collect();
    (sha256_hex(installed(account)), sha256_hex(&files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_file_of_roots_only_the_certificates_go_to_the_node() {
        let block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let own_roots = format!("# ours\nEND\n{block}$(id)\nEND_OF_FILE\n{block}");
        let permits = Permits { own_roots, ..Permits::default() };
        assert_eq!(permits.files(), [(ROOTS.to_owned(), format!("{block}{block}"))]);
        assert!(Permits::default().files().is_empty());
    }
}

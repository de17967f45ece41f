//! The node program as it travels: without comments and indentation, at the head of the dialogue.

/// What the SSH exec runs. One line that dash, ash, bash, fish and csh parse alike; it takes the program from stdin by
/// the `read` builtin, which leaves the rest of stdin alone. Nothing that is a secret may stand here: it is in argv.
pub const BOOTSTRAP: &str = r#"exec sh -c 'p=; n=$(printf "\n."); n=${n%.}; while IFS= read -r l || exit 9; do [ "$l" = END ] && break; p=$p$l$n; done; eval "$p"'"#;

pub(super) const SOURCE: &str = include_str!("receive.sh");

/// The version that the first line of the program sets, and that the parameters begin with.
pub(super) const VERSION: &str = "3";

/// The program, ended by the line at which the bootstrap stops reading.
pub(super) fn program() -> String {
    let mut program = strip(SOURCE);
    program.push_str("END\n");
    program
}

/// Lines without their indentation; comment lines and empty ones are dropped. The program has no here-document and no
/// text over several lines, which alone could be hurt.
fn strip(source: &str) -> String {
    let kept = source.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    kept.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_small_enough_to_cost_one_round_trip_at_most() {
        // Measured at 150 ms: 12 kB of program and a chain of six certificates went out in one flight, since the window
        // of a connection (ten segments at first, RFC 6928) has grown while the session was set up. What is longer should
        // cost one more at most, since the window doubles with each; that was not measured.
        assert!(program().len() < 30_000, "{}", program().len());
    }

    #[test]
    fn no_line_of_the_program_ends_it_early_or_loses_its_version() {
        let program = program();
        assert_eq!(program.lines().filter(|line| *line == "END").count(), 1);
        assert_eq!(program.lines().next(), Some(&*format!("certd={VERSION}")));
        assert!(!SOURCE.contains("<<"), "a here-document is a temporary file in some shells");
    }
}

//! What a person does where a test or a reload was refused by sudo, and the server was not even asked.

/// Advice about sudo where sudo itself has refused, `otherwise` where it has not.
pub(super) fn advice_or(output: &str, otherwise: &str) -> String {
    advice(output).unwrap_or(otherwise).to_owned()
}

/// `None`: these are not sudo's words.
pub(super) fn advice(output: &str) -> Option<&'static str> {
    let has = |words: &str| output.contains(words);
    if !REFUSALS.iter().any(|words| has(words)) {
        return None;
    }
    Some(if has("must have a tty") {
        "sudo wants a terminal, which there is none: write `Defaults:LOGIN !requiretty` into the node's sudoers (visudo), or \
         set up a receiver: certd node setup NODE"
    } else if has("command not found") {
        "sudo does not find the command: write its whole path into [install], as the node's sudoers has it"
    } else {
        "sudo refuses the command: permit it to the login in the node's sudoers, with NOPASSWD and the same arguments \
         (visudo), or set up a receiver: certd node setup NODE"
    })
}

/// Of sudo 1.8 and 1.9, and of sudo-rs.
const REFUSALS: [&str; 4] =
    ["sudo: ", " is not allowed to execute ", "not in the sudoers file", " may not run sudo on "];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_sudo_refuses_the_advice_is_about_sudo_and_what_a_server_prints_is_none_of_it() {
        for (output, word) in [
            ("sudo: sorry, you must have a tty to run sudo", "!requiretty"),
            ("sudo: a password is required", "NOPASSWD"),
            ("sudo: interactive authentication is required", "NOPASSWD"),
            ("Sorry, user deploy is not allowed to execute '/usr/sbin/nginx -t' as root on web.", "NOPASSWD"),
            ("sudo: nginx: command not found", "whole path"),
        ] {
            assert!(advice(output).unwrap().contains(word), "{output}");
        }
        assert_eq!(advice("nginx: [emerg] host not found in upstream \"pseudo\""), None);
    }
}

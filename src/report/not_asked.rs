//! What a person does where a test or a reload failed before the server was asked: sudo refused the command, it wants a
//! terminal, or there is no such command.

/// Advice about that, `otherwise` where the words are the server's own.
pub(super) fn advice_or(output: &str, otherwise: &str) -> String {
    advice(output).unwrap_or(otherwise).to_owned()
}

/// `None`: the server may have been asked.
pub(super) fn advice(output: &str) -> Option<&'static str> {
    let any = |words: &[&str]| words.iter().any(|words| output.contains(words));
    Some(if any(&SUDO) {
        if any(&["must have a tty"]) {
            "sudo wants a terminal, which there is none: write `Defaults:LOGIN !requiretty` into the node's sudoers (visudo), or \
             set up a receiver: certd node setup NODE"
        } else if any(&["command not found"]) {
            "sudo does not find the command: write its whole path into [install], as the node's sudoers has it"
        } else {
            "sudo refuses the command: permit it to the login in the node's sudoers, with NOPASSWD and the same arguments \
             (visudo), or set up a receiver: certd node setup NODE"
        }
    } else if any(&TERMINAL) {
        "the command wants a terminal, which there is none: write it into [install] without (docker exec and podman exec: no \
         -t), then run `certd deploy`"
    } else if any(&MISSING) {
        "the node does not find the command: write its whole path into [install], then run `certd deploy`"
    } else {
        return None;
    })
}

/// Of sudo 1.8 and 1.9, and of sudo-rs.
const SUDO: [&str; 4] = ["sudo: ", " is not allowed to execute ", "not in the sudoers file", " may not run sudo on "];

/// Of docker, podman, and others that ask for one.
const TERMINAL: [&str; 6] = [
    "input device is not a TTY",
    "stdin is not a terminal",
    "is not a tty",
    "must be run from a terminal",
    "Inappropriate ioctl for device",
    "ioctl for device inappropriate",
];

/// Of timeout, with which the node starts every command: coreutils, uutils and busybox.
const MISSING: [&str; 2] = ["timeout: failed to run command", "timeout: can't execute"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_server_was_not_asked_the_advice_is_about_what_failed() {
        for (output, word) in [
            ("sudo: sorry, you must have a tty to run sudo", "!requiretty"),
            ("sudo: a password is required", "NOPASSWD"),
            ("sudo: interactive authentication is required", "NOPASSWD"),
            ("Sorry, user deploy is not allowed to execute '/usr/sbin/nginx -t' as root on web.", "NOPASSWD"),
            ("sudo: nginx: command not found", "whole path"),
        ] {
            assert!(advice(output).unwrap().contains(word), "{output}");
        }
        for (output, word) in [
            ("the input device is not a TTY", "no -t"),
            ("cannot attach stdin to a TTY-enabled container because stdin is not a terminal", "no -t"),
            ("timeout: failed to run command 'ngnix': No such file or directory", "whole path"),
            ("timeout: can't execute 'ngnix': No such file or directory", "whole path"),
        ] {
            assert!(advice(output).unwrap().contains(word), "{output}");
        }
        assert_eq!(advice("nginx: [emerg] host not found in upstream \"pseudo\""), None);
    }
}

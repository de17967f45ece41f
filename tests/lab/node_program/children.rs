//! What the program's children see, and what they cannot do to it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::bench::{NEW, OLD, Place, Program, SHELLS, SOURCE, reply, wait_for};

#[test]
fn no_key_is_in_the_arguments_or_the_environment_of_any_process_nor_in_a_file_that_others_can_read() {
    for shell in SHELLS {
        let place = Place::new();
        let at = place.dir.path().display();
        // From within the run: every process, and every file that is there. The bracket hides the search from itself.
        place.script(
            "test",
            &format!(
                "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -a '^ke[y] n\\|=ke[y] n' >>{at}/leak\n\
                 find {at} -type f -perm /077 -exec grep -l 'ke[y] n' {{}} + >>{at}/wide\n\
                 grep -rlq 'ke[y] n' {at}/ssl && echo seen >>{at}/seen; exit 0"
            ),
        );
        // Names that the program uses, exported by the login: assignments to them would be exported too.
        let env: Vec<(&str, &str)> =
            ["line", "value", "field", "key1", "chain1", "h", "j", "l", "B", "D", "E"].map(|name| (name, "x")).to_vec();
        let mut program = Program::start_source(shell, SOURCE, &[place.bundle(NEW)], &env);
        program.prepared();
        assert_eq!(program.commit(), reply("committed"));
        program.say("done\n");
        program.end();
        assert_eq!(fs::read_to_string(place.path("leak")).unwrap(), "");
        assert_eq!(fs::read_to_string(place.path("wide")).unwrap(), "");
        assert_eq!(fs::read_to_string(place.path("seen")).unwrap(), "seen\nseen\n", "staged, then in place");
    }
}

#[test]
fn children_get_nothing_to_read_and_signals_as_usual_and_their_words_are_capped() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        place.script("test", "cat; grep SigIgn: /proc/self/status; yes | head -c 1000000; exit 1");
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        let body = program.prepared();
        let (_, words) = body.split_once("output\n").unwrap();
        usual_signals(words);
        assert!(words.len() < 4100 && words.ends_with("y\ny"), "{}", words.len());
        let (verb, words) = program.commit();
        assert_eq!(verb, "broken-before");
        usual_signals(&words);
    }
}

#[test]
fn a_command_whose_end_is_not_told_has_failed() {
    let silent = SOURCE.replace("printf %s \"<$nonce $?>\" >&3", ":");
    assert_ne!(silent, SOURCE);
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let body = Program::start_source(shell, &silent, &[place.bundle(NEW)], &[]).prepared();
        assert!(body.starts_with("test failed\n") && body.ends_with("\noutput\nexit status 1"), "{body}");
    }
}

#[test]
fn the_words_of_a_command_are_its_first_4000_bytes_whatever_they_are_and_however_they_end() {
    let long = "x".repeat(5000);
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        for (command, words) in [
            ("printf 'no end'".to_owned(), "no end".to_owned()),
            ("printf 'one\\n\\n two\\n\\n\\n'".to_owned(), "one\n\n two".to_owned()),
            ("printf 'a\\\\nb %%s <7>\\n'; echo c >&2".to_owned(), "a\\nb %s <7>\nc".to_owned()),
            (format!("printf {long}"), long[..4000].to_owned()),
            (format!("printf '{}\\nyyyy\\nz\\n'", &long[..3995]), format!("{}\nyyyy", &long[..3995])),
            ("printf '\\0\\0'; yes | head -c 200000 | tr -d '\\n'".to_owned(), "y".repeat(4000)),
        ] {
            place.script("test", &command);
            let (_, body) = Program::look(shell, SOURCE, &[place.wanted(OLD)], &[]);
            let (facts, output) = body.split_once("\noutput\n").unwrap();
            assert!(facts.starts_with("test ok\n"), "{facts}");
            assert_eq!(output, words, "{shell:?}: {command}");
        }
    }
}

#[test]
fn a_command_makes_files_with_the_usual_mode() {
    let quick = SOURCE.replace("for candidate in 'timeout -k 5' timeout; do", "for candidate in none; do");
    for shell in SHELLS {
        for source in [SOURCE, &quick] {
            let place = Place::new().with(OLD);
            place.script("test", &format!(": >>{}/access.log", place.dir.path().display()));
            Program::start_source(shell, source, &[place.bundle(NEW)], &[]).prepared();
            // As nginx does, which opens every log when it tests.
            let mode = fs::metadata(place.path("access.log")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644, "{shell:?}");
        }
    }
}

/// None of HUP, INT, PIPE and TERM is ignored.
fn usual_signals(words: &str) {
    let mask = words.strip_prefix("SigIgn:\t").and_then(|rest| rest.split('\n').next()).expect("the first line");
    let mask = u64::from_str_radix(mask, 16).unwrap();
    assert!([1, 2, 13, 15].iter().all(|signal| mask & (1 << (signal - 1)) == 0), "{mask:x}");
}

#[test]
fn a_daemon_that_keeps_its_parents_output_holds_nobody_up_and_is_not_killed_by_writing() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let at = place.dir.path().display();
        place.script(
            "reload",
            &format!("(until [ -e {at}/go ]; do sleep 0.05; done; echo words; echo alive >{at}/daemon) & exit 0"),
        );
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        program.prepared();
        assert_eq!(program.commit(), reply("committed"));
        program.say("done\n");
        assert_eq!(program.end(), Some(0));
        // The program did not wait for it.
        place.tell("go");
        wait_for(|| place.path("daemon").exists());
    }
}

#[test]
fn a_command_that_a_signal_ended_is_named_by_it_and_is_no_time_out() {
    let bare = SOURCE.replace("for candidate in 'timeout -k 5' timeout; do", "for candidate in none; do");
    for shell in SHELLS {
        for source in [SOURCE, &bare] {
            let place = Place::new().with(OLD);
            for (command, words) in [
                ("kill -KILL $$", "(ended by SIGKILL)"),
                ("kill -TERM $$", "(ended by SIGTERM)"),
                ("echo no room; kill -ABRT $$", "no room\n(ended by SIGABRT)"),
                ("exit 124", "exit status 124"),
                ("exit 255", "exit status 255"),
                ("echo no; exit 124", "no"),
            ] {
                place.script("test", command);
                let (_, body) = Program::look(shell, source, &[place.wanted(OLD)], &[]);
                let (_, output) = body.split_once("\noutput\n").unwrap();
                assert_eq!(output, words, "{shell:?}: {command}");
            }
        }
    }
}

#[test]
fn a_command_that_hangs_is_ended_and_counts_as_failed_with_or_without_a_timeout_command() {
    let quick = SOURCE.replace("test_time=30", "test_time=1");
    let bare = quick.replace("for candidate in 'timeout -k 5' timeout; do", "for candidate in none; do");
    assert_ne!(bare, quick);
    for shell in SHELLS {
        for source in [&quick, &bare] {
            let place = Place::new().with(OLD);
            place.script("test", "read -r a x <$(dirname $0)/ssl/chain.pem; [ \"$x\" = o ] || exec sleep 60");
            let mut program = Program::start_source(shell, source, &[place.bundle(NEW)], &[]);
            program.prepared();
            assert_eq!(program.commit(), ("rolled-back".to_owned(), "(ended after 1 seconds)".to_owned()));
            assert!(place.holds(OLD));
        }
    }
}

//! A look: what it reports of a node's disk, and that nothing comes of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::bench::{Fake, NAME, NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE, deliver};

/// The lines of a look that asks for `fake`, but for those of the machine (room, clock, renewers), and the test's words.
fn look(shell: &[&str], place: &Place, fake: Fake) -> String {
    let (verb, body) = Program::look(shell, SOURCE, &[place.wanted(fake)], &[]);
    assert_eq!(verb, "seen", "{body}");
    let machine = |line: &&str| ["room ", "clock ", "renewer "].iter().any(|word| line.starts_with(word));
    let lines: Vec<&str> = body.lines().filter(|line| !machine(line)).collect();
    lines.join("\n").replace(&place.dir.path().display().to_string(), "").replace(&place.sum(fake), "SUM")
}

/// Everything below a folder, with modes, times and content.
fn all(path: &Path) -> String {
    let output = Command::new("find").arg(path).args(["-printf", "%p %M %U %s %T@ %C@ %l\n"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_look_tells_what_is_there_and_makes_and_changes_nothing() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        place.script("test", "echo fine; exit 0");
        let before = all(place.dir.path());
        let reply = look(shell, &place, OLD);
        assert_eq!(
            reply,
            "test ok\nat n.example fullchain plain\nat n.example privkey plain\ncurrent n.example -\n\
             digest n.example SUM\nsame n.example yes\noutput\nfine"
        );
        assert_eq!(all(place.dir.path()), before);
        deliver(shell, &place, NEW);
        let before = all(place.dir.path());
        let reply = look(shell, &place, NEW);
        assert!(
            reply.contains("fullchain link\nat n.example privkey link\ncurrent n.example 20261123061500-0b\n"),
            "{reply}"
        );
        assert!(look(shell, &place, OLD).contains("same n.example no"));
        assert_eq!(all(place.dir.path()), before);
    }
}

#[test]
fn a_look_tells_of_nothing_of_foreign_links_and_of_folders_that_cannot_be_trusted() {
    for shell in SHELLS {
        let place = Place::new();
        fs::remove_dir(place.path("ssl")).unwrap();
        let reply = look(shell, &place, NEW);
        assert!(reply.starts_with("test failed\nat n.example fullchain none\nat n.example privkey none\n"), "{reply}");
        assert!(reply.contains("digest n.example -\nsame n.example no\n") && !place.path("ssl").exists(), "{reply}");

        let place = Place::new().with(OLD);
        fs::remove_file(&place.key).unwrap();
        symlink("/etc/hostname", &place.key).unwrap();
        let reply = look(shell, &place, OLD);
        assert!(reply.contains("privkey foreign is a link to /etc/hostname, not made by certd"), "{reply}");

        let place = Place::new().with(OLD);
        deliver(shell, &place, NEW);
        fs::remove_file(place.own().join("current")).unwrap();
        fs::rename(place.own().join(NEW.1), place.own().join("current")).unwrap();
        let reply = look(shell, &place, NEW);
        assert!(reply.contains("fullchain foreign is no link (restored from a backup?)"), "{reply}");
        assert!(
            reply.contains("privkey link\ncurrent n.example -\n") && reply.contains("same n.example yes"),
            "{reply}"
        );

        let place = Place::new().with(OLD);
        fs::set_permissions(place.path("ssl"), fs::Permissions::from_mode(0o757)).unwrap();
        let reply = look(shell, &place, OLD);
        assert!(reply.contains("fullchain foreign others may write there (drwxr-xrwx)"), "{reply}");
    }
}

#[test]
fn a_look_tells_the_nodes_clock_its_room_and_who_else_renews_there() {
    let files = [
        ("etc/crontab", "# 1 1 * * * root certbot renew\n"),
        ("etc/cron.d/certbot", "0 */12 * * * root test -x /usr/bin/certbot && certbot -q renew\n"),
        ("etc/cron.d/other", "0 0 * * * root /usr/bin/legolas\n1 1 * * * root allegory\n"),
        ("etc/cron.daily/dehydrated", "#!/bin/sh\nexec /usr/bin/dehydrated --cron\n"),
        ("var/spool/cron/crontabs/root", "9 0 * * * \"/root/.acme.sh\"/acme.sh --cron >/dev/null\n"),
        ("lib/systemd/system/certs.timer", "[Timer]\n"),
        ("lib/systemd/system/certs.service", "[Service]\nExecStart=/usr/bin/lego renew\n"),
        ("lib/systemd/system/getssl.timer", "[Timer]\n"),
        ("home/.acme.sh/account.conf", ""),
    ];
    let place = Place::new().with(OLD);
    for (file, text) in files {
        let file = place.path("os").join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let wants = place.path("os/etc/systemd/system/timers.target.wants");
    fs::create_dir_all(&wants).unwrap();
    symlink(place.path("os/lib/systemd/system/certs.timer"), wants.join("certs.timer")).unwrap();
    symlink("/dev/null", wants.join("certbot.timer")).unwrap();
    let at = place.dir.path().display();
    let source = SOURCE.replace("os=''", &format!("os={at}/os"));
    assert_ne!(source, SOURCE);
    let home = place.path("os/home").display().to_string();
    for shell in SHELLS {
        let (_, body) = Program::look(shell, &source, &[place.wanted(OLD)], &[("HOME", &home)]);
        let reply = |word: &str| -> Vec<String> {
            let lines = body.lines().filter_map(|line| line.strip_prefix(word));
            lines.map(|line| line.replace(&format!("{at}/os"), "")).collect()
        };
        assert_eq!(
            reply("renewer "),
            [
                "/etc/cron.d/certbot",
                "/etc/cron.daily/dehydrated",
                "/var/spool/cron/crontabs/root",
                "/etc/systemd/system/timers.target.wants/certs.timer",
                "/home/.acme.sh"
            ],
            "{body}"
        );
        assert!(reply("room ")[0].parse::<u64>().unwrap() > 0);
        let clock: i64 = reply("clock ")[0].parse().unwrap();
        assert!(clock.abs_diff(certd::context::clock::now().as_second()) < 60);
    }
}

#[test]
fn n09_an_nginx_with_http_3_and_unbounded_old_workers_is_reported_and_its_configuration_stays_on_the_node() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let (nginx, dump) = (place.path("nginx"), place.path("dump"));
        place.script("nginx", &format!("case $1 in -T) cat {} ;; *) echo the test is fine ;; esac", dump.display()));
        let lines = |words: &[&str]| words.iter().map(|word| format!("test {word}\n")).collect::<String>();
        let look = |command: &[&str], text: &str| {
            fs::write(&dump, text).unwrap();
            let test = format!("test {}\n", place.path("test").display());
            let wanted = place.wanted(NEXT).replace(&test, &lines(command));
            let (verb, body) = Program::look(shell, SOURCE, &[wanted], &[]);
            assert_eq!(verb, "seen");
            assert!(!body.contains("secret"), "{body}");
            body
        };
        let nginx = nginx.display().to_string();
        for (text, unbounded) in [
            ("http {\n  server { listen 443 ssl; }\n}\n", false),
            ("server { proxy_set_header X secret; listen 443 quic reuseport; listen 443 ssl; }\n", true),
            ("worker_shutdown_timeout 10s;\nhttp {\n  listen [::]:443 quic;\n  set $a secret;\n}\n", false),
            ("# worker_shutdown_timeout 10s;\nhttp {\n  listen [::]:443 quic;\n}\n", true),
            ("# listen 443 quic;\n", false),
        ] {
            let body = look(&[&nginx, "-t"], text);
            assert_eq!(body.lines().any(|line| line == "workers unbounded"), unbounded, "{text}\n{body}");
            assert!(body.ends_with("the test is fine"), "{body}");
        }
        let body = look(&["env", &nginx, "-t"], "listen 443 quic;\n");
        assert!(!body.contains("workers"), "nothing but nginx itself is started with another option: {body}");
    }
}

#[test]
fn a_look_waits_for_no_lock() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        deliver(shell, &place, NEW);
        let mut program = Program::start(shell, &[place.bundle(NEXT)]);
        program.prepared();
        // It holds its locks while it tests.
        place.script("test", &format!("while [ -e {0}/hold ]; do sleep 0.02; done", place.dir.path().display()));
        place.tell("hold");
        program.say("commit\n");
        super::bench::wait_for(|| place.own().join("intent").exists());
        let quick = SOURCE.replace("test_time=30", "test_time=1");
        let (verb, body) = Program::look(shell, &quick, &[place.wanted(NEXT)], &[]);
        assert_eq!(verb, "seen");
        assert!(
            body.contains(&format!("current {NAME} {}", NEXT.1)) && body.contains("(ended after 1 seconds)"),
            "{body}"
        );
        place.untell("hold");
        assert_eq!(program.answer().unwrap().0, "committed");
    }
}

#[test]
fn a_name_or_a_generation_that_would_lead_out_of_its_folder_is_refused() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        for bundle in [
            place.bundle(NEW).replace(&format!("name {NAME}"), "name ../x"),
            place.bundle(NEW).replace(&format!("name {NAME}"), "name .lock"),
            place.bundle(Fake('n', "../../20261123061500-0b")),
        ] {
            let (verb, body) = Program::start(shell, &[bundle]).answer().unwrap();
            assert!(verb == "refused" && body.starts_with("unfit a "), "{verb} {body}");
            assert!(!place.path("ssl/.certd").exists());
        }
    }
}

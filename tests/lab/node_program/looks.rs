//! A look: what it reports of a node's disk, and that nothing comes of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use super::bench::{Fake, NAME, NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE, deliver, has, whole};

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

/// What a look says of other ACME clients on a machine with these files, and links to enabled or masked timers.
fn of_clients(place: &Place, files: &[(&str, &str)], timers: &[(&str, &str)], check: impl Fn(&[&str], &str)) {
    let os = place.path("os");
    for (file, text) in files {
        let file = os.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let wants = os.join("etc/systemd/system/timers.target.wants");
    fs::create_dir_all(&wants).unwrap();
    for (timer, to) in timers {
        let to = if to.starts_with('/') { to.into() } else { os.join(to) };
        symlink(to, wants.join(timer)).unwrap();
    }
    let source = whole().replace("os=''", &format!("os={}", os.display()));
    assert_ne!(source, whole());
    let home = os.join("home").display().to_string();
    for shell in SHELLS {
        let (_, body) = Program::look(shell, &source, &[place.wanted(OLD)], &[("HOME", &home)]);
        check(shell, &body.replace(&os.display().to_string(), ""));
    }
}

fn lines<'a>(body: &'a str, word: &str) -> Vec<&'a str> {
    body.lines().filter_map(|line| line.strip_prefix(word)).map(str::trim_end).collect()
}

#[test]
fn a_look_tells_the_nodes_clock_its_room_and_which_other_clients_are_started_there() {
    let files = [
        ("etc/crontab", "# 1 1 * * * root getssl renew\n"),
        ("etc/cron.d/getssl", "0 */12 * * * root test -x /usr/bin/getssl && getssl -q\n"),
        ("etc/cron.d/other", "0 0 * * * root /usr/bin/legolas\n1 1 * * * root allegory\n"),
        ("etc/cron.daily/dehydrated", "#!/bin/sh\nexec /usr/bin/dehydrated --cron\n"),
        ("etc/anacrontab", "7 5 certs getssl -q\n"),
        ("etc/crontabs/root", "1 1 * * * getssl -q\n"),
        ("etc/periodic/daily/certs", "#!/bin/sh\ngetssl -q\n"),
        ("var/spool/cron/tabs/root", "1 1 * * * getssl -q\n"),
        ("lib/systemd/system/certs.timer", "[Timer]\n"),
        ("lib/systemd/system/certs.service", "[Service]\nExecStart=/usr/bin/getssl renew\n"),
        ("lib/systemd/system/weekly.timer", "[Timer]\nUnit=other.service\nUnit=tasks.service\n"),
        ("lib/systemd/system/weekly.service", "[Service]\nExecStart=/usr/bin/true\n"),
        ("lib/systemd/system/tasks.service", "[Service]\nExecStart=/usr/bin/getssl renew\n"),
    ];
    let timers = [
        ("certs.timer", "lib/systemd/system/certs.timer"),
        ("dehydrated.timer", "/dev/null"),
        ("weekly.timer", "lib/systemd/system/weekly.timer"),
    ];
    let place = Place::new().with(OLD);
    // As Alpine has it.
    fs::create_dir_all(place.path("os/var/spool/cron")).unwrap();
    symlink("../../../etc/crontabs", place.path("os/var/spool/cron/crontabs")).unwrap();
    of_clients(&place, &files, &timers, |_, body| {
        let found = [
            "/etc/anacrontab",
            "/etc/cron.d/getssl",
            "/etc/cron.daily/dehydrated",
            "/etc/crontabs/root",
            "/etc/periodic/daily/certs",
            "/etc/systemd/system/timers.target.wants/certs.timer",
            "/etc/systemd/system/timers.target.wants/weekly.timer",
            "/var/spool/cron/crontabs/root",
            "/var/spool/cron/tabs/root",
        ];
        assert_eq!(lines(body, "renewer "), found, "{body}");
        assert!(lines(body, "held ").is_empty(), "{body}");
        assert!(lines(body, "room ")[0].parse::<u64>().unwrap() > 0);
        let clock: i64 = lines(body, "clock ")[0].parse().unwrap();
        assert!(clock.abs_diff(certd::context::clock::now().as_second()) < 60);
    });
}

#[test]
fn a_look_tells_what_acme_sh_certbot_and_lego_renew_and_none_of_their_secrets() {
    let cron = "9 0 * * * \"/root/.acme.sh\"/acme.sh --cron --home \"/root/.acme.sh\" > /dev/null\n";
    let conf = "Le_Domain='a.example'\nLe_Alt='b.example'\nLe_Webroot='dns_cf'\nLe_RealKeyPath='/ssl/a.key'\nLe_RealFullChainPath='/ssl/a.pem'\n";
    let certbot =
        "cert = /etc/letsencrypt/live/c.example/cert.pem\n[renewalparams]\nrenew_hook = TOKEN=secret cp x KEY\n";
    let lego =
        "0 0 * * * root CLOUDFLARE_DNS_API_TOKEN=secret lego --dns cloudflare --domains l.example -d=m.example renew\n";
    let files = [
        ("var/spool/cron/crontabs/root", cron),
        ("root/.acme.sh/a.example_ecc/a.example.conf", conf),
        ("root/.acme.sh/gone.example/gone.example.conf.removed", conf),
        ("home/.acme.sh/h.example/h.example.conf", "Le_Domain='h.example'\nLe_Alt='no'\n"),
        ("home/.acme.sh/account.conf", "CERT_HOME='/certs'\nSAVED_CF_Token='secret'\n"),
        ("certs/k.example_ecc/k.example.conf", "Le_Domain='k.example'\nLe_Alt='no'\n"),
        ("home/.acme.sh/h.example/h.example.csr.conf", "[ req_distinguished_name ]\n"),
        ("etc/cron.d/certbot", "0 */12 * * * root certbot -q renew\n"),
        ("etc/letsencrypt/renewal/c.example.conf", certbot),
        ("etc/cron.d/lego", lego),
    ];
    of_clients(&Place::new().with(OLD), &files, &[], |_, body| {
        let held = [
            "acme.sh|/certs/k.example_ecc/k.example.conf|'k.example' 'no'",
            "acme.sh|/home/.acme.sh/h.example/h.example.conf|'h.example' 'no'",
            "acme.sh|/root/.acme.sh/a.example_ecc/a.example.conf|'a.example' 'b.example' '/ssl/a.key' '/ssl/a.pem'",
            "certbot|/etc/letsencrypt/renewal/c.example.conf|-",
            "lego|/etc/cron.d/lego|--domains l.example -d=m.example",
        ];
        assert_eq!(lines(body, "held "), held, "{body}");
        assert!(lines(body, "renewer ").is_empty() && !body.contains("secret"), "{body}");
    });
    // Nothing starts them any more.
    let left: Vec<_> = files.into_iter().filter(|(file, _)| !file.contains("cron")).collect();
    of_clients(&Place::new().with(OLD), &left, &[], |_, body| assert!(lines(body, "held ").is_empty(), "{body}"));
}

#[test]
fn a_look_opens_nothing_that_another_user_chose_and_waits_for_no_pipe() {
    let place = Place::new().with(OLD);
    let (tab, pipe) = (place.path("os/var/spool/cron/crontabs/eve"), place.path("os/home/.acme.sh/y/y.conf"));
    fs::create_dir_all(tab.parent().unwrap()).unwrap();
    fs::write(&tab, "* * * * * /home/eve/acme.sh --cron --home /home/eve\n").unwrap();
    chown(&tab, Some(64001), None).unwrap();
    fs::create_dir_all(pipe.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let files = [
        ("home/eve/x/x.conf", "Le_Domain='a.example'\n"),
        ("var/spool/cron/crontabs/root", "9 0 * * * /root/.acme.sh/acme.sh --cron\n"),
    ];
    of_clients(&place, &files, &[], |_, body| {
        assert_eq!(lines(body, "renewer "), ["/var/spool/cron/crontabs/eve"], "{body}");
        assert!(lines(body, "held ").is_empty(), "{body}");
    });
}

#[test]
fn a_look_tells_the_names_of_a_certificate_of_certbots_and_the_paths_that_its_hooks_have() {
    let place = Place::new().with(OLD);
    let names = ["a.example", "*.b.example"].map(str::to_owned);
    let params = rcgen::CertificateParams::new(names).unwrap();
    let pem = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    let (live, key) = ("/etc/letsencrypt/live/x-0001/cert.pem", place.key.display());
    let conf = format!("cert = {live}\nrenew_hook = TOKEN=secret cp x {key}\n");
    let files = [
        ("etc/cron.d/certbot", "0 */12 * * * root certbot -q renew\n"),
        ("etc/letsencrypt/renewal/x-0001.conf", conf.as_str()),
        (&live[1..], pem.as_str()),
    ];
    of_clients(&place, &files, &[], |shell, body| {
        let conf = "/etc/letsencrypt/renewal/x-0001.conf";
        // Only openssl reads a certificate.
        let names = if has(shell, "openssl") { "DNS:a.example DNS:*.b.example " } else { "" };
        assert_eq!(lines(body, "held "), [format!("certbot|{conf}|{names}{key} -")], "{body}");
    });
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
            let (verb, body) = Program::look(shell, &whole(), &[wanted], &[]);
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

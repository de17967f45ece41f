//! The units: systemd itself finds nothing wrong with them, and little that an intruder could use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use certd::config::{Config, Provider, parse};
use tempfile::TempDir;

/// `systemd-analyze security` gives 0 (nothing exposed) to 10; a bare unit has 9.6. In tenths, as `--threshold=` wants.
const MOST_EXPOSURE: &str = "--threshold=15";

const SERVICES: [&str; 2] = ["certd-renew.service", "certd.service"];
const UNITS: [&str; 4] = ["certd.service", "certd-renew.service", "certd-renew.timer", "certd-alert@.service"];

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name);
    fs::read_to_string(path).expect("a unit of the repository")
}

/// The units in a folder of their own; the program need not be installed.
fn units(change: impl Fn(String) -> String) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in UNITS {
        let text = unit(name).replace("/usr/local/bin/certd renew", "/bin/true");
        let text = text.replace("/usr/local/bin/certd run", "/bin/true");
        fs::write(folder.path().join(name), change(text)).expect("a writable folder");
    }
    folder
}

fn systemd_analyze(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.arg("--no-pager").args(arguments).current_dir(folder.path());
    command.output().expect("systemd-analyze is a part of systemd")
}

fn exposure(folder: &TempDir, service: &str) -> Output {
    systemd_analyze(folder, &["security", "--offline=yes", MOST_EXPOSURE, &format!("./{service}")])
}

#[test]
fn the_services_expose_little() {
    for service in SERVICES {
        let output = exposure(&units(|text| text), service);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains(&format!("Overall exposure level for {service}")), "{printed}");
        assert!(output.status.success(), "{printed}");
    }
}

#[test]
fn a_service_without_its_hardening_would_be_noticed() {
    let weaker = units(|text| text.replace("ProtectSystem=strict", "").replace("CapabilityBoundingSet=", ""));
    for service in SERVICES {
        assert!(!exposure(&weaker, service).status.success(), "{service}");
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let verify: Vec<&str> = ["verify"].into_iter().chain(UNITS).collect();
    let complaints = |folder: &TempDir| {
        let output = systemd_analyze(folder, &verify);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        let ours = printed.lines().filter(|line| line.contains("certd")).map(str::to_owned);
        (output.status.success(), ours.collect::<Vec<_>>())
    };
    assert_eq!(complaints(&units(|text| text)), (true, Vec::new()));
    let (_, misspelt) = complaints(&units(|text| text.replace("TimeoutStartSec", "TimeoutStart")));
    assert!(!misspelt.is_empty(), "a misspelt key was not noticed");
}

/// A credential wins by its base name alone: a name that differs would be a file that certd cannot read.
#[test]
fn the_credentials_have_the_names_that_the_example_uses() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/certd.toml");
    let config = parse(&fs::read_to_string(example).unwrap()).unwrap();
    let Provider::Cloudflare { token_file, .. } = &config.dns.provider else { panic!("the provider of the example") };
    for service in SERVICES.map(unit) {
        has_the_credentials(&config, token_file, &service);
        assert!(service.contains("User=certd\nStateDirectory=certd\nStateDirectoryMode=0700\n"));
    }
    assert_eq!(config.state_dir, Path::new("/var/lib/certd"));
}

fn has_the_credentials(config: &Config, token_file: &Path, service: &str) {
    for file in config.nodes.iter().flat_map(|node| &node.ssh.identity_files).map(PathBuf::as_path).chain([token_file])
    {
        let name = file.file_name().expect("a file of the example has a name").to_string_lossy();
        let line = format!("LoadCredential={name}:{}", file.display());
        assert!(service.lines().any(|own| own == line), "{line}");
    }
}

/// systemd does not start a unit that loads a missing file (243/CREDENTIALS), unless the credential has a default.
#[test]
fn a_unit_starts_whichever_secrets_there_are() {
    for service in SERVICES.map(unit) {
        let names = |key: &str| -> Vec<String> {
            let values = service.lines().filter_map(|line| line.strip_prefix(key)?.split_once(':'));
            values.map(|(name, _)| name.to_owned()).collect()
        };
        assert_eq!(names("LoadCredential="), names("SetCredential="));
        assert_eq!(names("LoadCredential="), ["cloudflare.token", "tsig.key", "eab.hmac", "id_ed25519"]);
        let defaults = service.lines().filter(|line| line.starts_with("SetCredential="));
        assert!(defaults.into_iter().all(|line| line.ends_with(":-")), "what certd takes for no file");
    }
}

/// Two units with one schedule each would be two schedules; and what certd does to end and to show that it lives is in
/// vain when its unit does not ask for it.
#[test]
fn the_service_replaces_the_timer_and_is_watched() {
    let service = unit("certd.service");
    for line in [
        "Conflicts=certd-renew.timer",
        "Type=notify",
        "WatchdogSec=2min",
        "Restart=on-failure",
        "RestartPreventExitStatus=2",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "OnFailure=certd-alert@%n.service",
        "WantedBy=multi-user.target",
    ] {
        assert!(service.lines().any(|own| own == line), "{line}");
    }
    // Everything that hardens the one hardens the other.
    let hardening = |text: &str| -> Vec<String> {
        let from = text.find("# It talks to the network").expect("the hardening has its heading");
        text[from..].lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    assert_eq!(hardening(&service), hardening(&unit("certd-renew.service")));
}

/// Three is a warning; a failed unit, and with it the alert, is for what needs a person.
#[test]
fn a_warning_is_no_failure_and_a_failure_alerts() {
    let service = unit("certd-renew.service");
    for line in ["SuccessExitStatus=3", "OnFailure=certd-alert@%n.service", "Type=oneshot"] {
        assert!(service.lines().any(|own| own == line), "{line}");
    }
}

#[test]
fn k01_a_machine_that_was_off_makes_up_for_a_renewal_and_k06_a_thousand_do_not_at_once() {
    let timer = unit("certd-renew.timer");
    for line in ["OnCalendar=*-*-* 00/6:00:00 UTC", "Persistent=true", "RandomizedDelaySec=1h"] {
        assert!(timer.lines().any(|own| own == line), "{line}");
    }
}

//! The README says what the program says.

use std::fs;
use std::process::Command;

fn read(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect("a file of the repository")
}

#[test]
fn its_configuration_is_the_example_that_is_shipped() {
    let readme = read("README.md");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a toml block");
    assert_eq!(block, read("config/certd.toml"));
}

#[test]
fn its_exit_codes_are_those_of_help() {
    let output = Command::new(env!("CARGO_BIN_EXE_certd")).arg("--help").env("COLUMNS", "400").output();
    let help = String::from_utf8(output.expect("certd starts").stdout).expect("help is UTF-8");
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (help, readme) = (squeeze(&help), squeeze(&read("README.md")));
    for code in 0..=7 {
        let start = format!(" {code} ");
        let meaning = help.split("lists all):").nth(1).and_then(|codes| codes.split(&start).nth(1));
        let meaning = meaning.expect("help has this code").split(&format!(" {} ", code + 1)).next().expect("a text");
        assert!(readme.contains(&format!("| {code} | {meaning}")), "{code}: {meaning}");
    }
}

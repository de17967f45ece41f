//! `kill -9` before every line of the script, then a fresh run: it ends where one run ends, and the way back is whole.

use std::collections::BTreeSet;

use certd::model::Renewal;
use certd::node::takeover;

use super::OURS;
use super::bench::{CRON, Home, acme, lego, node};
use crate::lab::node_program::shells::SHELLS;
use crate::lab::statements::stands_alone;

fn home() -> (Home, [Renewal; 2]) {
    let home = Home::new();
    home.acme("a.example_ecc/a.example", "a.example", "no");
    home.write("var/spool/cron/crontabs/root", CRON, 0o600);
    home.write("etc/cron.d/lego", "0 3 * * * root lego -d a.example renew\n", 0o644);
    (home, [acme(OURS, &["a.example"]), lego("/etc/cron.d/lego", &["a.example"])])
}

/// The script, each time with a kill before another line.
fn variants(script: &str) -> Vec<String> {
    let lines: Vec<&str> = script.lines().collect();
    let start = lines.iter().position(|line| line.starts_with("# --- what root may touch")).unwrap();
    let alone = (start..lines.len()).filter(|at| stands_alone(lines[*at].trim(), lines[at - 1].trim_end()));
    let alone = alone.filter(|at| !lines[*at].trim().starts_with('#'));
    alone.map(|at| [&lines[..at], &["kill -9 0"], &lines[at..]].concat().join("\n")).collect()
}

/// What the files say, without times and numbers of records, which are those of the run.
fn contents(home: &Home) -> BTreeSet<String> {
    let all = home.all().replace(&home.path("").display().to_string(), "/");
    let said = all.lines().filter(|line| line.starts_with("./") && line.contains(':'));
    said.map(|line| line.replace(|c: char| c.is_ascii_digit(), "")).collect()
}

#[test]
fn killed_before_some_lines_the_next_run_ends_where_it_should_and_the_way_back_is_whole() {
    let (one, items) = home();
    one.switch_off(&["dash"], &items);
    let whole = contents(&one);
    let mut killed = 0;
    // A few lines; `make soak` takes all.
    let stride = if std::env::var_os("ALL_SHELLS").is_some() { 1 } else { 10 };
    let scripts = [(takeover::switch_off(&node(), &items, &[], None), false), (takeover::put_back(&node()), true)];
    for (script, back) in scripts {
        for (number, variant) in variants(&script).into_iter().enumerate().step_by(stride) {
            let at = format!(
                "{:?} {}",
                SHELLS[number % SHELLS.len()],
                variant.lines().skip_while(|line| *line != "kill -9 0").nth(1).unwrap()
            );
            let shell = SHELLS[number % SHELLS.len()];
            let (home, items) = home();
            let before = home.all();
            if back {
                home.switch_off(shell, &items);
            }
            let output = home.run(shell, &variant);
            killed += usize::from(!output.status.success());
            if back {
                home.put_back(shell);
                assert_eq!(home.all(), before, "{at}");
                continue;
            }
            // What a look finds then.
            let found = items.into_iter().filter(|item| home.path(&item.file[1..]).exists());
            home.switch_off(shell, &found.collect::<Vec<_>>());
            assert_eq!(contents(&home), whole, "{at}");
            home.put_back(shell);
            assert_eq!(home.all(), before, "{at}");
        }
    }
    assert!(killed > 60 / stride, "{killed}");
}

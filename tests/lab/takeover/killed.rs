//! `kill -9` before every line of the script, then a fresh run: it ends where one run ends, and the way back is whole.

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

fn contents(home: &Home) -> String {
    let all = home.all();
    // Without times, which are those of the run.
    all.lines().filter(|line| line.starts_with("./") && line.contains(':')).fold(String::new(), |all, line| all + line + "\n")
}

#[test]
fn killed_before_some_lines_the_next_run_ends_where_it_should_and_the_way_back_is_whole() {
    let (one, items) = home();
    one.switch_off(&["dash"], &items);
    let whole = contents(&one).replace("takeover/1", "").replace("takeover/2", "").replace("takeover/3", "");
    let mut killed = 0;
    let scripts = [(takeover::switch_off(&node(), &items), false), (takeover::put_back(&node()), true)];
    for (script, back) in scripts {
        // Every shell takes its turn; `make soak` runs them all.
        for (number, variant) in variants(&script).into_iter().enumerate().filter(|(number, _)| number % 2 == 0) {
            let shell = SHELLS[number / 2 % SHELLS.len()];
            let (home, items) = home();
            let before = home.all();
            if back {
                home.switch_off(shell, &items);
            }
            let output = home.run(shell, &variant);
            killed += usize::from(!output.status.success());
            if back {
                home.put_back(shell);
                assert_eq!(home.all(), before, "{shell:?} {variant}");
                continue;
            }
            // What a look finds then.
            let found = items.into_iter().filter(|item| home.path(&item.file[1..]).exists());
            home.switch_off(shell, &found.collect::<Vec<_>>());
            let now = contents(&home).replace("takeover/1", "").replace("takeover/2", "").replace("takeover/3", "");
            assert_eq!(now.lines().collect::<std::collections::BTreeSet<_>>(), whole.lines().collect(), "{variant}");
            home.put_back(shell);
            assert_eq!(home.all(), before, "{shell:?} {variant}");
        }
    }
    assert!(killed > 40, "{killed}");
}

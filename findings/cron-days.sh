#!/usr/bin/env bash
# Guess:   the days of a schedule mean what they mean in a crontab: 1 is Monday, 7 (and 0) Sunday, and with a day of the
#          month and a day of the week it runs on either.
# Truth:   in the crate `cron` 1 is Sunday and 7 is Saturday, 0 is refused, and of two kinds of days both have to be true.
#          Names (Mon) are what one expects. The first field is the second; five fields are refused, which is what warns.
# Version: cron 0.17.0 (crates.io); croniter 6.0.0 (PyPI) counts as a crontab does. Seen 2026-11-27.
# Why:     a window for renewals or reloads on working days, 1-5, moves to Sunday till Thursday without an error, and the
#          one that was meant for Sunday nights (7) comes on Saturdays; one on the first of the month or a Monday comes
#          about twice a year. Take names.
# Needs:   cargo, python3 with venv.
set -eu

dir=$(mktemp -d)
pids=''
finish() {
    # shellcheck disable=SC2086 # a list of numbers
    [ -z "$pids" ] || kill $pids 2>/dev/null || :
    wait
    rm -rf "$dir"
}
trap finish EXIT
changed=0
expect() { # what, seen, expected
    printf '%-58s %s\n' "$1:" "$2"
    [ "$2" = "$3" ] || { printf 'CHANGED, it was: %s\n' "$3"; changed=1; }
}

mkdir -p "$dir/crate/src"
cat >"$dir/crate/Cargo.toml" <<'END'
[package]
name = "days"
version = "0.0.0"
edition = "2021"
[dependencies]
cron = "=0.17.0"
chrono = "=0.4.45"
[workspace]
END
cat >"$dir/crate/src/main.rs" <<'END'
use std::str::FromStr;

// The days on which the schedule of the first argument runs next, from Friday, 2027-01-01, as many as the second one says.
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let Ok(schedule) = cron::Schedule::from_str(&arguments[1]) else {
        println!("refused");
        return;
    };
    let start: chrono::DateTime<chrono::Utc> = "2027-01-01T00:00:00Z".parse().unwrap();
    let count = arguments[2].parse().unwrap();
    let days: Vec<String> = schedule.after(&start).take(count).map(|time| time.format("%a").to_string()).collect();
    println!("{}", days.join(" "));
}
END
(cd "$dir/crate" && CARGO_TARGET_DIR=$dir/target cargo build -q)
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check croniter==6.0.0
cat >"$dir/days.py" <<'END'
import sys
from datetime import datetime
from croniter import croniter
times = croniter(sys.argv[1], datetime(2027, 1, 1))
print(*[times.get_next(datetime).strftime("%a") for _ in range(int(sys.argv[2]))])
END
crate() { "$dir/target/debug/days" "$@"; }
crontab() { "$dir/venv/bin/python" "$dir/days.py" "$@"; }

echo "cron 0.17.0"
expect "  0 30 4 * * 1" "$(crate '0 30 4 * * 1' 2)" "Sun Sun"
expect "  0 30 4 * * 7" "$(crate '0 30 4 * * 7' 2)" "Sat Sat"
expect "  0 30 4 * * 1-5" "$(crate '0 30 4 * * 1-5' 5)" "Sun Mon Tue Wed Thu"
expect "  0 30 4 * * Mon-Fri" "$(crate '0 30 4 * * Mon-Fri' 5)" "Fri Mon Tue Wed Thu"
expect "  0 30 4 1 * Mon" "$(crate '0 30 4 1 * Mon' 3)" "Mon Mon Mon"
expect "  0 30 4 * * 0" "$(crate '0 30 4 * * 0' 2)" refused
expect "  30 4 * * 1" "$(crate '30 4 * * 1' 2)" refused
echo "croniter 6.0.0"
expect "  30 4 * * 1" "$(crontab '30 4 * * 1' 2)" "Mon Mon"
expect "  30 4 * * 7" "$(crontab '30 4 * * 7' 2)" "Sun Sun"
expect "  30 4 * * 1-5" "$(crontab '30 4 * * 1-5' 5)" "Fri Mon Tue Wed Thu"
expect "  30 4 1 * mon" "$(crontab '30 4 1 * mon' 3)" "Fri Mon Mon"
test "$changed" = 0

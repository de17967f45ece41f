use core::fmt::Write as _;

use clap::Args;

use crate::ops::generations::{self, Generations, Listed};
use crate::report::{Exit, minute};
use crate::store::{Store, owner};
use crate::text::list;

use super::fault::Fault;
use super::{Options, Output, output, setup};

/// Nodes listed for a generation; the JSON lists all.
const NAMED: usize = 5;

/// List the stored generations of a certificate, newest first
///
/// For each: the issuer, the dates, the nodes it was last delivered to, and the command to go back to it or why that is
/// not possible. Reads only the state directory: no lock, no secrets, no network.
#[derive(Args)]
pub(super) struct Command {
    /// Name of the certificate.
    #[arg(value_name = "NAME")]
    name: String,
}

impl Command {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let names = setup::certificates(&config, core::slice::from_ref(&self.name))?;
        owner::become_owner(&config.state_dir)?;
        let store = Store::look(&config.state_dir)?;
        for name in &names {
            let listed = generations::list(&store, name)?;
            match options.output {
                Output::Text => output::text(&text(&listed)),
                Output::Json => output::json(&listed),
            }
        }
        Ok(Exit::Ok.code())
    }
}

fn text(all: &Generations) -> String {
    let name = &all.certificate;
    let count = all.generations.len();
    if count == 0 {
        return format!("{name}: nothing is stored yet\n  next: `certd renew {name}` issues it\n");
    }
    let mut out = format!("{name}: {}, newest first\n", list::count(count, "generation"));
    for listed in &all.generations {
        // Writing to a String cannot fail.
        let _ = one(&mut out, all, listed);
    }
    out
}

fn one(out: &mut String, all: &Generations, listed: &Listed) -> core::fmt::Result {
    let mut marks = Vec::new();
    marks.extend(listed.current.then(|| "current".to_owned()));
    if let Some(held) = all.held.as_ref().filter(|_| listed.held) {
        let by = held.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        marks.push(format!("held since {}{by}", minute(held.since)));
    }
    let marks = if marks.is_empty() { String::new() } else { format!("  ({})", marks.join("; ")) };
    writeln!(out, "\n  {}{marks}", listed.generation)?;
    if let Some(leaf) = &listed.leaf {
        writeln!(out, "    fingerprint {}, issued by {} ({})", leaf.fingerprint.short(), leaf.issuer, leaf.ca)?;
        let (from, to) = (minute(leaf.not_before), minute(leaf.not_after));
        writeln!(out, "    valid {from} to {to}, {}", left(leaf.seconds_left, leaf.percent_left))?;
    }
    if !listed.delivered.is_empty() {
        let nodes = listed.delivered.iter().map(|it| format!("{} ({})", it.node, minute(it.at)));
        writeln!(out, "    last delivered to {}", list::first(NAMED, nodes))?;
    }
    match (&listed.deploy, &listed.refused) {
        (_, Some(why)) => writeln!(out, "    cannot go back to it: {why}"),
        (Some(_), _) if listed.held => writeln!(out, "    release it: certd deploy {} --latest", all.certificate),
        (Some(_), _) if listed.current && all.held.is_none() => Ok(()),
        (Some(written), _) => {
            writeln!(out, "    go back to it: certd deploy {} --generation {written}", all.certificate)
        }
        (None, None) => Ok(()),
    }
}

/// `60 d of life left (66 %)`.
fn left(seconds: i64, percent: i64) -> String {
    const HOUR: i64 = 3_600;
    match seconds {
        ..=0 => "expired".to_owned(),
        s if s < 48 * HOUR => format!("{} h left ({percent} %)", s / HOUR),
        s => format!("{} d left ({percent} %)", s / (24 * HOUR)),
    }
}

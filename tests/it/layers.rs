//! The architecture, held to: who imports whom, what the pure modules may not know, who reads the clock, how long files
//! are.

mod circles;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::{code, module, paths, tree};

/// Each may name those that stand behind it, and itself; a pure one the pure ones among them.
const ORDER: [&str; 23] = [
    "cli",
    "service",
    "ops",
    "reconcile",
    "execute",
    "observe",
    "context",
    "report",
    "plan",
    "import",
    "acme",
    "dns",
    "node",
    "ssh",
    "probe",
    "store",
    "http",
    "model",
    "config",
    "cert",
    "text",
    "mutex",
    "descriptors",
];

/// Without I/O, clock or randomness.
const PURE: [&str; 7] = ["report", "plan", "import", "model", "config", "cert", "text"];

/// They do not know each other, but that a node is reached over SSH.
const PROTOCOLS: [&str; 6] = ["acme", "dns", "node", "ssh", "probe", "store"];

/// What does, waits or asks the system. `core::net` is only data.
const IMPURE: [&str; 9] =
    ["async", "tokio", "reqwest", "ssh2", "std::fs", "std::process", "std::env", "std::net", "std::thread"];

const CLOCK: [&str; 4] = ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now"];

const LONGEST_FILE: usize = 400;
const LONGEST_MEDIAN: usize = 200;
/// A card.
const LONGEST_MAIN: usize = 25;

/// `super::super::store`, written in `plan::order`, is `crate::store`.
fn from_root(module: &str, path: &str) -> String {
    let (mut rest, mut depth) = (path, module.split("::").count());
    while let Some(above) = rest.strip_prefix("super::") {
        (rest, depth) = (above, depth.saturating_sub(1));
    }
    if rest != path && depth == 0 { format!("crate::{rest}") } else { path.to_owned() }
}

/// What the code of `module` names and may not.
fn trespasses(module: &str, source: &str) -> Vec<String> {
    let layer = module.split("::").next().unwrap_or(module);
    let Some(place) = ORDER.iter().position(|name| *name == layer) else {
        return vec![format!("{module} is in no layer")];
    };
    let pure = PURE.contains(&layer);
    let may_name = |below: &str| {
        let siblings = below != layer && PROTOCOLS.contains(&layer) && PROTOCOLS.contains(&below);
        (!pure || PURE.contains(&below)) && (!siblings || (layer, below) == ("node", "ssh"))
    };
    let allowed: Vec<&str> = ORDER[place..].iter().copied().filter(|below| may_name(below)).collect();
    let mut found = Vec::new();
    for path in paths(&code(source)) {
        let rooted = from_root(module, &path);
        let named = rooted.strip_prefix("crate::").or_else(|| rooted.strip_prefix("certd::"));
        if let Some(named) = named.filter(|named| !named.contains("::"))
            && !allowed.contains(&named)
        {
            found.push(format!("{module} names {path}"));
        }
        if pure && IMPURE.contains(&path.as_str()) {
            found.push(format!("{module} is pure and names {path}"));
        }
    }
    found
}

fn clock_reads(source: &str) -> Vec<String> {
    let ends_so = |path: &String| CLOCK.iter().any(|clock| path == clock || path.ends_with(&format!("::{clock}")));
    paths(&code(source)).into_iter().filter(ends_so).collect()
}

#[test]
fn every_module_imports_only_what_stands_below_it() {
    let mut found = Vec::new();
    for (path, source) in tree() {
        let Some(module) = module(&path) else { continue };
        found.extend(trespasses(&module, &source).into_iter().map(|what| format!("{}: {what}", path.display())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_clock_is_read_in_one_file() {
    let mut found = Vec::new();
    for (path, source) in tree() {
        if module(&path).is_some_and(|module| module != "context::clock") {
            found.extend(clock_reads(&source).into_iter().map(|what| format!("{}: {what}", path.display())));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn files_are_short_and_main_fits_on_a_card() {
    let mut lengths: Vec<(usize, PathBuf)> = Vec::new();
    for (path, source) in tree() {
        let lines = source.lines().count();
        assert!(lines <= LONGEST_FILE, "{}: {lines} lines", path.display());
        assert!(!path.ends_with("src/main.rs") || lines <= LONGEST_MAIN, "main.rs: {lines} lines");
        lengths.push((lines, path));
    }
    lengths.sort();
    let (median, path) = &lengths[lengths.len() / 2];
    assert!(*median < LONGEST_MEDIAN, "the median file has {median} lines: {}", path.display());
}

#[test]
fn no_unsafe_code_is_allowed_by_a_file() {
    for (path, source) in tree() {
        assert!(!code(&source).contains("unsafe"), "{}", path.display());
    }
}

/// As `deny.toml` says, for those who have no `cargo deny`: a second one of these is a second set of bugs and settings.
#[test]
fn there_is_one_tls_and_one_http() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).expect("a lock file");
    let versions = |name: &str| {
        let packages = lock.split("[[package]]").filter(|package| package.contains(&format!("\nname = \"{name}\"\n")));
        let version = packages.filter_map(|package| package.split("version = \"").nth(1)?.split('"').next());
        version.map(str::to_owned).collect::<Vec<_>>()
    };
    for name in ["rustls", "reqwest", "hyper", "instant-acme", "ssh2", "libssh2-sys"] {
        assert_eq!(versions(name).len(), 1, "{name}: {:?}", versions(name));
    }
}

/// Each of these would be found; a scan that finds nothing proves nothing.
#[test]
fn the_scan_finds_what_it_looks_for() {
    for (module, bad) in [
        ("plan", "use crate::store::Store;"),
        ("plan", "use crate::{cert::Leaf, reconcile};"),
        ("plan", "fn f() { let x = crate::acme::Client::new(); }"),
        ("dns", "use crate::{\n    config::Dns,\n    store,\n};"),
        ("node", "fn f(_: crate::probe::Verified) {}"),
        ("ssh", "use crate::node;"),
        ("reconcile", "use crate::cli;"),
        ("model", "use crate::plan::Plan;"),
        ("cert", "use crate::report::Exit;"),
        ("cert", "pub async fn f() {}"),
        ("cert", "use tokio::time;"),
        ("config", "fn f() { std::fs::read(\"x\"); }"),
        ("config", "use std::{collections::BTreeMap, env};"),
        ("model", "use std::net::{IpAddr, SocketAddr};"),
        ("report", "use std::process::{self, ExitCode};"),
        ("plan", "const A: char = '\"'; use crate::ssh; const B: char = '\"';"),
        ("plan::order", "use super::super::store::Store;"),
        ("config", "use super::{plan, dns};"),
        ("elsewhere", ""),
    ] {
        assert!(!trespasses(module, bad).is_empty(), "not found in {module}: {bad}");
    }
    for (module, good) in [
        ("plan", "use core::net::IpAddr;\nuse crate::cert::{Leaf, Pair};"),
        (
            "plan",
            "// use crate::store;\nconst A: &str = \"crate::store \\\" crate::acme\"; const B: &str = r#\"std::fs\"#;",
        ),
        ("node", "use crate::ssh::Session;"),
        ("reconcile", "use crate::{acme, node, store::Store};"),
        ("config::acme", "use super::dns::Dns;"),
        ("store", "use std::{env, fs};"),
        ("cert", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}"),
    ] {
        assert_eq!(trespasses(module, good), Vec::<String>::new(), "{module}: {good}");
    }
    assert_eq!(clock_reads("fn f() { let t = std::time::Instant::now(); }"), ["std::time::Instant::now"]);
    assert_eq!(clock_reads("use jiff::Timestamp; fn f() -> Timestamp { Timestamp::now() }"), ["Timestamp::now"]);
    assert_eq!(clock_reads("fn f() -> Timestamp { clock::now() } // Timestamp::now"), [""; 0]);
}

//! The architecture, held to: who imports whom, what the pure modules may not know, who reads the clock, how long files
//! are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each may name those that stand behind it, and itself; a pure one the pure ones among them.
const ORDER: [&str; 21] = [
    "cli",
    "service",
    "ops",
    "reconcile",
    "execute",
    "observe",
    "context",
    "report",
    "plan",
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
];

/// Without I/O, clock or randomness.
const PURE: [&str; 6] = ["report", "plan", "model", "config", "cert", "text"];

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

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry that can be read").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source in UTF-8");
            found.push((path, text));
        }
    }
    found
}

fn tree() -> Vec<(PathBuf, String)> {
    let mut sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    sources.sort();
    assert!(sources.len() > 20, "the tree was not found");
    sources
}

/// `src/node/frames.rs` is `node::frames`; `src/node/mod.rs` and `src/node.rs` are `node`. `lib` and `main` are above all
/// layers. `None`: tests, which may do what they like.
fn module(path: &Path) -> Option<String> {
    let inner = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("below src");
    let parts: Vec<String> = inner.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let module = parts.join("::");
    let module = module.strip_suffix("::mod").unwrap_or(&module);
    let above = module == "lib" || module == "main" || parts.iter().any(|part| part == "tests");
    (!above).then(|| module.to_owned())
}

/// Code alone: comments, texts and characters become spaces, and unit tests at the end of a file are cut off.
fn code(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(source);
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_text(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..].find(&end).map_or(rest.len(), |found| start + found + end.len())
        } else if first == '"' {
            quoted(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if let Some(escaped) = rest.strip_prefix("'\\") {
            escaped.char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(rest.len(), |(end, _)| end + 3)
        } else {
            0
        };
        code.push(if skipped == 0 { first } else { ' ' });
        rest = &rest[skipped.max(first.len_utf8())..];
    }
    code
}

fn raw_text(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    rest[hashes + 1..].starts_with('"').then_some(hashes)
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Words and `::` `{` `}` `,` and whatever else, one by one.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let length = if rest.starts_with("::") {
            2
        } else if word == 0 {
            first.len_utf8()
        } else {
            word
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Every path of the code, written out: `use std::{fs, io::Read}` gives `std::fs` and `std::io::Read`.
fn paths(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut prefixes: Vec<Option<String>> = Vec::new();
    let mut path = String::new();
    for (index, token) in tokens.iter().enumerate() {
        let follows_path = index > 0 && tokens[index - 1] == "::";
        match *token {
            "{" => prefixes.push(follows_path.then(|| path.clone())),
            "}" => {
                prefixes.pop();
            }
            "::" => path.push_str("::"),
            word if word.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                if !follows_path {
                    path = prefixes.last().cloned().flatten().unwrap_or_default();
                }
                path.push_str(word);
                found.push(path.clone());
            }
            _ => {}
        }
    }
    found
}

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

/// Of each file (by its module) the files that it names. What `pub use` hands on counts as the file that defines it.
fn named_files(sources: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeSet<&str> = sources.iter().map(|(module, _)| module.as_str()).collect();
    let mut handed_on = BTreeMap::new();
    let mut named = Vec::new();
    for (module, source) in sources {
        for piece in code(source).split(';') {
            let tree = piece
                .rsplit_once("use ")
                .filter(|(before, _)| before.trim_end().ends_with("pub") || before.trim_end().ends_with(')'));
            match tree {
                Some((before, tree)) => {
                    handed_on.extend(whole_paths(tree).into_iter().filter_map(|path| {
                        let at = absolute(module, &path).unwrap_or_else(|| format!("{module}::{path}"));
                        let (_, name) = at.rsplit_once("::")?;
                        Some((format!("{module}::{name}"), at))
                    }));
                    named.extend(whole_paths(before).into_iter().map(|path| (module, path)));
                }
                None => named.extend(whole_paths(piece).into_iter().map(|path| (module, path))),
            }
        }
    }
    let file_of = |path: String| {
        let mut path = path;
        // A re-export of a re-export; more is a circle of its own.
        for _ in 0..6 {
            let ends = path.match_indices("::").map(|(end, _)| end).chain([path.len()]);
            let known = ends.filter(|end| modules.contains(&path[..*end])).last()?;
            let next = path[known..].split("::").nth(1).map(|name| format!("{}::{name}", &path[..known]));
            match next.and_then(|next| handed_on.get(&next)).filter(|target| **target != path) {
                Some(target) => path.clone_from(target),
                None => return Some(path[..known].to_owned()),
            }
        }
        None
    };
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, path) in named {
        let other = absolute(module, &path).and_then(file_of).filter(|other| other != module);
        files.entry(module.clone()).or_default().extend(other);
    }
    files
}

/// [`paths`] without those that are only the beginning of the next one.
fn whole_paths(code: &str) -> Vec<String> {
    let paths = paths(code);
    let is_whole = |index: usize, path: &String| {
        paths
            .get(index + 1)
            .is_none_or(|next: &String| !next.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with("::")))
    };
    paths.iter().enumerate().filter(|(index, path)| is_whole(*index, path)).map(|(_, path)| path.clone()).collect()
}

/// From the crate's root, without `crate::`. `None`: neither that nor relative to the module.
fn absolute(module: &str, path: &str) -> Option<String> {
    if let Some(rest) = path.strip_prefix("crate::") {
        return Some(rest.to_owned());
    }
    if let Some(rest) = path.strip_prefix("self::") {
        return Some(format!("{module}::{rest}"));
    }
    let (mut rest, mut above) = (path, module);
    while let Some(further) = rest.strip_prefix("super::") {
        (rest, above) = (further, above.rsplit_once("::").map_or("", |(above, _)| above));
    }
    (rest != path).then(|| if above.is_empty() { rest.to_owned() } else { format!("{above}::{rest}") })
}

/// Files that reach each other, where they are more than two or in more than one folder.
fn circles(sources: &[(String, String)]) -> BTreeSet<Vec<String>> {
    let files = named_files(sources);
    let reach = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(file) = next.pop() {
            let named = files.get(file).into_iter().flatten();
            next.extend(named.filter(|other| seen.insert((*other).clone())));
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = files.keys().map(|file| (file, reach(file))).collect();
    let of = |file: &&String| -> Vec<String> {
        let back = |other: &&String| reached.get(*other).is_some_and(|from| from.contains(*file));
        reached[*file].iter().filter(back).cloned().collect()
    };
    let folder = |file: &String| file.split("::").next().unwrap_or_default().to_owned();
    let is_bad =
        |circle: &Vec<String>| circle.len() > 2 || circle.iter().any(|file| folder(file) != folder(&circle[0]));
    reached.keys().map(of).filter(is_bad).collect()
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
fn no_circle_is_longer_than_two_files_or_leads_through_two_folders() {
    let named = |(path, source): (PathBuf, String)| Some((module(&path)?, source));
    let sources: Vec<(String, String)> = tree().into_iter().filter_map(named).collect();
    let found: Vec<String> = circles(&sources).iter().map(|circle| circle.join(" ")).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn circles_are_found_through_re_exports_and_pairs_are_allowed() {
    let found = |sources: &[(&str, &str)]| -> Vec<String> {
        let owned = |(module, source): &(&str, &str)| ((*module).to_owned(), (*source).to_owned());
        circles(&sources.iter().map(owned).collect::<Vec<_>>()).iter().map(|circle| circle.join(" ")).collect()
    };
    let pair = [("a", "mod b;\nmod c;\npub use b::B;"), ("a::b", "use super::c::C;"), ("a::c", "use super::B;")];
    assert_eq!(found(&pair), [""; 0]);
    let three = [
        ("a", "mod b;\nmod c;\nmod d;\npub use b::B;\npub(super) use d::{D, E};"),
        ("a::b", "use super::c::C;"),
        ("a::c", "fn f() { crate::a::D::new() }"),
        ("a::d", "use super::{B, c};\n#[cfg(test)]\nmod tests {\n    use crate::x::X;\n}"),
    ];
    assert_eq!(found(&three), ["a::b a::c a::d"]);
    let folders = [("a::b", "use crate::x::y::Y;"), ("x::y", "use crate::a::b::B;")];
    assert_eq!(found(&folders), ["a::b x::y"]);
    let comment = [("a::b", "use crate::x::y::Y;"), ("x::y", "// use crate::a::b::B;")];
    assert_eq!(found(&comment), [""; 0]);
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

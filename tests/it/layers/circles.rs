//! Circles of files that name each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::source::{code, module, paths, tree};

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

//! The sources of certd, and the paths that their code names.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
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

pub(crate) fn tree() -> Vec<(PathBuf, String)> {
    let mut sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    sources.sort();
    assert!(sources.len() > 20, "the tree was not found");
    sources
}

/// `src/node/frames.rs` is `node::frames`; `src/node/mod.rs` and `src/node.rs` are `node`. `lib` and `main` are above all
/// layers. `None`: tests, which may do what they like.
pub(crate) fn module(path: &Path) -> Option<String> {
    let inner = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("below src");
    let parts: Vec<String> = inner.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let module = parts.join("::");
    let module = module.strip_suffix("::mod").unwrap_or(&module);
    let above = module == "lib" || module == "main" || parts.iter().any(|part| part == "tests");
    (!above).then(|| module.to_owned())
}

/// Code alone: comments, texts and characters become spaces, and unit tests at the end of a file are cut off.
pub(crate) fn code(source: &str) -> String {
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

pub(crate) fn raw_text(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    rest[hashes + 1..].starts_with('"').then_some(hashes)
}

pub(crate) fn quoted(rest: &str) -> usize {
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
pub(crate) fn tokens(code: &str) -> Vec<&str> {
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
pub(crate) fn paths(code: &str) -> Vec<String> {
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

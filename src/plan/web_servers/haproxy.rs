//! HAProxy's files. A bind line names a file, a folder or a list of them; which is which, no line says.

use super::nginx::files;
use super::{Files, MOST_BYTES, MOST_SITES, Room, Site, whole};
use crate::text::escape;

pub(super) fn sites(text: &str) -> Vec<Site> {
    let mut base = "";
    let mut section = "";
    let (mut sites, mut room) = (Vec::new(), Room(MOST_BYTES));
    let lines: Vec<&str> = files(text).into_iter().flat_map(|(_, text)| text.lines()).collect();
    let words: Vec<Vec<&str>> = lines.into_iter().map(words).collect();
    for line in &words {
        match line.as_slice() {
            [word @ ("global" | "defaults" | "frontend" | "listen" | "backend"), ..] => section = word,
            ["crt-base", folder, ..] if section == "global" => base = folder,
            ["bind", rest @ ..] if rest.contains(&"ssl") && sites.len() < MOST_SITES => {
                let paths = rest.windows(2).filter(|pair| matches!(pair[0], "crt" | "crt-list"));
                let of_bind = paths.map(|pair| match pair[0] {
                    "crt" => file(base, pair[1]),
                    _ => Files::Unusable(format!(
                        "the files are named by a list, {}: write the one of this certificate as `combined`",
                        escape(pair[1], 200)
                    )),
                });
                // It chooses by the names in the certificates.
                sites.push(Site { names: Vec::new(), is_default: sites.is_empty(), files: room.files(of_bind) });
            }
            _ => {}
        }
    }
    sites
}

/// A file of a pair has an ending; a folder has none.
fn file(base: &str, path: &str) -> Files {
    let written = if path.starts_with('/') || base.is_empty() { path.to_owned() } else { format!("{base}/{path}") };
    let plain = whole(&written).ok().filter(|whole| !whole.contains('$'));
    let Some(plain) = plain else {
        return Files::Unusable(format!("the server's path {} is not a plain one", escape(&written, 200)));
    };
    let name = plain.rsplit('/').next().unwrap_or_default();
    if written.ends_with('/') || !name.contains('.') { Files::Folder(plain) } else { Files::Combined(plain) }
}

fn words(line: &str) -> Vec<&str> {
    let code = line.split(" #").next().unwrap_or_default().trim();
    let code = if code.starts_with('#') { "" } else { code };
    code.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect()
}

//! The medians that `cargo bench` has left: what has no peer and needs no network.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Row;

/// By their names; none where `cargo bench` was not run.
pub(crate) fn rows() -> Vec<Row> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let mut rows = Vec::new();
    for group in folders(&target.join("criterion")) {
        for bench in folders(&group) {
            for size in folders(&bench) {
                rows.extend(of(&size));
            }
        }
    }
    rows
}

fn of(size: &Path) -> Option<Row> {
    let read = |file: &str| serde_json::from_str::<Value>(&fs::read_to_string(size.join("new").join(file)).ok()?).ok();
    let work = read("benchmark.json")?["full_id"].as_str()?.to_owned();
    let nanoseconds = read("estimates.json")?["median"]["point_estimate"].as_f64()?;
    Some(Row { work, ours: format!("{:.2} ms", nanoseconds / 1e6), peer: String::new(), ratio: String::new() })
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

//! Lists and counts in sentences.

use core::fmt::Display;

/// `a, b, c and 97 more`: the first `most` of them, and the number of the others.
pub fn first(most: usize, all: impl IntoIterator<Item = impl Display>) -> String {
    let mut all = all.into_iter().map(|one| one.to_string());
    let shown = all.by_ref().take(most).collect::<Vec<_>>().join(", ");
    match all.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// `1 node`, `2 nodes`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

//! `[rollout]`: how carefully a change goes through the fleet.

use super::defaults::STOP_AFTER_PERCENT;
use super::error::ConfigErrors;
use super::window::{Window, Windows};
use super::written::{Section, Spanned};

#[derive(Clone, Debug)]
pub struct Rollout {
    pub stop_after: StopAfter,
}

/// If more nodes than this refuse the certificate, the rollout ends: no other node gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopAfter {
    Nodes(usize),
    /// Percentage of the rollout's nodes, and at least one node.
    Percent(usize),
}

impl StopAfter {
    /// The limit for a rollout to this number of nodes.
    pub fn of(self, nodes: usize) -> usize {
        match self {
            Self::Nodes(count) => count,
            Self::Percent(percent) => (nodes.saturating_mul(percent) / 100).max(1),
        }
    }
}

/// The rollout, and the windows of nodes without their own.
pub(super) fn read(mut section: Section<'_>) -> (Rollout, Option<Windows>) {
    let errors = section.errors();
    let stop_after = section.text_or_number("stop_after").and_then(|written| stop_after(&written, errors));
    let windows = section.one_or_more("window").and_then(|list| windows(&list, errors));
    section.finish();
    (Rollout { stop_after: stop_after.unwrap_or(StopAfter::Percent(STOP_AFTER_PERCENT)) }, windows)
}

fn stop_after(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<StopAfter> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let found = match written.value.strip_suffix('%') {
        Some(percent) => number(percent).filter(|percent| *percent <= 100).map(StopAfter::Percent),
        None => number(&written.value).map(StopAfter::Nodes),
    };
    found.or_else(|| {
        let what = format!("{:?} is neither a number of nodes nor a part of them", written.value);
        errors.none(written, what, "\"10%\" (and at least one), or a number such as 3")
    })
}

/// `"always"` must be the only entry; it exempts a node from the default windows.
pub(super) fn windows(list: &Spanned<Vec<Spanned<String>>>, errors: &ConfigErrors<'_>) -> Option<Windows> {
    if list.value.is_empty() {
        return errors.none(list, "is empty: nothing would ever be delivered", "\"Sat 02:00-06:00\", or \"always\"");
    }
    if let [only] = &list.value[..]
        && only.value == "always"
    {
        return Some(Windows::default());
    }
    let window = |written: &Spanned<String>| match written.value.parse::<Window>() {
        Ok(window) => Some(window),
        Err(_) if written.value == "always" => {
            errors.none(written, "\"always\" is beside other windows", "\"always\" alone, or leave it out")
        }
        Err(bad) => errors.none(written, bad.what, bad.write),
    };
    let windows: Vec<Option<Window>> = list.value.iter().map(window).collect();
    windows.into_iter().collect::<Option<Vec<Window>>>().map(Windows::new)
}

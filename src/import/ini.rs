//! certbot's files of settings: `key = value` below `[section]` and `[[subsection]]`. Nothing is interpolated.

/// The settings of one section; `""`: those before any. Subsections are left out.
pub(super) fn section<'a>(text: &'a str, wanted: &'a str) -> impl Iterator<Item = (usize, &'a str, &'a str)> {
    let mut inside = wanted.is_empty();
    text.lines().enumerate().filter_map(move |(number, line)| {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) == Some(wanted);
            return None;
        }
        if !inside || line.starts_with(['#', ';']) {
            return None;
        }
        let (key, value) = line.split_once('=')?;
        let value = value.trim();
        let bare = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        Some((number + 1, key.trim(), bare.unwrap_or(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_has_its_own_settings_and_no_others() {
        let text =
            "version = 2.1\n[renewalparams]\n# a = b\na = b = c\nq = \"x y\"\n[[webroot_map]]\na = d\n[other]\na = e\n";
        assert_eq!(section(text, "renewalparams").collect::<Vec<_>>(), [(4, "a", "b = c"), (5, "q", "x y")]);
        assert_eq!(section(text, "").collect::<Vec<_>>(), [(1, "version", "2.1")]);
    }
}

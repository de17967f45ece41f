//! Additions to a configuration that somebody has written: its comments, its order and its style stay.

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value};

use super::draft::DraftNode;

/// # Errors
/// The text is not TOML, or has these keys in another form than certd reads.
pub fn add_node(text: &str, node: &DraftNode, certificate: &str, selects: bool) -> Result<String, String> {
    in_its_form(text, |text| with_node(text, node, certificate, selects))
}

/// # Errors
/// As [`add_node`].
pub fn add_domain(text: &str, certificate: &str, domain: &str) -> Result<String, String> {
    in_its_form(text, |text| with_domain(text, certificate, domain))
}

/// With the byte order mark and the ends of lines that an editor of another system has written.
fn in_its_form(text: &str, add: impl FnOnce(&str) -> Result<String, String>) -> Result<String, String> {
    const MARK: char = '\u{feff}';
    let body = text.strip_prefix(MARK).unwrap_or(text);
    let mark = &text[..text.len() - body.len()];
    let unix = body.replace("\r\n", "\n");
    let all_two = body.matches('\n').count() == body.len() - unix.len() && body.contains('\n');
    let added = add(body)?.replace("\r\n", "\n");
    Ok(mark.to_owned() + &if all_two { added.replace('\n', "\r\n") } else { added })
}

fn with_node(text: &str, node: &DraftNode, certificate: &str, selects: bool) -> Result<String, String> {
    let mut document = text.parse::<DocumentMut>().map_err(|error| error.to_string())?;
    if !selects {
        push(list(certificate_of(&mut document, certificate)?, "nodes")?, &node.name);
    }
    let written = node.render();
    let mut rendered = format!("\n{written}").parse::<DocumentMut>().map_err(|error| error.to_string())?;
    let fresh = rendered.remove("node").and_then(|item| item.into_array_of_tables().ok());
    let fresh = fresh.and_then(|tables| tables.into_iter().next()).ok_or("no [[node]] was rendered")?;
    let nodes = document.entry("node").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let nodes = nodes.as_array_of_tables_mut().ok_or("`node` is not written as [[node]]")?;
    nodes.push(unplaced(fresh));
    Ok(document.to_string())
}

fn with_domain(text: &str, certificate: &str, domain: &str) -> Result<String, String> {
    let mut document = text.parse::<DocumentMut>().map_err(|error| error.to_string())?;
    push(list(certificate_of(&mut document, certificate)?, "domains")?, domain);
    Ok(document.to_string())
}

/// By its name, or by its first domain that is not a wildcard.
fn certificate_of<'a>(document: &'a mut DocumentMut, name: &str) -> Result<&'a mut Table, String> {
    let tables = document.get_mut("certificate").and_then(Item::as_array_of_tables_mut);
    let mut tables = tables.ok_or("`certificate` is not written as [[certificate]]")?.iter_mut();
    let is_it = |table: &&mut Table| {
        let written = table.get("name").and_then(Item::as_str);
        let domains = || table.get("domains").and_then(Item::as_array).into_iter().flatten().filter_map(Value::as_str);
        let first = || domains().find(|domain| !domain.starts_with('*')).map(str::to_ascii_lowercase);
        written.map(str::to_owned).or_else(first).is_some_and(|of_table| of_table == name)
    };
    tables.find(is_it).ok_or_else(|| format!("the [[certificate]] {name:?} was not found in the text"))
}

fn list<'a>(table: &'a mut Table, key: &str) -> Result<&'a mut Array, String> {
    table.get_mut(key).and_then(Item::as_array_mut).ok_or_else(|| format!("`{key}` is not written as a list"))
}

/// In a list with a line for each entry, on a line of its own.
fn push(list: &mut Array, text: &str) {
    let mut value = Value::from(text);
    let before = list.iter().last().and_then(|last| last.decor().prefix()?.as_str().map(str::to_owned));
    let after = list.trailing().as_str().unwrap_or_default().to_owned();
    match before.filter(|before| before.contains('\n')) {
        Some(before) => {
            let indent = before.rsplit('\n').next().unwrap_or_default().to_owned();
            // A comment behind the last entry stays there.
            let (kept, end) = after.rsplit_once('\n').unwrap_or(("", &after));
            value.decor_mut().set_prefix(format!("{kept}\n{indent}"));
            list.push_formatted(value);
            list.set_trailing(format!("\n{end}"));
            list.set_trailing_comma(true);
        }
        None => list.push(value),
    }
}

/// Without the place that it had in another document: it stands behind the last of its kind.
fn unplaced(mut table: Table) -> Table {
    table.set_position(None);
    for (_, item) in table.iter_mut() {
        if let Item::Table(inner) = item {
            inner.set_position(None);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const EXAMPLE: &str = include_str!("../../config/certd.toml");

    fn node() -> DraftNode {
        let addresses = vec!["192.0.2.9".to_owned()];
        DraftNode {
            name: "new one".to_owned(),
            addresses,
            notes: vec!["in Nanjing".to_owned()],
            ..DraftNode::default()
        }
    }

    /// What was there is there, in its order, and nothing but the additions is new.
    #[track_caller]
    fn only_added(before: &str, after: &str) -> String {
        let mut rest = before.lines().peekable();
        let mut added = String::new();
        for line in after.lines() {
            if rest.next_if_eq(&line).is_none() {
                added.push_str(line);
                added.push('\n');
            }
        }
        assert_eq!(rest.next(), None, "{after}");
        added
    }

    #[test]
    fn a_node_stands_behind_the_others_and_nothing_else_changes() {
        let after = add_node(EXAMPLE, &node(), "newapi.example.com", true).unwrap();
        let added = only_added(EXAMPLE, &after);
        assert_eq!(added, "\n# in Nanjing\n[[node]]\nname    = \"new one\"\naddress = \"192.0.2.9\"\n");
        assert_eq!(parse(&after).unwrap().certificates[0].nodes.len(), 4);
        let watched = format!("{EXAMPLE}\n# not ours\n[[watch]]\naddress = \"api.example.com\" # far away\n");
        let after = add_node(&watched, &node(), "newapi.example.com", true).unwrap();
        only_added(&watched, &after);
        assert_eq!(parse(&after).unwrap().nodes.len(), 4);
    }

    #[test]
    fn a_mark_and_the_ends_of_lines_stay_as_they_are() {
        let theirs = format!("\u{feff}{}", EXAMPLE.replace('\n', "\r\n"));
        let plain = add_node(EXAMPLE, &node(), "newapi.example.com", true).unwrap();
        let after = add_node(&theirs, &node(), "newapi.example.com", true).unwrap();
        assert_eq!(after, format!("\u{feff}{}", plain.replace('\n', "\r\n")));
        let after = add_domain(&theirs, "newapi.example.com", "api.example.com").unwrap();
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
        assert_eq!(parse(&after).unwrap().certificates[0].names.len(), 2);
    }

    #[test]
    fn a_name_joins_its_list_in_the_lists_own_style() {
        let after = add_domain(EXAMPLE, "newapi.example.com", "api.example.com").unwrap();
        assert!(after.contains("domains = [\"newapi.example.com\", \"api.example.com\"]\n"), "{after}");
        let lines = EXAMPLE.replace(
            "[\"newapi.example.com\"]",
            "[ # ours\n  \"newapi.example.com\", # the first\n  \"b.example.com\"  # the last\n]",
        );
        let after = add_domain(&lines, "newapi.example.com", "c.example.com").unwrap();
        let names = parse(&after).unwrap().certificates[0].names.len();
        assert_eq!(names, 3, "{after}");
        for kept in ["# ours", "\"newapi.example.com\", # the first", "# the last\n", "\n  \"c.example.com\",\n]"] {
            assert!(after.contains(kept), "{kept}: {after}");
        }
    }

    #[test]
    fn a_node_that_no_selector_takes_is_named_in_the_certificate() {
        let text = EXAMPLE.replace("[\"*\"]", "[\"cn2-shanghai\"]");
        let after = add_node(&text, &node(), "newapi.example.com", false).unwrap();
        assert_eq!(parse(&after).unwrap().certificates[0].nodes.len(), 2, "{after}");
        assert!(add_node(&text, &node(), "other", false).unwrap_err().contains("not found"));
        assert!(add_domain("certificate = 1", "a", "b").is_err());
    }
}

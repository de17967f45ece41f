//! `Link` headers (RFC 8288), which lead to help pages and alternate chains.

use ::http::HeaderMap;
use ::http::header::LINK;

/// Targets of all links with this relation, unchanged and in order.
pub(super) fn targets(headers: &HeaderMap, relation: &str) -> Vec<String> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let links = values.flat_map(links);
    let wanted = links.filter(|(_, relations)| relations.split(' ').any(|one| one.eq_ignore_ascii_case(relation)));
    wanted.map(|(target, _)| target.to_owned()).collect()
}

/// Parses `<target>; rel="a b"`, separated by commas, up to the first malformed link.
fn links(mut rest: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    while let Some((target, after)) = rest.trim_start_matches([' ', '\t', ',']).strip_prefix('<').and_then(split) {
        let end = outside_quotes(after, ',').unwrap_or(after.len());
        let (mut parameters, next) = after.split_at(end);
        let mut relations = "";
        while let Some(start) = outside_quotes(parameters, ';') {
            let parameter = &parameters[start + 1..];
            let length = outside_quotes(parameter, ';').unwrap_or(parameter.len());
            if let Some((name, value)) = parameter[..length].split_once('=')
                && name.trim().eq_ignore_ascii_case("rel")
                && relations.is_empty()
            {
                relations = value.trim().trim_matches('"');
            }
            parameters = parameter;
        }
        found.push((target, relations));
        rest = next;
    }
    found
}

fn split(text: &str) -> Option<(&str, &str)> {
    text.split_once('>')
}

fn outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == wanted && !quoted).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        values.iter().for_each(|value| _ = headers.append(LINK, value.parse().unwrap()));
        headers
    }

    #[test]
    fn a21_links_are_selected_by_relation_in_every_notation() {
        let headers = headers(&[
            "<https://ca/dir>;rel=\"index\"",
            "<https://ca/1>; title=\"a, b; rel=x\"; rel=\"alternate\", <https://ca/2>;rel=alternate",
            "<https://ca/3>;REL=\"up Alternate\"",
            "no link",
            "<https://ca/4",
        ]);
        assert_eq!(targets(&headers, "alternate"), ["https://ca/1", "https://ca/2", "https://ca/3"]);
        assert_eq!(targets(&headers, "index"), ["https://ca/dir"]);
        assert!(targets(&headers, "help").is_empty());
    }
}

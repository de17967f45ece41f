//! The keywords of JSON Schema that certd's own schemas have. An unknown one ends the test: it would not be checked.

use serde_json::Value;

/// What in `value` is not as `schema` says, each with its place; `root` is what references point into.
pub(super) fn faults(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let keywords = match schema {
        Value::Bool(true) => return Vec::new(),
        Value::Object(keywords) => keywords,
        _ => return vec![format!("{at}: not allowed")],
    };
    keywords.iter().flat_map(|(keyword, rule)| faults_of(root, keywords, keyword, rule, value, at)).collect()
}

fn faults_of(
    root: &Value,
    keywords: &serde_json::Map<String, Value>,
    keyword: &str,
    rule: &Value,
    value: &Value,
    at: &str,
) -> Vec<String> {
    let inner = |schema: &Value| faults(root, schema, value, at);
    let rules = || rule.as_array().expect("a list");
    let unless = |well: bool| if well { Vec::new() } else { vec![format!("{at}: {value} against {keyword} {rule}")] };
    let number = |number: &Value| number.as_f64().expect("a number");
    let size = || rule.as_u64().and_then(|size| usize::try_from(size).ok()).expect("a size");
    let characters = value.as_str().map(|text| text.chars().count());
    let (items, fields) = (value.as_array(), value.as_object());
    match keyword {
        "$ref" => {
            let target = rule.as_str().and_then(|target| root.pointer(target.strip_prefix('#')?));
            inner(target.unwrap_or_else(|| panic!("{rule} leads nowhere")))
        }
        "type" => unless(match rule {
            Value::Array(kinds) => kinds.iter().any(|kind| is_a(kind, value)),
            kind => is_a(kind, value),
        }),
        "const" => unless(rule == value),
        "enum" => unless(rules().contains(value)),
        "allOf" => rules().iter().flat_map(inner).collect(),
        "anyOf" => unless(rules().iter().any(|one| inner(one).is_empty())),
        "oneOf" => unless(rules().iter().filter(|one| inner(one).is_empty()).count() == 1),
        "if" if inner(rule).is_empty() => inner(&keywords["then"]),
        "required" => unless(fields.is_none_or(|fields| rules().iter().all(|key| fields.contains_key(text(key))))),
        "properties" => {
            let known = fields.into_iter().flatten().filter_map(|(key, value)| Some((key, rule.get(key)?, value)));
            known.flat_map(|(key, rule, value)| faults(root, rule, value, &format!("{at}/{key}"))).collect()
        }
        "additionalProperties" => {
            let known = |key: &String| keywords.get("properties").is_some_and(|known| known.get(key).is_some());
            let others = fields.into_iter().flatten().filter(|(key, _)| !known(key));
            others.flat_map(|(key, value)| faults(root, rule, value, &format!("{at}/{key}"))).collect()
        }
        "items" => {
            let numbered = items.into_iter().flatten().enumerate();
            numbered.flat_map(|(index, value)| faults(root, rule, value, &format!("{at}/{index}"))).collect()
        }
        "minItems" => unless(items.is_none_or(|items| items.len() >= size())),
        "maxItems" => unless(items.is_none_or(|items| items.len() <= size())),
        "uniqueItems" => {
            let alone = |items: &Vec<Value>| (1..items.len()).all(|index| !items[..index].contains(&items[index]));
            unless(items.is_none_or(alone))
        }
        "minLength" => unless(characters.is_none_or(|count| count >= size())),
        "maxLength" => unless(characters.is_none_or(|count| count <= size())),
        "minimum" => unless(value.as_f64().is_none_or(|own| own >= number(rule))),
        "maximum" => unless(value.as_f64().is_none_or(|own| own <= number(rule))),
        "pattern" => {
            let start =
                text(rule).strip_prefix('^').filter(|rest| !rest.contains(['[', '(', '\\', '$', '*', '+', '.']));
            let start = start.expect("the checker knows how a text begins, and no other pattern");
            unless(value.as_str().is_none_or(|text| text.starts_with(start)))
        }
        "if" | "then" | "$schema" | "$defs" | "title" | "description" | "default" | "examples" | "format" => Vec::new(),
        other => panic!("the checker does not know {other:?}"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn is_a(kind: &Value, value: &Value) -> bool {
    match text(kind) {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other:?} is no type"),
    }
}

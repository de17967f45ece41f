//! The JSON Schemas: what certd prints and what it reads are as they say, and other things are not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use certd::config::parse;
use certd::{config, report};
use serde_json::{Value, json};

mod checker;

const REPORT: &str = "src/report/testdata/report-json.snap";

fn faults(schema: &Value, value: &Value) -> Vec<String> {
    checker::faults(schema, schema, value, "")
}

#[track_caller]
fn holds(schema: &Value, value: &Value) {
    let faults = faults(schema, value);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What a golden file holds, without its head.
fn golden(path: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    text.splitn(3, "---\n").nth(2).unwrap().to_owned()
}

fn of_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(of_toml).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, of_toml(value))).collect(),
        plain => serde_json::to_value(plain).unwrap(),
    }
}

fn read(text: &str) -> Value {
    of_toml(toml::Value::Table(text.parse().unwrap()))
}

fn printed(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_certd")).args(arguments).env_remove("HTTPS_PROXY").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {errors}"))
}

#[test]
fn a_report_is_as_its_schema_says() {
    let schema = report::json_schema();
    holds(&schema, &serde_json::from_str(&golden(REPORT)).unwrap());
    let disks = golden("src/report/testdata/disks.snap");
    let disks = disks.lines().filter_map(|line| line.split_once(" {"));
    let disks: Vec<Value> = disks.map(|(_, rest)| serde_json::from_str(&format!("{{{rest}")).unwrap()).collect();
    assert!(disks.len() > 10, "each verdict of a disk: {}", disks.len());
    for disk in disks {
        let faults = checker::faults(&schema, &json!({ "$ref": "#/$defs/DiskReport" }), &disk, "");
        assert!(faults.is_empty(), "{disk}\n{}", faults.join("\n"));
    }
}

#[test]
fn every_field_of_a_report_is_documented() {
    fn properties(schema: &Value, all: &mut BTreeSet<String>) {
        match schema {
            Value::Object(object) => {
                let named = object.get("properties").and_then(Value::as_object);
                all.extend(named.into_iter().flat_map(|named| named.keys().cloned()));
                object.values().for_each(|value| properties(value, all));
            }
            Value::Array(values) => values.iter().for_each(|value| properties(value, all)),
            _ => {}
        }
    }
    let mut all = BTreeSet::new();
    properties(&report::json_schema(), &mut all);
    assert!(all.len() > 50, "{all:?}");
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md")).unwrap();
    all.retain(|field| ![format!("`{field}`"), format!("\"{field}\":")].iter().any(|shown| text.contains(shown)));
    assert!(all.is_empty(), "not in docs/json.md: {all:?}");
}

#[test]
fn a_changed_report_is_none_and_a_longer_one_is() {
    let (schema, text) = (report::json_schema(), golden(REPORT));
    let report = || serde_json::from_str::<Value>(&text).unwrap();
    let changed = |pointer: &str, value: Value| {
        let mut report = report();
        *report.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
        report
    };
    for (pointer, value) in [
        ("/schema", json!("certd.report/2")),
        ("/exit", json!("4")),
        ("/at", Value::Null),
        ("/certificates/0/names", json!("newapi.example.com")),
        ("/certificates/0/nodes/0/served/0/verdict", json!("excellent")),
        ("/plan/waits/0", json!({})),
    ] {
        assert!(!faults(&schema, &changed(pointer, value)).is_empty(), "{pointer}");
    }
    let mut shorter = report();
    shorter.as_object_mut().unwrap().remove("exits");
    assert!(!faults(&schema, &shorter).is_empty());
    let mut longer = report();
    longer["another"] = json!({ "field": 1 });
    longer["certificates"][0]["another"] = json!(true);
    holds(&schema, &longer);
}

#[test]
fn the_program_prints_its_schemas_and_reports_that_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (path, state) = (folder.path().join("certd.toml"), folder.path().join("state"));
    // Nobody listens at port 1, and no name is asked for.
    let text = fs::read_to_string("config/certd.toml").unwrap();
    let (defaults, _) = text.split_once("[[certificate]]").unwrap();
    let fleet = "[[certificate]]\ndomains = [\"newapi.example.com\"]\nnodes = [\"*\"]\ninventory = false\n\
                 [[node]]\nname = \"here\"\naddress = \"127.0.0.1\"\nprobe = { port = 1 }\n";
    fs::write(&path, format!("state_dir = {state:?}\n{defaults}{fleet}")).unwrap();

    let schema = printed(&["config", "schema", "report"]);
    assert_eq!(schema, report::json_schema());
    for command in ["check", "plan"] {
        let report = printed(&["--config", path.to_str().unwrap(), command, "--output", "json"]);
        assert_eq!(report["certificates"][0]["nodes"][0]["served"][0]["verdict"], "unreachable", "{report}");
        holds(&schema, &report);
    }
    assert_eq!(printed(&["config", "schema"]), config::json_schema());
}

/// Whatever the parser takes, in `config` and in the cases of its own test, an editor does not mark.
#[test]
fn a_configuration_is_as_its_schema_says() {
    let (schema, mut count) = (config::json_schema(), 0);
    let folders = ["config", "tests/it/config"].map(|folder| fs::read_dir(folder).unwrap());
    for entry in folders.into_iter().flatten() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "toml") && parse(&text).is_ok() {
            let faults = faults(&schema, &read(&text));
            assert!(faults.is_empty(), "{}\n{}", path.display(), faults.join("\n"));
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn a_mistake_that_a_schema_can_see_is_seen() {
    let schema = config::json_schema();
    for case in [
        "unknown-keys",
        "misspelt-keys",
        "missing-keys",
        "wrong-types",
        "ca-unknown",
        "dns-keys-of-another-provider",
        "dns-keys-of-another-provider-2",
        "dns-exec-missing",
        "dns-sections",
        "sessions-and-ports",
        "probe-ways",
    ] {
        let text = fs::read_to_string(format!("tests/it/config/{case}.toml")).unwrap();
        // Too large for the crate that reads it here.
        let text = text.replace("99999999999999999999", "99999");
        assert!(!faults(&schema, &read(&text)).is_empty(), "{case}");
    }
}

/// A section of the schema as a table with an unknown key, and in it such sections; their keys by their places.
fn with_unknown_keys(
    schema: &Value,
    place: &str,
    keys: &mut BTreeMap<String, BTreeSet<String>>,
) -> Option<toml::Value> {
    const UNKNOWN: &str = "xyzzyxyzzyxyzzy";
    let table = |key: &str, value| toml::Value::Table([(key.to_owned(), value)].into_iter().collect());
    if let Some(forms) = schema["anyOf"].as_array() {
        return forms.iter().find_map(|form| with_unknown_keys(form, place, keys));
    }
    if schema["type"] == "array" {
        let one = with_unknown_keys(&schema["items"], &format!("{place}[1]"), keys)?;
        return Some(toml::Value::Array(vec![one]));
    }
    let others = &schema["additionalProperties"];
    let Some(properties) = schema["properties"].as_object() else {
        others.as_object()?;
        let one = with_unknown_keys(others, &format!("{place}.\"any\""), keys)?;
        return Some(table("any", one));
    };
    let under = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    keys.insert(under(UNKNOWN), properties.keys().cloned().collect());
    let mut section = toml::Table::from_iter([(UNKNOWN.to_owned(), toml::Value::Integer(1))]);
    for (key, schema) in properties {
        section.extend(with_unknown_keys(schema, &under(key), keys).map(|inner| (key.clone(), inner)));
    }
    if others.is_object() {
        section.extend(with_unknown_keys(others, &under("any"), keys).map(|inner| ("any".to_owned(), inner)));
    }
    Some(toml::Value::Table(section))
}

#[test]
fn the_parser_and_the_schema_know_the_same_keys() {
    let mut keys = BTreeMap::new();
    let table = with_unknown_keys(&config::json_schema(), "", &mut keys).unwrap();
    let mistakes = parse(&table.as_table().unwrap().to_string()).unwrap_err();
    let unknown = mistakes.iter().filter(|mistake| mistake.what == "unknown key");
    let of_parser = unknown.map(|mistake| {
        let known = mistake.write.strip_prefix("one of ").unwrap_or_default();
        (mistake.key.clone(), known.split(", ").map(str::to_owned).collect())
    });
    assert_eq!(of_parser.collect::<BTreeMap<String, BTreeSet<String>>>(), keys);
    assert!(keys.len() > 20, "{keys:?}");
}

/// A configuration that writes what the schema gives as a default is the one that leaves it out.
#[test]
fn each_default_of_the_schema_is_the_parsers() {
    let text = fs::read_to_string("config/certd.toml").unwrap();
    let assumed = format!("{:?}", parse(&text).unwrap());
    let schema = config::json_schema();
    let mut count = 0;
    let own = ["user", "identity_files"];
    for section in ["", "acme", "dns", "run", "rollout", "ssh", "probe", "install", "certificate"] {
        let at = if section.is_empty() { &schema } else { &schema["properties"][section] };
        let at = at.get("items").unwrap_or(at);
        let at = at.get("anyOf").map_or(at, |forms| &forms[0]);
        for (key, default) in at["properties"].as_object().unwrap() {
            let Some(default) = default.get("default").filter(|_| !own.contains(&key.as_str())) else { continue };
            let other_provider = section == "dns" && ["ttl", "command_timeout", "addresses"].contains(&key.as_str());
            if other_provider {
                continue;
            }
            let mut table: toml::Table = text.parse().unwrap();
            let into = match section {
                "" => &mut table,
                "certificate" => table["certificate"][0].as_table_mut().unwrap(),
                _ => {
                    let entry = table.entry(section).or_insert_with(|| toml::Table::new().into());
                    entry.as_table_mut().unwrap()
                }
            };
            into.insert(key.clone(), toml::Value::try_from(default).unwrap());
            let written = parse(&table.to_string()).unwrap_or_else(|bad| panic!("{section}.{key}: {bad:?}"));
            assert_eq!(format!("{written:?}"), assumed, "{section}.{key}");
            count += 1;
        }
    }
    assert!(count > 15, "{count}");
}

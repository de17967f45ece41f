use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::Code;

/// Open, since other versions have other codes; those of this one are its examples.
impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "What is wrong, as a word that stays; docs/json.md has the meaning of each.",
            "examples": Self::ALL,
        })
    }
}

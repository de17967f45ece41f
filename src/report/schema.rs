//! `certd.report/1` as a JSON Schema, derived from the types that serialise it.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::{Report, SCHEMA};

/// Draft 2020-12. Open: objects may have fields that it does not know.
pub fn json_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Report>();
    schema.insert("title".to_owned(), SCHEMA.into());
    schema.to_value()
}

//! The schema of maps with exactly one key of several.

use schemars::Schema;
use serde_json::{Map, Value};

/// Makes an enum whose variants are maps of one key a map that has exactly one of these keys.
///
/// The meaning is that of `oneOf`, but an error in one of the branches is found in this branch.
pub(super) fn exactly_one(schema: &mut Schema) {
    let Some(Value::Array(variants)) = schema.remove("oneOf") else { return };
    let mut properties = Map::new();
    for variant in variants {
        let Value::Object(mut variant) = variant else { continue };
        let Some(Value::Object(branch)) = variant.remove("properties") else { continue };
        let description = variant.remove("description");
        for (name, value) in branch {
            properties.insert(name, described(value, description.clone()));
        }
    }
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), properties.into());
    schema.insert("additionalProperties".into(), false.into());
    schema.insert("minProperties".into(), 1.into());
    schema.insert("maxProperties".into(), 1.into());
}

fn described(mut value: Value, description: Option<Value>) -> Value {
    if let (Value::Object(object), Some(description)) = (&mut value, description) {
        object.insert("description".into(), description);
    }
    value
}

//! The schema of a map with exactly one of several keys.

use schemars::Schema;
use serde_json::{Map, Value};

/// Turns the schema of an enum, whose variants are maps of one key, into a map with exactly one of these keys.
///
/// It accepts the same values as `oneOf`, but a validator reports an error at the branch that contains it.
pub(super) fn exactly_one(schema: &mut Schema) {
    let Some(Value::Array(variants)) = schema.remove("oneOf") else { return };
    let mut properties = Map::new();
    for variant in variants {
        let Value::Object(mut variant) = variant else { continue };
        let Some(Value::Object(branch)) = variant.remove("properties") else { continue };
        let description = variant.remove("description");
        for (name, value) in branch {
            properties.insert(name, with_description(value, description.clone()));
        }
    }
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), properties.into());
    schema.insert("additionalProperties".into(), false.into());
    schema.insert("minProperties".into(), 1.into());
    schema.insert("maxProperties".into(), 1.into());
}

fn with_description(mut value: Value, description: Option<Value>) -> Value {
    if let (Value::Object(object), Some(description)) = (&mut value, description) {
        object.insert("description".into(), description);
    }
    value
}

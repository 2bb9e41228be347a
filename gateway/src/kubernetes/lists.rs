//! Lists in the JSON of pods.

use serde_json::Value;

/// Appends items to a list, which is created if it is missing.
pub(super) fn append(object: &mut Value, key: &str, items: Vec<Value>) {
    match &mut object[key] {
        Value::Array(existing) => existing.extend(items),
        other => *other = Value::Array(items),
    }
}

//! The fields that a schema has at a path of a document.

use serde_json::Value;

/// Maximum depth of references between schemas.
const DEPTH: usize = 16;

/// Returns whether a map at a path of keys and indices may have this field.
pub(super) fn has_field(schema: &Value, path: &[&str], field: &str) -> bool {
    at(schema, path)
        .iter()
        .any(|place| place.get("properties").is_some_and(|fields| fields.get(field).is_some()))
}

/// Returns the fields that a map at a path may have.
pub(super) fn fields<'s>(schema: &'s Value, path: &[&str]) -> Vec<&'s str> {
    let places = at(schema, path).into_iter();
    let maps = places.filter_map(|place| place.get("properties")?.as_object());
    maps.flat_map(|fields| fields.keys().map(String::as_str)).collect()
}

/// Returns all schemas that apply at a path.
fn at<'s>(schema: &'s Value, path: &[&str]) -> Vec<&'s Value> {
    let mut places = Vec::new();
    expand(schema, schema, 0, &mut places);
    for segment in path {
        let mut below = Vec::new();
        for place in places {
            let field = place.get("properties").and_then(|fields| fields.get(segment));
            let other = || place.get("additionalProperties").or_else(|| place.get("items"));
            if let Some(next) = field.or_else(other) {
                expand(schema, next, 0, &mut below);
            }
        }
        places = below;
    }
    places
}

/// Collects a schema, the schemas to which it refers, and its alternatives.
fn expand<'s>(root: &'s Value, schema: &'s Value, depth: usize, found: &mut Vec<&'s Value>) {
    if depth > DEPTH {
        return;
    }
    found.push(schema);
    if let Some(target) = schema.get("$ref").and_then(Value::as_str)
        && let Some(target) = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer))
    {
        expand(root, target, depth + 1, found);
    }
    for several in ["anyOf", "oneOf", "allOf"] {
        for one in schema.get(several).and_then(Value::as_array).into_iter().flatten() {
            expand(root, one, depth + 1, found);
        }
    }
}

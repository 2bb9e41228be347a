//! Generates a schema from the model's types, for editors and for dcp's diagnostics.

use dcp_model::manifest::{Manifest, POOL, PoolManifest};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

/// Returns the schema of a document.
pub(super) fn document<T: JsonSchema>(id: &str, title: &str) -> Value {
    let mut schema = generator().into_root_schema_for::<T>();
    schema.insert("$id".into(), url(id).into());
    schema.insert("title".into(), title.into());
    schema.to_value()
}

/// Returns the schema of manifests of all kinds. `kind` selects the type of a document.
pub(super) fn manifest(id: &str, title: &str) -> Value {
    let mut generator = generator();
    let workload = generator.subschema_for::<Manifest>();
    let pool = generator.subschema_for::<PoolManifest>();
    json!({
        "$schema": generator.settings().meta_schema,
        "$id": url(id),
        "title": title,
        "type": "object",
        "if": {"properties": {"kind": {"const": POOL}}, "required": ["kind"]},
        "then": pool,
        "else": workload,
        "$defs": generator.take_definitions(true),
    })
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().with_transform(Simplify).into_generator()
}

fn url(id: &str) -> String {
    format!("https://dcp.dev/schemas/v1/{id}.json")
}

/// The transformation of all schemas: no unknown fields, no null values, and plain lists for enums.
#[derive(Debug, Clone)]
struct Simplify;

impl Transform for Simplify {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        plain_enum(schema);
        require_exactly_one(schema);
        reject_null(schema);
        let closed = schema.get("properties").is_some() || is_empty_struct(schema);
        if closed && schema.get("additionalProperties").is_none() {
            schema.insert("additionalProperties".into(), false.into());
        }
        // The width of integers in Rust is irrelevant to readers of the schema.
        if schema.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
            schema.remove("format");
        }
    }
}

/// Returns whether a schema is an empty struct, such as that of `manual: {}`.
fn is_empty_struct(schema: &Schema) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object") && schema.get("propertyNames").is_none()
}

/// Turns `oneOf` of constants into `enum`, with the descriptions in the place where editors expect them.
fn plain_enum(schema: &mut Schema) {
    let Some(Value::Array(variants)) = schema.get("oneOf") else { return };
    let mut names = Vec::new();
    let mut descriptions = Vec::new();
    for variant in variants {
        let description = variant.get("description").cloned().unwrap_or_else(|| "".into());
        let values = match (variant.get("const"), variant.get("enum")) {
            (Some(value), _) => vec![value.clone()],
            (None, Some(Value::Array(values))) => values.clone(),
            _ => return,
        };
        descriptions.extend(values.iter().map(|_| description.clone()));
        names.extend(values);
    }
    schema.remove("oneOf");
    schema.insert("type".into(), "string".into());
    schema.insert("enum".into(), names.into());
    schema.insert("enumDescriptions".into(), descriptions.into());
}

/// Turns `exactlyOneOf` of the model into `oneOf`: exactly one of these fields is required.
fn require_exactly_one(schema: &mut Schema) {
    let Some(Value::Array(fields)) = schema.remove("exactlyOneOf") else { return };
    let branches: Vec<Value> = fields.iter().map(|field| json!({ "required": [field] })).collect();
    schema.insert("oneOf".into(), branches.into());
}

/// Rejects null. An optional field can be omitted, but an empty one is a mistake.
fn reject_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    let Some(Value::Array(branches)) = schema.get_mut("anyOf") else { return };
    branches.retain(|branch| branch.get("type").and_then(Value::as_str) != Some("null"));
    if let [only] = branches.as_slice() {
        let only = only.clone();
        schema.remove("anyOf");
        if let Value::Object(only) = only {
            for (key, value) in only {
                schema.insert(key, value);
            }
        }
    }
}

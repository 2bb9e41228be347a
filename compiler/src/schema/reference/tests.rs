use serde_json::json;

use super::*;
use crate::schema::{MANIFEST, PROJECT};
use dcp_model::manifest;

fn schemas() -> [&'static Value; 2] {
    [MANIFEST.value(), PROJECT.value()]
}

/// Visits a schema and all schemas below it, with their paths.
fn each<'s>(schema: &'s Value, path: &str, visit: &mut impl FnMut(&'s Value, &str)) {
    visit(schema, path);
    for key in ["properties", "$defs"] {
        for (name, below) in schema.get(key).and_then(Value::as_object).into_iter().flatten() {
            each(below, &format!("{path}/{key}/{name}"), visit);
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        let branches = schema.get(key).and_then(Value::as_array).into_iter().flatten();
        for (at, below) in branches.enumerate() {
            each(below, &format!("{path}/{key}/{at}"), visit);
        }
    }
    for key in ["items", "additionalProperties", "propertyNames"] {
        if let Some(below @ Value::Object(_)) = schema.get(key) {
            each(below, &format!("{path}/{key}"), visit);
        }
    }
}

#[test]
fn schemas_conform_to_their_draft() {
    for schema in schemas() {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        if let Err(error) = jsonschema::meta::validate(schema) {
            panic!("{}: {error}", error.instance_path())
        }
    }
}

#[test]
fn every_type_and_field_has_a_description() {
    for schema in schemas() {
        let described = |schema: &Value| schema.get("description").is_some_and(|text| text != "");
        let mut missing = Vec::new();
        each(schema, "", &mut |at, path| {
            let named = path.rsplit('/').nth(1);
            let target = at.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix('#'));
            let by_type = target.and_then(|target| schema.pointer(target)).is_some_and(described);
            // A type without a format is displayed as its base type.
            let bare = named == Some("$defs") && at.as_object().is_some_and(|it| it.len() == 1);
            if matches!(named, Some("properties" | "$defs")) && !described(at) && !by_type && !bare {
                missing.push(path.to_owned());
            }
            for (nth, value) in at.get("enum").and_then(Value::as_array).into_iter().flatten().enumerate() {
                let meaning = at.get("enumDescriptions").and_then(|all| all.get(nth));
                if meaning.is_none_or(|meaning| meaning == "") {
                    missing.push(format!("{path}: {value}"));
                }
            }
        });
        assert_eq!(missing, [""; 0], "give these a doc comment in the model");
    }
}

#[test]
fn examples_and_defaults_are_valid() {
    for schema in schemas() {
        let mut wrong = Vec::new();
        let mut tried = 0;
        each(schema, "", &mut |at, path| {
            let examples = at.get("examples").and_then(Value::as_array).into_iter().flatten();
            for value in examples.chain(at.get("default")) {
                tried += 1;
                if let Err(error) = validate(schema, at, value) {
                    wrong.push(format!("{path}: {value}: {error}"));
                }
            }
        });
        assert_eq!(wrong, [""; 0]);
        assert!(tried > 5, "there are examples and defaults to try");
    }
}

fn validate(root: &Value, at: &Value, value: &Value) -> Result<(), String> {
    let mut schema = at.clone();
    schema["$schema"] = root["$schema"].clone();
    schema["$defs"] = root["$defs"].clone();
    let mut options = jsonschema::options().should_validate_formats(true);
    for format in manifest::formats() {
        options = options.with_format(format.name, |text: &str| (format.check)(text).is_ok());
    }
    let validator = options.build(&schema).map_err(|error| error.to_string())?;
    validator.validate(value).map_err(|error| error.to_string())
}

#[test]
fn reference_lists_fields_types_and_values() {
    let schema = json!({
        "description": "A thing.",
        "properties": {
            "size": {"$ref": "#/$defs/Size", "default": "small", "description": "How large."},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}, "minItems": 1, "description": "Of what."},
        },
        "required": ["parts"],
        "$defs": {
            "Size": {"description": "A size.", "enum": ["small"], "enumDescriptions": ["Not large."]},
            "Part": {"description": "A part.", "type": "string", "examples": ["4.1", "a|b"]},
        },
    });
    let text = reference(&schema, "# Things\n");
    for line in [
        "| `parts` | list of [Part](#part) | required | Of what. At least 1 entry. |",
        "| `size` | [Size](#size) | `small` | How large. |",
        "At `size`.",
        "- `small`: Not large.",
        "Text. A part. Examples: `\"4.1\"`, `\"a|b\"`.",
    ] {
        assert!(text.lines().any(|shown| shown == line), "no line {line:?} in:\n{text}");
    }
}

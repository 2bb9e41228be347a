//! Canonical JSON: sorted keys, no white space.

use std::fmt::Write as _;

use serde_json::Value;

/// Returns the canonical text of a value.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// Sorts the keys explicitly, because the order in `serde_json` depends on its features.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (at, (key, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                scalar(&Value::String(key.clone()), out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        other => scalar(other, out),
    }
}

fn scalar(value: &Value, out: &mut String) {
    write!(out, "{value}").expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_json_round_trips(value in any_json()) {
            let text = canonical(&value);
            let again: Value = serde_json::from_str(&text).expect("canonical text is JSON");
            prop_assert_eq!(&again, &value);
            prop_assert_eq!(canonical(&again), text);
        }
    }

    #[test]
    fn keys_are_sorted() {
        let value: Value =
            serde_json::from_str(r#"{"b": [1, {"z": 1, "a": 2}], "a": "é\n"}"#).expect("valid");
        assert_eq!(canonical(&value), r#"{"a":"é\n","b":[1,{"a":2,"z":1}]}"#);
    }
}

//! Differences between two JSON values, leaf by leaf.

use std::collections::BTreeSet;

use serde_json::Value;

/// A leaf that differs; `None` if it is missing on that side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf<'a> {
    /// Keys, and indices into lists.
    pub(super) path: Vec<String>,
    pub(super) old: Option<&'a Value>,
    pub(super) new: Option<&'a Value>,
}

/// Returns all leaves that differ, ordered by path.
pub(super) fn leaves<'a>(old: &'a Value, new: &'a Value) -> Vec<Leaf<'a>> {
    let mut found = Vec::new();
    compare(&mut Vec::new(), Some(old), Some(new), &mut found);
    found
}

fn compare<'a>(
    path: &mut Vec<String>,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
    found: &mut Vec<Leaf<'a>>,
) {
    if old == new {
        return;
    }
    // Items of lists are shown whole. So are columns, whose positions have no meaning.
    let item = path.last().is_some_and(|key| key.bytes().all(|byte| byte.is_ascii_digit()));
    let whole = (item && (old.is_none() || new.is_none())) || path.last().is_some_and(|key| key == "schema");
    let Some(keys) = keys(old, new).filter(|_| !whole) else {
        found.push(Leaf { path: path.clone(), old, new });
        return;
    };
    for key in keys {
        let below = |value: Option<&'a Value>| match value? {
            Value::Object(members) => members.get(&key),
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        };
        let (old, new) = (below(old), below(new));
        path.push(key);
        compare(path, old, new, found);
        path.pop();
    }
}

/// Returns the keys of both sides if the values are maps or lists of maps, which are compared by key.
fn keys(old: Option<&Value>, new: Option<&Value>) -> Option<Vec<String>> {
    let sides: Vec<&Value> = old.into_iter().chain(new).collect();
    let empty = |side: &&Value| match side {
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    if sides.iter().all(empty) {
        return None;
    }
    if sides.iter().all(|side| side.is_object()) {
        let maps = sides.iter().filter_map(|side| side.as_object());
        let keys: BTreeSet<&String> = maps.flat_map(|members| members.keys()).collect();
        return Some(keys.into_iter().cloned().collect());
    }
    let of_maps = |side: &&Value| side.as_array().is_some_and(|items| items.iter().all(Value::is_object));
    if sides.iter().all(of_maps) {
        let longest = sides.iter().filter_map(|side| side.as_array()).map(Vec::len).max()?;
        return Some((0..longest).map(|index| index.to_string()).collect());
    }
    None
}

/// Returns the items that only one of two lists has, or both values if they are not lists.
pub(super) fn differing_items(old: Option<&Value>, new: Option<&Value>) -> (Option<String>, Option<String>) {
    let (Some(Value::Array(before)), Some(Value::Array(after))) = (old, new) else {
        return (old.map(shown), new.map(shown));
    };
    let alone = |one: &[Value], other: &[Value]| -> Option<String> {
        let alone: Vec<String> = one.iter().filter(|item| !other.contains(item)).map(shown).collect();
        (!alone.is_empty()).then(|| alone.join(", "))
    };
    match (alone(before, after), alone(after, before)) {
        // The items are the same in another order.
        (None, None) => (old.map(shown), new.map(shown)),
        sides => sides,
    }
}

/// Formats a value for people.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(members) => match (members.get("name"), members.get("type")) {
            // A column.
            (Some(name), Some(kind)) if members.len() == 2 => format!("{} {}", shown(name), shown(kind)),
            _ => {
                let members = members.iter().map(|(key, value)| format!("{key}: {}", shown(value)));
                members.collect::<Vec<_>>().join(", ")
            }
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_are_compared_by_key_and_scalar_lists_as_a_whole() {
        let old = json!({"a": {"x": 1, "y": 2}, "l": [1, 2], "m": [{"k": 1}], "gone": {"z": 0}, "p": {}});
        let new = json!({"a": {"x": 1, "y": 3}, "l": [1], "m": [{"k": 1}, {"k": 2}], "e": {}, "p": {"q": 1}});
        let found: Vec<String> = leaves(&old, &new).into_iter().map(|leaf| leaf.path.join(".")).collect();
        assert_eq!(found, ["a.y", "e", "gone.z", "l", "m.1", "p.q"]);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..4i64).prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn only_unequal_values_have_differing_leaves(old in value(), new in value()) {
            prop_assert_eq!(leaves(&old, &new).is_empty(), old == new);
            prop_assert!(leaves(&old, &new).iter().all(|leaf| leaf.old != leaf.new));
            prop_assert!(leaves(&old, &old).is_empty());
        }
    }
}

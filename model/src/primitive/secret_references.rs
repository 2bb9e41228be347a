//! The secrets that a job refers to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::CoreEtlJob;
use crate::reference::{Reference, references};

/// A key of a secret, by the names of the secret and of the key.
pub type Secret = (String, String);

impl CoreEtlJob {
    /// Returns the keys of secrets that the job refers to, each with the fields that refer to it.
    pub fn secret_references(&self) -> BTreeMap<Secret, BTreeSet<String>> {
        let document =
            serde_json::to_value(self).expect("jobs have text as keys, and nothing that JSON can't hold");
        let mut found = BTreeMap::new();
        visit(&document, "", &mut found);
        found
    }
}

fn visit(value: &Value, field: &str, found: &mut BTreeMap<Secret, BTreeSet<String>>) {
    let mut add = |name: &str, key: &str| {
        let fields: &mut BTreeSet<String> = found.entry((name.to_owned(), key.to_owned())).or_default();
        fields.insert(field.to_owned());
    };
    match value {
        Value::String(text) => {
            for reference in references(text).unwrap_or_default() {
                if let Reference::Secret { name, key } = reference {
                    add(name, key);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| visit(item, field, found)),
        Value::Object(members) => {
            // The variable of a pod: `{secret: {name, key}}`.
            if let (Some(secret), 1) = (members.get("secret"), members.len())
                && let (Some(name), Some(key)) = (secret["name"].as_str(), secret["key"].as_str())
            {
                add(name, key);
            }
            for (key, member) in members {
                let field = if field.is_empty() { key.clone() } else { format!("{field}.{key}") };
                visit(member, &field, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

//! The secrets of a driver on this machine: collected from an application, and handed to its supervisor.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::SecretKey;
use crate::error::{Error, Result};
use crate::references::{self, Found, Piece, has_reference, pieces};
use crate::secrets::{References, Values};

/// The parts of an application that contain secrets. Only files that the supervisor removes may have them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Secrets {
    /// Variables of the driver.
    pub(super) environment: BTreeMap<String, String>,
    /// Variables of pip for finding packages.
    pub(super) pip: BTreeMap<String, String>,
    /// Files in the application's folder.
    pub(super) files: BTreeMap<String, String>,
    /// The values, which the driver's log must not have.
    #[serde(default)]
    pub(super) values: BTreeSet<String>,
}

impl Secrets {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.environment.keys().chain(self.pip.keys()).chain(self.files.keys()))
            .finish()
    }
}

/// Replaces references by values. Without values, it collects the references, and replaces them by nothing.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    values: Option<Values>,
    references: RefCell<References>,
    /// The names of the options of sources and sinks that have secrets.
    options: RefCell<BTreeSet<String>>,
}

impl Resolver {
    pub(super) fn new(values: Values) -> Self {
        Self { values: Some(values), ..Self::default() }
    }

    /// Returns the references so far, each with the first field that has it.
    pub(super) fn references(&self) -> References {
        self.references.borrow().clone()
    }

    pub(super) fn options(&self) -> BTreeSet<String> {
        self.options.borrow().clone()
    }

    /// Returns the values of the references so far.
    pub(super) fn used_values(&self) -> BTreeSet<String> {
        let references = self.references.borrow();
        let values = references.keys().filter_map(|secret| self.values.as_ref()?.get(secret));
        values.map(str::to_owned).collect()
    }

    /// Returns the value of a secret's key. `field` is the manifest's, for messages.
    pub(super) fn get(&self, secret: &SecretKey, field: &str) -> Result<String> {
        self.references.borrow_mut().entry(secret.clone()).or_insert_with(|| field.to_owned());
        let Some(values) = &self.values else { return Ok(String::new()) };
        let missing = || Error::field(field, format!("the secret `{secret}` was not read"));
        values.get(secret).map(str::to_owned).ok_or_else(missing)
    }

    /// Resolves the references in a text; none if it has no reference.
    pub(super) fn resolve(&self, text: &str, field: &str) -> Result<Option<String>> {
        if !has_reference(text) {
            return Ok(None);
        }
        let mut resolved = String::new();
        for piece in pieces(text, field)? {
            match piece {
                Piece::Text(text) => resolved.push_str(text),
                Piece::Secret(secret) => resolved.push_str(&self.get(&secret, field)?),
            }
        }
        Ok(Some(resolved))
    }

    /// Resolves the references in the texts of a JSON document; none if it has no reference.
    pub(super) fn resolve_json(&self, text: &str, field: &str) -> Result<Option<String>> {
        if !has_reference(text) {
            return Ok(None);
        }
        let Ok(mut document) = serde_json::from_str::<Value>(text) else {
            let reason = "it refers to a secret in a file that is not JSON, which `local` can't resolve";
            return Err(Error::field(field, reason));
        };
        references::visit_json(&mut document, field, &mut |Found { text, option, field }| {
            if let Some(resolved) = self.resolve(text, field)? {
                *text = resolved;
                self.options.borrow_mut().insert(option.to_owned());
            }
            Ok(())
        })?;
        Ok(Some(document.to_string()))
    }
}

/// Formats settings as a Java properties file.
pub(super) fn properties(conf: &BTreeMap<String, String>) -> String {
    let escape = |text: &str| -> String {
        let each = text.chars().map(|char| match char {
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            ' ' | ':' | '=' | '#' | '!' | '\\' => format!("\\{char}"),
            char => char.to_string(),
        });
        each.collect()
    };
    let lines = conf.iter().map(|(key, value)| format!("{}={}\n", escape(key), escape(value)));
    lines.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_collected_with_their_first_field() {
        let resolver = Resolver::default();
        assert_eq!(resolver.resolve("a ${secret.db/password}", "first"), Ok(Some("a ".to_owned())));
        assert_eq!(resolver.resolve("${x} $secret", "none"), Ok(None));
        let json = resolver.resolve_json("{\"sink\": {\"user\": \"${secret.db/user}\"}}", "job");
        assert_eq!(json, Ok(Some("{\"sink\":{\"user\":\"\"}}".to_owned())));
        resolver.resolve("${secret.db/password}", "second").expect("it is valid");
        let found: Vec<String> =
            resolver.references().iter().map(|(secret, field)| format!("{secret} {field}")).collect();
        assert_eq!(found, ["db/password first", "db/user job.sink.user"]);
        assert_eq!(resolver.options(), ["user".to_owned()].into());
    }

    #[test]
    fn properties_are_escaped() {
        let conf = [("a:b".to_owned(), " x=\\y\nz#".to_owned())].into();
        assert_eq!(properties(&conf), "a\\:b=\\ x\\=\\\\y\\nz\\#\n");
    }
}

//! Resolves `${secret.name/key}` on this machine: from a variable of the service, or from a file in a folder of
//! secrets.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// Start and end of a reference.
const REFERENCE_START: &str = "${secret.";
const REFERENCE_END: char = '}';
/// Maximum size of a secret.
const MAX_SECRET_BYTES: u64 = 1 << 20;

/// The parts of an application that contain secrets. Only files that the supervisor removes may have them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Secrets {
    /// Variables of the driver.
    pub(super) environment: BTreeMap<String, String>,
    /// Variables of pip for finding packages.
    pub(super) pip: BTreeMap<String, String>,
    /// Files in the application's folder.
    pub(super) files: BTreeMap<String, String>,
}

impl Secrets {
    pub(super) fn is_empty(&self) -> bool {
        self.environment.is_empty() && self.pip.is_empty() && self.files.is_empty()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.environment.keys().chain(self.pip.keys()).chain(self.files.keys()))
            .finish()
    }
}

/// The secrets of this machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    /// A folder that has a folder for each secret, with a file for each key.
    pub(super) folder: Option<PathBuf>,
}

impl Store {
    /// Returns the value of a secret's key. `field` is the manifest's, for messages.
    pub(super) fn get(&self, name: &str, key: &str, field: &str) -> Result<String> {
        let is_plain = |text: &str| {
            !text.is_empty()
                && !text.starts_with('.')
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        if !is_plain(name) || !is_plain(key) {
            return Err(Error::field(field, format!("`{name}/{key}` is not the name of a secret and a key")));
        }
        let variable = variable(name, key);
        if let Ok(value) = std::env::var(&variable) {
            return Ok(value);
        }
        let missing = |place: &str| {
            let reason = format!(
                "this machine does not have the secret `{name}/{key}`: set {variable} in the environment of dcp, or \
                 {place}"
            );
            Error::field(field, reason)
        };
        let Some(folder) = &self.folder else {
            return Err(missing("give this Runner a folder of secrets"));
        };
        let path = folder.join(name).join(key);
        read_file(&path, field)?
            .ok_or_else(|| missing(&format!("write it into the file `{}`", path.display())))
    }

    /// Resolves the references in a text; none if it has no reference.
    pub(super) fn resolve(&self, text: &str, field: &str) -> Result<Option<String>> {
        if !text.contains(REFERENCE_START) {
            return Ok(None);
        }
        let mut resolved = String::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once(REFERENCE_START) {
            let Some((reference, after)) = from.split_once(REFERENCE_END) else { break };
            let (name, key) = reference.split_once('/').unwrap_or((reference, ""));
            resolved.push_str(before);
            resolved.push_str(&self.get(name, key, field)?);
            rest = after;
        }
        resolved.push_str(rest);
        Ok(Some(resolved))
    }

    /// Resolves the references in the texts of a JSON document; none if it has no reference.
    pub(super) fn resolve_json(&self, text: &str, field: &str) -> Result<Option<String>> {
        if !text.contains(REFERENCE_START) {
            return Ok(None);
        }
        let Ok(mut document) = serde_json::from_str::<Value>(text) else {
            let reason = "it refers to a secret in a file that is not JSON, which `local` can't resolve";
            return Err(Error::field(field, reason));
        };
        self.resolve_value(&mut document, field)?;
        Ok(Some(document.to_string()))
    }

    fn resolve_value(&self, value: &mut Value, field: &str) -> Result<()> {
        match value {
            Value::String(text) => {
                if let Some(resolved) = self.resolve(text, field)? {
                    *text = resolved;
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.resolve_value(item, field)?;
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    // Spark writes the text of SQL into its event log.
                    if matches!(key.as_str(), "statements" | "query" | "parameters") {
                        reject_reference(
                            &member.to_string(),
                            &format!("{field}.query"),
                            "SQL, which Spark writes into its event log",
                        )?;
                    }
                    self.resolve_value(member, field)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }
}

/// Reads a secret from a file that only its owner can read; none if there is no such file.
fn read_file(path: &Path, field: &str) -> Result<Option<String>> {
    let Some(about) = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file) else {
        return Ok(None);
    };
    if about.permissions().mode() & 0o077 != 0 {
        let path = path.display();
        let reason = format!("other users can read the secret in `{path}`; run `chmod 600 {path}`");
        return Err(Error::field(field, reason));
    }
    let mut text = String::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(MAX_SECRET_BYTES).read_to_string(&mut text));
    read.map_err(|error| Error::field(field, format!("`{}` can't be read: {error}", path.display())))?;
    // Editors end a file with a line break.
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(Some(text))
}

/// Rejects a reference in a place where the secret would be visible.
pub(super) fn reject_reference(text: &str, field: &str, place: &str) -> Result<()> {
    let Some((_, from)) = text.split_once(REFERENCE_START) else { return Ok(()) };
    let name = from.split_once(REFERENCE_END).map_or(from, |(name, _)| name);
    let reason = format!(
        "it has the secret `{name}` in {place}: set it in `spark.conf`, `spark.hadoopConf` or `pods.driver.env`"
    );
    Err(Error::field(field, reason))
}

/// Returns `DCP_SECRET_<NAME>_<KEY>`, in upper case.
fn variable(name: &str, key: &str) -> String {
    let upper = |text: &str| text.to_ascii_uppercase().replace(['-', '.'], "_");
    format!("DCP_SECRET_{}_{}", upper(name), upper(key))
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
    use std::fs;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        fs::create_dir(folder.path().join("db")).expect("the temporary folder is writable");
        let path = folder.path().join("db/password");
        fs::write(&path, "p\"a=s: \\s\n").expect("the temporary folder is writable");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file belongs to this user");
        let store = Store { folder: Some(folder.path().to_owned()) };
        (folder, store)
    }

    #[test]
    fn secret_references_are_resolved() {
        let (_folder, store) = store();
        let text = "a ${secret.db/password}${x} ${secret.db/password";
        let resolved = store.resolve(text, "f").expect("it exists");
        assert_eq!(resolved.as_deref(), Some("a p\"a=s: \\s${x} ${secret.db/password"));
        assert_eq!(store.resolve("${x} $secret", "f"), Ok(None));
        let json = store.resolve_json("{\"a\": [\"${secret.db/password}\"]}", "f").expect("it exists");
        let value: Value = serde_json::from_str(&json.expect("the value is present")).expect("it is JSON");
        assert_eq!(value, serde_json::json!({"a": ["p\"a=s: \\s"]}));
        let sql = store.resolve_json("{\"statements\": [\"SELECT '${secret.db/password}'\"]}", "job.sql");
        assert!(matches!(sql, Err(Error::Field { field, .. }) if field == "job.sql.query"));
    }

    #[test]
    fn missing_unprotected_and_malformed_secrets_are_rejected() {
        let (folder, store) = store();
        for (name, key) in
            [("db", "user"), ("..", "password"), ("db", "../../etc/passwd"), ("", ""), ("db", "")]
        {
            let Err(Error::Field { field, .. }) = store.get(name, key, "spark.conf.x") else {
                panic!("{name}/{key}")
            };
            assert_eq!(field, "spark.conf.x");
        }
        let path = folder.path().join("db/password");
        fs::set_permissions(path, fs::Permissions::from_mode(0o640)).expect("the file belongs to this user");
        assert!(
            matches!(store.get("db", "password", "f"), Err(Error::Field { reason, .. }) if reason.contains("chmod 600"))
        );
        let error = Store::default().get("s3.main", "secret-key", "f").expect_err("there is no such secret");
        assert!(error.to_string().contains("DCP_SECRET_S3_MAIN_SECRET_KEY"), "{error}");
    }

    #[test]
    fn properties_are_escaped() {
        let conf = [("a:b".to_owned(), " x=\\y\nz#".to_owned())].into();
        assert_eq!(properties(&conf), "a\\:b=\\ x\\=\\\\y\\nz\\#\n");
    }
}

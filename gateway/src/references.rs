//! References to secrets, `${secret.name/key}`, in the texts of an application. It is pure: values are elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::error::{Error, Result};

/// The beginning and the end of a reference.
pub(crate) const START: &str = "${secret.";
const END: char = '}';
/// Maximum length of the name of a secret, and of a key.
const MAX_NAME_BYTES: usize = 253;

/// A key of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretKey {
    name: String,
    key: String,
}

impl SecretKey {
    /// Validates a name and a key, so that neither can leave the place of the secrets of a domain. `field` is the
    /// manifest's, for messages.
    pub fn new(name: &str, key: &str, field: &str) -> Result<Self> {
        let is_plain = |text: &str| {
            !text.is_empty()
                && text.len() <= MAX_NAME_BYTES
                && !text.starts_with('.')
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        match is_plain(name) && is_plain(key) {
            true => Ok(Self { name: name.to_owned(), key: key.to_owned() }),
            false => {
                let shown: String = format!("{name}/{key}").chars().take(80).collect();
                let reason = format!(
                    "`{shown}` is not the name of a secret and a key, which have letters, digits, `-`, `_` and `.`, and \
                     begin with no `.`: write `${{secret.name/key}}`"
                );
                Err(Error::field(field, reason))
            }
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.key)
    }
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    Text(&'t str),
    Secret(SecretKey),
}

/// Returns true if a text may have a reference.
pub(crate) fn has_reference(text: &str) -> bool {
    text.contains(START)
}

/// Splits a text at its references. `$${secret.` is the text `${secret.`.
pub(crate) fn pieces<'t>(text: &'t str, field: &str) -> Result<Vec<Piece<'t>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            pieces.extend([Piece::Text(before), Piece::Text(START)]);
            rest = &from[START.len()..];
            continue;
        }
        let reference = from[START.len()..].split_once(END);
        let Some((reference, after)) = reference else {
            return Err(Error::field(field, "a reference to a secret is not closed by `}`"));
        };
        let (name, key) = reference.split_once('/').unwrap_or((reference, ""));
        pieces.extend([Piece::Text(before), Piece::Secret(SecretKey::new(name, key, field)?)]);
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    Ok(pieces)
}

/// Returns the secrets that a text refers to.
pub(crate) fn secrets(text: &str, field: &str) -> Result<BTreeSet<SecretKey>> {
    let secret = |piece| match piece {
        Piece::Secret(secret) => Some(secret),
        Piece::Text(_) => None,
    };
    Ok(pieces(text, field)?.into_iter().filter_map(secret).collect())
}

/// A text with references in a JSON document.
#[derive(Debug)]
pub(crate) struct Found<'d> {
    pub(crate) text: &'d mut String,
    /// The name of the member that has it.
    pub(crate) option: &'d str,
    /// The path of the member, for messages.
    pub(crate) field: &'d str,
}

/// Calls a function for each text with references in the JSON of a program. Rejects references in SQL.
pub(crate) fn visit_json(
    document: &mut Value,
    field: &str,
    visit: &mut dyn FnMut(Found<'_>) -> Result<()>,
) -> Result<()> {
    visit_value(document, "", field, visit)
}

fn visit_value(
    value: &mut Value,
    option: &str,
    field: &str,
    visit: &mut dyn FnMut(Found<'_>) -> Result<()>,
) -> Result<()> {
    match value {
        Value::String(text) if has_reference(text) => {
            if is_of_file_source(field) {
                reject(
                    text,
                    field,
                    "the log of Spark, which has the options of files that it reads as a stream",
                )?;
            }
            visit(Found { text, option, field })
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| visit_value(item, option, field, visit)),
        Value::Object(members) => members.iter_mut().try_for_each(|(key, member)| {
            let field = format!("{field}.{key}");
            reject(key, &field, "the name of an option")?;
            // Spark writes the text of SQL into its event log.
            match key.as_str() {
                "statements" => reject_in(member, "job.sql.query"),
                "query" | "parameters" => reject_in(member, &field),
                _ => visit_value(member, key, &field, visit),
            }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Returns true if a field belongs to a source of files: `….sources.NAME.files.…`.
fn is_of_file_source(field: &str) -> bool {
    let mut parts = field.split('.').skip_while(|part| *part != "sources");
    parts.nth(2) == Some("files")
}

fn reject_in(value: &Value, field: &str) -> Result<()> {
    reject(&value.to_string(), field, "SQL, which Spark writes into its event log")
}

/// Rejects a reference in a place where others could see the secret.
pub(crate) fn reject(text: &str, field: &str, place: &str) -> Result<()> {
    let Some((_, from)) = text.split_once(START) else { return Ok(()) };
    let name: String = from.split_once(END).map_or(from, |(name, _)| name).chars().take(80).collect();
    let reason = format!(
        "it has the secret `{name}` in {place}: set it in `spark.conf`, `spark.hadoopConf` or `pods.driver.env`"
    );
    Err(Error::field(field, reason))
}

/// Settings that Spark writes where others can read them, on every backend: the beginning of their names, and the place.
const EXPOSED: &[(&str, &str)] = &[
    ("spark.jars", "the log of Spark, which has the addresses of packages and files"),
    ("spark.files", "the log of Spark, which has the addresses of packages and files"),
    ("spark.archives", "the log of Spark, which has the addresses of packages and files"),
    ("spark.submit.", "the log of Spark, which has the addresses of packages and files"),
    ("spark.eventLog.", "the address of the event log, which dcp shows"),
    ("spark.app.name", "the name of the application, which Spark shows"),
    ("spark.dcp.", "a file of the application that others may read"),
];

/// Returns the names of the settings that have references. Rejects references in settings that others could see.
pub(crate) fn settings_with_secrets(conf: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let with_references = conf.iter().filter(|(_, value)| has_reference(value));
    let check = |(key, value): (&String, &String)| {
        let field = format!("spark.conf.{key}");
        if key.ends_with("JavaOptions") || key.contains(".extra") {
            reject(value, &field, "the command line of the JVM")?;
        }
        if let Some((_, place)) = EXPOSED.iter().find(|(prefix, _)| key.starts_with(prefix)) {
            reject(value, &field, place)?;
        }
        Ok(key.clone())
    };
    with_references.map(check).collect()
}

/// Spark's default for redaction.
const DEFAULT_REDACTION: &str = "(?i)secret|password|token|access[.]?key";

/// Makes Spark leave settings, and options of sources and sinks, out of its event log and its web interface.
pub(crate) fn redact(conf: &mut BTreeMap<String, String>, settings: &[String], options: &BTreeSet<String>) {
    const KEY: &str = "spark.redaction.regex";
    if settings.is_empty() && options.is_empty() {
        return;
    }
    let own = conf.get(KEY).map_or(DEFAULT_REDACTION, String::as_str);
    let settings =
        settings.iter().flat_map(|key| [Some(key.as_str()), key.strip_prefix("spark.hadoop.")]).flatten();
    let settings = settings.map(|key| format!("|^{}$", quoted(key)));
    // Spark compares the names of options without case.
    let options = options.iter().map(|option| format!("|(?i:^{}$)", quoted(option)));
    let redacted = format!("(?:{own}){}", settings.chain(options).collect::<String>());
    conf.insert(KEY.to_owned(), redacted);
}

/// Quotes a text for Java's regular expressions.
fn quoted(text: &str) -> String {
    format!("\\Q{}\\E", text.replace("\\E", "\\E\\\\E\\Q"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(name: &str, key: &str) -> SecretKey {
        SecretKey::new(name, key, "f").expect("the names are valid")
    }

    #[test]
    fn a_text_is_split_at_its_references() {
        let found = pieces("a ${secret.db/password}${x} $${secret.db/user}", "f").expect("it is valid");
        let expected = [
            Piece::Text("a "),
            Piece::Secret(secret("db", "password")),
            Piece::Text("${x} "),
            Piece::Text(START),
            Piece::Text("db/user}"),
        ];
        assert_eq!(found, expected);
        assert_eq!(pieces("", "f"), Ok(vec![]));
    }

    #[test]
    fn malformed_references_are_rejected_by_field() {
        let long = "x".repeat(254);
        for reference in [
            "",
            "db",
            "/k",
            "db/",
            "../password",
            "db/../../etc/passwd",
            "db/a/b",
            "d b/k",
            "{domain}/k",
            &long,
        ] {
            let error = secrets(&format!("${{secret.{reference}}}"), "spark.conf.x").expect_err(reference);
            assert!(error.to_string().starts_with("`spark.conf.x`: "), "{error}");
        }
        secrets("${secret.db/password", "f").expect_err("the reference is not closed");
    }

    #[test]
    fn references_in_json_are_found_by_member() {
        let mut document =
            json!({"sink": {"options": {"url": "${secret.db/url}", "list": ["${secret.a/b}"]}}});
        let mut found = Vec::new();
        let mut visit = |it: Found<'_>| {
            found.push(format!("{} {} {}", it.field, it.option, it.text));
            Ok(())
        };
        visit_json(&mut document, "job", &mut visit).expect("no reference is rejected");
        found.sort();
        let expected =
            ["job.sink.options.list list ${secret.a/b}", "job.sink.options.url url ${secret.db/url}"];
        assert_eq!(found, expected);
    }

    #[test]
    fn references_that_spark_shows_are_rejected_by_field() {
        for (document, field) in [
            (json!({"statements": ["SELECT '${secret.db/password}'"]}), "`job.sql.query`: "),
            (json!({"stream": {"query": "SELECT '${secret.db/password}'"}}), "`job.stream.query`: "),
            (json!({"a": {"${secret.db/password}": 1}}), "`job.a.${secret.db/password}`: "),
            (
                json!({"sources": {"s": {"files": {"options": {"x": "${secret.db/password}"}}}}}),
                "`job.sources.s.files.options.x`: ",
            ),
        ] {
            let mut document = document;
            let error = visit_json(&mut document, "job", &mut |_| Ok(())).expect_err(field).to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }

    #[test]
    fn settings_that_spark_shows_are_rejected_by_name() {
        let of = |key: &str| {
            let conf = BTreeMap::from([(key.to_owned(), "x ${secret.db/password}".to_owned())]);
            settings_with_secrets(&conf)
        };
        for key in ["spark.executor.extraJavaOptions", "spark.jars.repositories", "spark.dcp.log4j2"] {
            let error = of(key).expect_err(key).to_string();
            assert!(
                error.starts_with(&format!("`spark.conf.{key}`: it has the secret `db/password` in ")),
                "{error}"
            );
        }
        assert_eq!(
            of("spark.hadoop.fs.s3a.secret.key"),
            Ok(vec!["spark.hadoop.fs.s3a.secret.key".to_owned()])
        );
    }

    #[test]
    fn settings_and_options_with_secrets_are_redacted() {
        let mut conf = BTreeMap::from([("spark.redaction.regex".to_owned(), "own".to_owned())]);
        redact(&mut conf, &["spark.hadoop.x".to_owned()], &["a\\Eb".to_owned()].into());
        let expected = "(?:own)|^\\Qspark.hadoop.x\\E$|^\\Qx\\E$|(?i:^\\Qa\\E\\\\E\\Qb\\E$)";
        assert_eq!(conf["spark.redaction.regex"], expected);
        let mut conf = BTreeMap::new();
        redact(&mut conf, &[], &BTreeSet::new());
        assert!(conf.is_empty());
    }
}

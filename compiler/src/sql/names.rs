//! Names of tables.

use sqlparser::ast::{Expr, Ident, ObjectName, ObjectNamePart, TableAlias, Value};

use super::facts::TableRef;
use super::literals::unescaped;
use super::tokens::span_range;

/// Formats of paths that Spark can read directly: ``format.`path` ``.
const PATH_FORMATS: &[&str] =
    &["avro", "binaryfile", "csv", "delta", "hudi", "iceberg", "json", "orc", "parquet", "text", "xml"];

/// The prefix of a name that is only known at run time.
pub(super) const DYNAMIC_PREFIX: &str = "identifier(";

/// Returns whether a name is only known at run time.
pub(super) fn is_dynamic(ident: &Ident) -> bool {
    ident.quote_style == Some('`') && ident.value.starts_with(DYNAMIC_PREFIX)
}

/// Returns the parts of a name. Parts that are function calls are left out.
pub(super) fn parts(name: &ObjectName) -> impl DoubleEndedIterator<Item = &Ident> {
    name.0.iter().filter_map(|part| match part {
        ObjectNamePart::Identifier(ident) => Some(ident),
        ObjectNamePart::Function(_) => None,
    })
}

/// Returns the name in lower case, if it has one part only.
pub(super) fn single(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(ident.value.to_lowercase()),
        _ => None,
    }
}

/// Returns the last part in lower case, by which columns are qualified.
pub(super) fn last(name: &ObjectName) -> Option<String> {
    parts(name).next_back().map(|ident| ident.value.to_lowercase())
}

/// Returns whether a table is `STREAM t`, which the parser reads as a table `STREAM` with an alias.
pub(super) fn is_stream(name: &ObjectName, alias: Option<&TableAlias>) -> bool {
    let bare = match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => {
            ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("stream")
        }
        _ => false,
    };
    bare && alias.is_some_and(|alias| !alias.explicit && alias.columns.is_empty())
}

/// Returns the value of a string.
pub(super) fn literal(expr: &Expr) -> Option<String> {
    let Expr::Value(value) = expr else { return None };
    match &value.value {
        Value::SingleQuotedString(raw) => Some(unescaped(raw, '\'')),
        Value::DoubleQuotedString(raw) => Some(unescaped(raw, '"')),
        Value::SingleQuotedRawStringLiteral(text) | Value::DoubleQuotedRawStringLiteral(text) => {
            Some(text.clone())
        }
        _ => None,
    }
}

/// Returns the name that an expression consists of.
pub(super) fn of_expr(expr: &Expr) -> Option<ObjectName> {
    match expr {
        Expr::Identifier(ident) => Some(ObjectName::from(vec![ident.clone()])),
        Expr::CompoundIdentifier(parts) => Some(ObjectName::from(parts.clone())),
        _ => None,
    }
}

pub(super) fn table(name: &ObjectName) -> TableRef {
    let idents: Vec<&Ident> = parts(name).collect();
    let start = idents.first().map_or(0, |ident| span_range(ident.span).start);
    let end = idents.last().map_or(start, |ident| span_range(ident.span).end);
    let (name, path_format) = match idents.as_slice() {
        [format, path] if is_path(format, path) => (path.value.clone(), Some(format.value.to_lowercase())),
        idents => (dotted(idents), None),
    };
    TableRef { name, at: start..end.max(start), path_format }
}

fn is_path(format: &Ident, path: &Ident) -> bool {
    let known = |format: &str| PATH_FORMATS.iter().any(|known| known.eq_ignore_ascii_case(format));
    path.quote_style == Some('`') && path.value.contains('/') && known(&format.value)
}

fn dotted(idents: &[&Ident]) -> String {
    let mut name = String::new();
    for ident in idents {
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&ident.value);
    }
    name
}

/// Returns Spark's name of a column without an alias, if it is simple.
pub(super) fn natural_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => name_of(ident),
        Expr::CompoundIdentifier(parts) => parts.last().and_then(name_of),
        _ => None,
    }
}

/// Returns a name, if it is known before the statement runs.
pub(super) fn name_of(ident: &Ident) -> Option<String> {
    (!is_dynamic(ident)).then(|| ident.value.clone())
}

//! Statements of a job for a sandbox: the tables that they write are replaced by tables of the sandbox's schema.
//!
//! A statement is checked after it is rewritten: each table that it writes is in the schema, or it is rejected.

use std::collections::BTreeSet;

use dcp_compiler::sql::{self, StatementUses, TableUse};
use sha2::{Digest as _, Sha256};

/// Maximum length of a table's name before its hash.
const MAX_NAME: usize = 80;
/// The database of a name of one part.
const DEFAULT_DATABASE: &str = "default";
/// The beginnings of settings that would change what a name or a text means.
const CONTROLLED: &[&str] = &[
    "spark.sql.ansi.doublequotedidentifiers",
    "spark.sql.catalog",
    "spark.sql.defaultcatalog",
    "spark.sql.legacy",
    "spark.sql.parser",
    "spark.sql.variable",
    "spark.sql.warehouse",
];
/// Words after a table's name before which no alias can be.
const BEFORE_ALIAS: &[&str] =
    &["tablesample", "version", "timestamp", "for", "system_version", "system_time", "with"];

/// The tables of a sandbox, as statements change them.
#[derive(Debug, Clone)]
pub(crate) struct SandboxTables {
    pub(crate) catalog: String,
    pub(crate) schema: String,
    /// The names of its tables and views, in lower case.
    pub(crate) tables: BTreeSet<String>,
    /// The temporary views that earlier statements have defined, in lower case.
    pub(crate) temporary_views: BTreeSet<String>,
}

/// A statement for a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rewritten {
    pub(crate) sql: String,
    /// Tables and the tables of the sandbox that replace them, as they are written in the statement.
    pub(crate) replaced: Vec<(String, String)>,
    /// The table that has to exist in the sandbox before the statement, with the one that it is like.
    pub(crate) missing: Option<(String, String)>,
}

impl SandboxTables {
    /// Rewrites a statement. The error says what the statement is or has, such as "renames a table".
    pub(crate) fn rewrite(&mut self, statement: &str) -> Result<Rewritten, String> {
        if is_setting(statement)? {
            return Ok(Rewritten { sql: statement.to_owned(), replaced: Vec::new(), missing: None });
        }
        let found = sql::uses(statement).map_err(|why| why.0)?;
        let mut sql = statement.to_owned();
        let mut replaced = Vec::new();
        let mut missing = None;
        for of in found.uses.iter().rev() {
            let Some(name) = self.replacement(of, &found)? else { continue };
            let original = text_of(statement, of);
            let new = self.qualified(&name);
            if of.writes && found.changes_table && !self.tables.contains(&name) {
                missing = Some((new.clone(), original.to_owned()));
            }
            let alias = alias(of, &found, statement)?;
            let (start, end) = (of.at.start as usize, of.at.end as usize);
            sql.replace_range(start..end, &format!("{new}{}", alias.unwrap_or_default()));
            replaced.push((original.to_owned(), new));
        }
        replaced.reverse();
        self.check(&sql, &found)?;
        self.record(&found);
        Ok(Rewritten { sql, replaced, missing })
    }

    /// Returns the table of the sandbox that replaces a use; none if it stays.
    fn replacement(&self, of: &TableUse, statement: &StatementUses) -> Result<Option<String>, String> {
        if of.is_path {
            return match of.writes {
                true => Err(format!("writes to the path `{}`", of.parts.join("."))),
                false => Ok(None),
            };
        }
        let is_temporary = match of.parts.as_slice() {
            [only] => self.temporary_views.contains(&only.to_lowercase()),
            _ => false,
        };
        if (is_temporary && (!of.writes || statement.drops_view)) || self.owns(&of.parts) {
            return Ok(None);
        }
        let name = table_name(&of.parts);
        Ok((of.writes || self.tables.contains(&name)).then_some(name))
    }

    /// Returns whether a name is in the schema of the sandbox.
    fn owns(&self, parts: &[String]) -> bool {
        let is = |part: &str, name: &str| part.eq_ignore_ascii_case(name);
        matches!(parts, [catalog, schema, _] if is(catalog, &self.catalog) && is(schema, &self.schema))
    }

    /// Checks that a rewritten statement writes in the schema only.
    fn check(&self, sql: &str, before: &StatementUses) -> Result<(), String> {
        let after = sql::uses(sql).map_err(|why| why.0)?;
        let drops_temporary = |of: &TableUse| {
            let [only] = of.parts.as_slice() else { return false };
            after.drops_view && self.temporary_views.contains(&only.to_lowercase())
        };
        let is_safe =
            |of: &TableUse| !of.writes || (!of.is_path && self.owns(&of.parts)) || drops_temporary(of);
        let finds_the_same =
            after.uses.len() == before.uses.len() && after.temporary_view == before.temporary_view;
        match finds_the_same && after.uses.iter().all(is_safe) {
            true => Ok(()),
            false => Err("can't be rewritten for a sandbox".to_owned()),
        }
    }

    fn record(&mut self, statement: &StatementUses) {
        self.temporary_views.extend(statement.temporary_view.clone());
        for of in statement.uses.iter().filter(|of| of.writes) {
            let only = match of.parts.as_slice() {
                [only] if statement.drops_view => Some(only.to_lowercase()),
                _ => None,
            };
            match (only, of.parts.as_slice()) {
                (Some(view), _) if self.temporary_views.remove(&view) => {}
                (_, [.., name]) if self.owns(&of.parts) => {
                    self.tables.insert(name.to_lowercase());
                }
                (_, parts) => {
                    self.tables.insert(table_name(parts));
                }
            }
        }
    }

    fn qualified(&self, name: &str) -> String {
        format!("`{}`.`{}`.`{name}`", self.catalog, self.schema)
    }
}

/// Returns whether a statement sets a setting. Fails for settings that change what names mean.
fn is_setting(statement: &str) -> Result<bool, String> {
    let Some(("set" | "SET" | "Set", rest)) = statement.trim_start().split_once(char::is_whitespace) else {
        return Ok(false);
    };
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    let key = key.trim().to_lowercase();
    let is_key =
        key.contains('.') && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !is_key || value.contains("${") {
        return Err("is of a kind that is not run in a sandbox".to_owned());
    }
    match CONTROLLED.iter().any(|controlled| key.starts_with(controlled)) {
        true => Err(format!("sets `{key}`, which changes what the names of tables mean")),
        false => Ok(true),
    }
}

/// Returns the alias that a replaced table needs, so that its old name can still be before columns.
fn alias(of: &TableUse, statement: &StatementUses, sql: &str) -> Result<Option<String>, String> {
    let Some(last) = of.parts.last() else { return Ok(None) };
    let is_possible = !of.writes || statement.qualifies_target;
    if of.has_alias || !is_possible || !statement.qualifiers.contains(&last.to_lowercase()) {
        return Ok(None);
    }
    let rest = sql.get(of.at.end as usize..).unwrap_or_default().trim_start().to_lowercase();
    let next: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if BEFORE_ALIAS.contains(&next.as_str()) || rest.starts_with(['-', '/', '@']) {
        return Err(format!("uses the name `{last}` before columns; give the table an alias"));
    }
    Ok(Some(format!(" AS `{}`", last.replace('`', "``"))))
}

fn text_of<'a>(sql: &'a str, of: &TableUse) -> &'a str {
    sql.get(of.at.start as usize..of.at.end as usize).unwrap_or_default()
}

/// Returns the name of a table in a sandbox: the parts of its own name, so that two tables never have the same. Has a hash if they
/// are not plain words.
pub(crate) fn table_name(parts: &[String]) -> String {
    let mut parts: Vec<String> = parts.iter().map(|part| part.to_lowercase()).collect();
    if parts.len() == 1 {
        parts.insert(0, DEFAULT_DATABASE.to_owned());
    }
    let is_word = |part: &String| {
        let is_hash = part.len() == 9 && part.starts_with('x');
        let is_plain = part.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
        !part.is_empty()
            && is_plain
            && !part.contains("__")
            && !part.starts_with('_')
            && !part.ends_with('_')
            && !is_hash
    };
    let plain = parts.join("__");
    if parts.iter().all(is_word) && plain.len() <= MAX_NAME {
        return plain;
    }
    let mut hasher = Sha256::new();
    for part in &parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    let [a, b, c, d, ..] = <[u8; 32]>::from(hasher.finalize());
    let hash = u32::from_be_bytes([a, b, c, d]);
    let slug = plain.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    format!("{}__x{hash:08x}", slug.take(MAX_NAME).collect::<String>())
}

#[cfg(test)]
mod tests;

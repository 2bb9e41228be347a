//! Calls of functions that Spark does not have.

use std::sync::LazyLock;

use dcp_model::manifest::Manifest;

use super::{SqlSource, Subject};
use crate::diag::{Code, Diagnostic, nearest};
use crate::sql::Facts;

/// Made by `scripts/spark-functions`: the versions that are listed, and a function in each line.
static LIST: LazyLock<List> = LazyLock::new(|| List::parse(include_str!("functions/spark.txt")));

struct List {
    versions: Vec<&'static str>,
    /// In order, each with the versions that have it; with none where all have it.
    functions: Vec<(&'static str, &'static str)>,
}

impl List {
    fn parse(text: &'static str) -> Self {
        let mut lines = text.lines();
        let versions = lines.next().unwrap_or_default().split(' ').collect();
        let functions = lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).collect();
        Self { versions, functions }
    }

    /// Returns the functions of a version.
    fn of(&self, version: &str) -> impl Iterator<Item = &'static str> {
        let has = move |versions: &str| is_among(versions, version);
        self.functions.iter().filter(move |(_, versions)| has(versions)).map(|(name, _)| *name)
    }

    fn has(&self, name: &str, version: &str) -> bool {
        self.versions_of(name).is_some_and(|versions| is_among(versions, version))
    }

    /// Returns the versions that have a function, if there are any.
    fn versions_of(&self, name: &str) -> Option<&'static str> {
        let found = self.functions.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        Some(self.functions[found].1)
    }
}

fn is_among(versions: &str, version: &str) -> bool {
    versions.is_empty() || versions.split(' ').any(|it| it == version)
}

pub(super) fn check(subject: &mut Subject<'_>) {
    let Some(sql) = subject.sql else { return };
    let Some(facts) = sql.facts() else { return };
    let Some((major, minor)) = subject.manifest.spec.engine.version.spark() else { return };
    let version = format!("{major}.{minor}");
    if !LIST.versions.contains(&version.as_str()) || may_have_more(subject.manifest) {
        return;
    }
    let unknown = unknown(sql, facts, &version);
    subject.diagnostics.extend(unknown);
}

/// The beginnings of settings that may bring functions, out of jars or the catalog of Hive.
const BRINGING: &[&str] = &[
    "spark.hadoop.hive.",
    "spark.jars",
    "spark.plugins",
    "spark.sql.catalogImplementation",
    "spark.sql.extensions",
    "spark.sql.hive.",
];

/// Only the first unknown functions get the name that was perhaps meant, as that is looked for among all names.
const SUGGESTED: usize = 50;

/// Returns whether something in a manifest may bring functions of its own.
fn may_have_more(manifest: &Manifest) -> bool {
    let spec = &manifest.spec;
    let dependencies = &spec.dependencies;
    let bringing = |key: &str| BRINGING.iter().any(|prefix| key.starts_with(prefix));
    !dependencies.jars.is_empty()
        || !dependencies.packages.is_empty()
        || spec.engine.image.is_some()
        || spec.spark.config_map.is_some()
        || spec.spark.hadoop_config_map.is_some()
        || spec.spark.conf.keys().any(|key| bringing(key.as_str()))
        || spec.spark.hadoop_conf.keys().any(|key| key.starts_with("hive."))
}

fn unknown(sql: &SqlSource<'_>, facts: &Facts, version: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for call in &facts.calls {
        if LIST.has(&call.name, version) {
            continue;
        }
        let elsewhere = LIST.versions_of(&call.name).is_some();
        let suffix = if elsewhere { ", though another version has" } else { "" };
        let message = format!("Spark {version} has no function `{}`{suffix}", call.name);
        let looked_for = !elsewhere && found.len() < SUGGESTED;
        let meant = looked_for.then(|| nearest(&call.name, LIST.of(version))).flatten();
        let label = meant.map(|meant| format!("did you mean `{meant}`?")).unwrap_or_default();
        let help = "create it in this SQL by `CREATE TEMPORARY FUNCTION`, or write the database before its name if \
                    the catalog has it";
        found.push(Diagnostic::new(Code::UNKNOWN_FUNCTION, message).at(sql.span(&call.at), label).help(help));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_in_order_so_that_it_can_be_searched() {
        assert!(LIST.functions.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(LIST.functions.len() > 500);
    }

    #[test]
    fn versions_decide_which_functions_exist() {
        let list = List::parse("4.0 4.1\na\nb 4.1");
        assert!(list.has("a", "4.0") && list.has("b", "4.1"));
        assert!(!list.has("b", "4.0") && !list.has("c", "4.1"));
        assert_eq!(list.of("4.0").collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn functions_of_the_parser_and_of_tables_are_known() {
        for name in
            ["cast", "try_cast", "timestampadd", "extract", "trim", "overlay", "range", "explode", "window"]
        {
            assert!(LIST.has(name, "4.1"), "{name}");
        }
    }
}

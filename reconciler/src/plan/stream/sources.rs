//! Sources: the number, the kinds and the order of those that are read as streams.

use std::collections::BTreeSet;

use dcp_model::manifest::Source;

use super::{AnalyzedStream, Finding};
use crate::plan::class::Class;

/// Reports added, removed and replaced sources, and returns those that need no further comparison.
pub(super) fn compare(
    old: &AnalyzedStream<'_>,
    new: &AnalyzedStream<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeSet<String> {
    let names = old.stream.sources.keys().chain(new.stream.sources.keys());
    let changed: BTreeSet<String> =
        names.map(|name| name.as_str().to_owned()).filter(|name| old.kind(name) != new.kind(name)).collect();
    for name in &changed {
        let is_static = |of: &AnalyzedStream<'_>| of.source(name).is_none_or(|source| !source.is_streaming());
        if is_static(old) && is_static(new) {
            let why = "a source that is not read as a stream has no place in the checkpoint";
            let kind = |of: &AnalyzedStream<'_>| of.kind(name).map(|(kind, _)| kind.to_owned());
            let finding = Finding::new(&["sources", name], Class::Restart, why);
            findings.push(finding.of("source", kind(old), kind(new)));
        }
    }
    findings.extend(streams(old, new, &changed));
    changed
}

/// Compares the set of streaming sources.
fn streams(
    old: &AnalyzedStream<'_>,
    new: &AnalyzedStream<'_>,
    changed: &BTreeSet<String>,
) -> Option<Finding> {
    let (Some(before), Some(after)) = (old.streamed(), new.streamed()) else {
        let why = "a checkpoint knows its sources by their order in the query, which can't be read here";
        let same = old.text == new.text && changed.is_empty();
        return (!same).then(|| Finding::new(&["sources"], Class::Unknown, why));
    };
    let kinds = |names: &[&str], of: &AnalyzedStream<'_>| -> Vec<Option<(&str, bool)>> {
        names.iter().map(|name| of.kind(name)).collect()
    };
    if before == after && kinds(&before, old) == kinds(&after, new) {
        return None;
    }
    let same_definition = |(a, b): (&&str, &&str)| a == b || old.source(a) == new.source(b);
    let renamed = before.len() == after.len() && before.iter().zip(&after).all(same_definition);
    let (class, why) = if renamed && kinds(&before, old) == kinds(&after, new) {
        (Class::Restart, "a checkpoint knows its sources by their order, which is what it was")
    } else {
        (
            Class::Reset,
            "Spark refuses another number, kind or order of streaming sources on an old checkpoint",
        )
    };
    Some(Finding::new(&["sources"], class, why).of("streaming sources", old.list(&before), new.list(&after)))
}

impl AnalyzedStream<'_> {
    fn source(&self, name: &str) -> Option<&Source> {
        self.stream.sources.iter().find(|(it, _)| it.as_str() == name).map(|(_, source)| source)
    }

    /// Returns the kind of a source, and whether it is read as a stream.
    fn kind(&self, name: &str) -> Option<(&'static str, bool)> {
        self.source(name).map(|source| {
            let kind = match source {
                Source::Kafka(_) => "kafka",
                Source::Files(_) => "files",
                Source::Table(_) => "table",
                Source::Rate(_) => "rate",
            };
            (kind, source.is_streaming())
        })
    }

    fn list(&self, names: &[&str]) -> String {
        let shown =
            names.iter().map(|name| format!("{name} ({})", self.kind(name).map_or("unknown", |it| it.0)));
        shown.collect::<Vec<_>>().join(", ")
    }
}

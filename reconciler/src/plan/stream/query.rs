//! Compares queries by the parts that a checkpoint stores.

use std::collections::BTreeSet;

use dcp_compiler::sql::{ColumnRef, QueryShape, Text};

use super::{AnalyzedStream, Finding};
use crate::plan::class::Class;

const QUERY: [&str; 1] = ["query"];

pub(super) fn compare(
    old: &AnalyzedStream<'_>,
    new: &AnalyzedStream<'_>,
    stateful: Option<bool>,
    findings: &mut Vec<Finding>,
) {
    deduplication(old, new, findings);
    if old.text == new.text {
        return;
    }
    if normalized(old.text) == normalized(new.text) {
        let why = "it is written in another way and says the same";
        findings.push(Finding::new(&QUERY, Class::InPlace, why));
        return;
    }
    let (Some(before), Some(after)) = (&old.shape, &new.shape) else {
        let (class, why) = match stateful {
            Some(true) => {
                (Class::Unknown, "the query can't be read here, so what its state is can't be known")
            }
            _ => (Class::Unknown, "the query can't be read here, so whether it has state can't be known"),
        };
        findings.push(Finding::new(&QUERY, class, why));
        return;
    };
    let from = findings.len();
    aggregation(before, after, findings);
    distinct(before, after, findings);
    joins(old, new, findings);
    limit(old, new, findings);
    filters(before, after, findings);
    columns(before, after, old, new, findings);
    if findings.len() == from {
        let (class, why) = match stateful {
            Some(false) => (Class::Restart, "the query keeps no state"),
            _ => (Class::Restart, "what it keeps as state is what it was"),
        };
        findings.push(Finding::new(&QUERY, class, why));
    }
}

fn deduplication(old: &AnalyzedStream<'_>, new: &AnalyzedStream<'_>, findings: &mut Vec<Finding>) {
    let keys = |of: &AnalyzedStream<'_>| -> Option<String> {
        let all = of.stream.deduplicate.iter();
        let shown = all.map(|it| {
            let until = if it.within_watermark { " within the watermark" } else { "" };
            format!("{}: {}{until}", it.source.as_str(), it.columns.join(", "))
        });
        let shown: Vec<String> = shown.collect();
        (!shown.is_empty()).then(|| shown.join("; "))
    };
    if old.stream.deduplicate != new.stream.deduplicate {
        let why = "Spark refuses an old checkpoint, or mixes up its rows";
        let finding = Finding::new(&["deduplicate"], Class::Reset, why);
        findings.push(finding.of("deduplication", keys(old), keys(new)));
    }
}

fn aggregation(old: &QueryShape, new: &QueryShape, findings: &mut Vec<Finding>) {
    let parts: [(&'static str, &[Text], &[Text], &str); 2] = [
        (
            "grouping keys",
            &old.group_by,
            &new.group_by,
            "Spark refuses an old checkpoint, or mixes up its groups",
        ),
        (
            "aggregates",
            &old.aggregates,
            &new.aggregates,
            "the state holds what was aggregated so far, and can't be turned into this",
        ),
    ];
    for (what, old, new, why) in parts {
        let (old, new) = (listed(old), listed(new));
        if old != new {
            findings.push(Finding::new(&QUERY, Class::Reset, why).of(what, old, new));
        }
    }
}

fn distinct(old: &QueryShape, new: &QueryShape, findings: &mut Vec<Finding>) {
    // Rows are distinguished by all of their columns.
    let columns = |shape: &QueryShape| -> Option<String> {
        shape.distinct.as_ref()?;
        Some(shape.columns.iter().map(|it| it.text.as_str()).collect::<Vec<_>>().join(", "))
    };
    let (old, new) = (columns(old), columns(new));
    if old != new {
        let why = "Spark refuses an old checkpoint, or mixes up its rows";
        findings.push(Finding::new(&QUERY, Class::Reset, why).of("distinct columns", old, new));
    }
}

fn joins(old: &AnalyzedStream<'_>, new: &AnalyzedStream<'_>, findings: &mut Vec<Finding>) {
    let keys = |of: &AnalyzedStream<'_>| -> Option<String> {
        let shown = of.stream_joins().map(|join| {
            let keys = join.equi_keys.iter().map(|(left, right)| format!("{left} = {right}"));
            format!("{:?} on {}", join.kind, keys.collect::<Vec<_>>().join(" and ")).to_lowercase()
        });
        let shown: Vec<String> = shown.collect();
        (!shown.is_empty()).then(|| shown.join("; "))
    };
    let (before, after) = (keys(old), keys(new));
    if before != after {
        let why = "Spark refuses another type or other keys of a join of streams on an old checkpoint";
        findings.push(Finding::new(&QUERY, Class::Reset, why).of("joins of streams", before, after));
        return;
    }
    let conditions =
        |of: &AnalyzedStream<'_>| -> Vec<String> { of.stream_joins().map(|join| join.on.clone()).collect() };
    let (before, after) = (conditions(old), conditions(new));
    if before != after {
        let why =
            "Spark's guide calls another condition of a join of streams ill-defined on an old checkpoint";
        let finding = Finding::new(&QUERY, Class::Unknown, why);
        findings.push(finding.of("join condition", before.join("; "), after.join("; ")));
    }
}

fn limit(old: &AnalyzedStream<'_>, new: &AnalyzedStream<'_>, findings: &mut Vec<Finding>) {
    let text = |of: &AnalyzedStream<'_>| -> Option<String> {
        let at = of.shape.as_ref()?.limit.clone()?;
        of.text.get(at.start as usize..at.end as usize).map(str::to_owned)
    };
    let (old, new) = (text(old), text(new));
    if old != new {
        let why = "how many rows went through so far is state; Spark's guide says nothing of another limit";
        findings.push(Finding::new(&QUERY, Class::Unknown, why).of("limit", old, new));
    }
}

fn filters(old: &QueryShape, new: &QueryShape, findings: &mut Vec<Finding>) {
    let (before, after): (BTreeSet<&String>, BTreeSet<&String>) =
        (old.filters.iter().collect(), new.filters.iter().collect());
    let only = |one: &BTreeSet<&String>, other: &BTreeSet<&String>| -> Option<String> {
        let alone: Vec<&str> = one.difference(other).map(|it| it.as_str()).collect();
        (!alone.is_empty()).then(|| alone.join(" and "))
    };
    let (removed, added) = (only(&before, &after), only(&after, &before));
    let what = match (&removed, &added) {
        (None, None) => return,
        (None, Some(_)) => "filter added",
        (Some(_), None) => "filter removed",
        (Some(_), Some(_)) => "filter",
    };
    let why = "Spark's guide allows other filters on an old checkpoint";
    findings.push(Finding::new(&QUERY, Class::Restart, why).of(what, removed, added));
}

fn columns(
    old: &QueryShape,
    new: &QueryShape,
    of_old: &AnalyzedStream<'_>,
    of_new: &AnalyzedStream<'_>,
    findings: &mut Vec<Finding>,
) {
    // Sources may have columns of the same name, so the source of a column may be unknown.
    let all = || old.column_refs.iter().chain(&new.column_refs);
    let known = all().all(|it| it.relation.is_some());
    let kept = |shape: &QueryShape| -> BTreeSet<String> {
        let name = |it: &ColumnRef| match it.relation.and_then(|index| shape.relations.get(index)) {
            Some(relation) if known => format!("{}.{}", relation.name, it.name).to_lowercase(),
            _ => it.name.to_lowercase(),
        };
        shape.column_refs.iter().map(name).collect()
    };
    let joined = of_old.stream_joins().count() > 0 && of_new.stream_joins().count() > 0;
    let (before, after) = (kept(old), kept(new));
    if joined && (old.piped || new.piped) {
        let why = "a join of streams keeps the columns that the query uses, and behind `|>` they can't be known here";
        findings.push(Finding::new(&QUERY, Class::Unknown, why));
    } else if joined && before != after {
        let why = "a join of streams keeps the columns that the query uses, and Spark refuses others";
        let shown = |set: &BTreeSet<String>, other: &BTreeSet<String>| {
            let alone: Vec<&str> = set.difference(other).map(String::as_str).collect();
            (!alone.is_empty()).then(|| alone.join(", "))
        };
        let finding = Finding::new(&QUERY, Class::Reset, why);
        findings.push(finding.of("columns kept by a join", shown(&before, &after), shown(&after, &before)));
    }
    let output = |shape: &QueryShape| -> Vec<String> {
        let name = |it: &dcp_compiler::sql::Column| it.name.clone().unwrap_or_else(|| it.text.clone());
        shape.columns.iter().map(name).collect()
    };
    let (before, after) = (output(old), output(new));
    if before != after {
        let why = "Spark's guide allows another output schema where the sink takes it";
        let finding = Finding::new(&QUERY, Class::Restart, why);
        findings.push(finding.of("output columns", before.join(", "), after.join(", ")));
    }
}

fn listed(texts: &[Text]) -> Option<String> {
    (!texts.is_empty()).then(|| texts.iter().map(|it| it.text.as_str()).collect::<Vec<_>>().join(", "))
}

/// Normalizes a query: removes comments and repeated spaces, and lower-cases text outside of quotes. Equal results mean
/// equal queries.
fn normalized(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut chars = sql.chars().peekable();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match quote {
            Some(open) => {
                out.push(c);
                if c == '\\' && open != '`' {
                    out.extend(chars.next());
                } else if c == open {
                    quote = None;
                }
            }
            None if matches!(c, '\'' | '"' | '`') => {
                out.push(c);
                quote = Some(c);
            }
            None if c == '-' && chars.peek() == Some(&'-') => {
                while chars.peek().is_some_and(|c| *c != '\n') {
                    chars.next();
                }
            }
            None if c.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            None => out.extend(c.to_lowercase()),
        }
    }
    out.trim().to_owned()
}

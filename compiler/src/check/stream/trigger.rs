//! Checks of the continuous trigger, which only supports queries that process one row at a time.

use std::ops::Range;

use dcp_model::manifest::{Run, Sink, Source, Trigger};

use super::path;
use super::query::Query;
use crate::check::Subject;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use crate::sql::ClauseKind;

pub(super) fn check(subject: &mut Subject<'_>, query: &Query<'_>) {
    let Run::Continuous(continuous) = &subject.manifest.spec.run else { return };
    let Trigger::Continuous(_) = continuous.trigger else { return };
    let trigger = subject.key(&["spec", "run", "continuous", "trigger", "continuous"]);
    let report = |at: Span, why: &str| {
        Diagnostic::new(Code::CONTINUOUS_TRIGGER, "the continuous trigger takes map-like queries only")
            .at(trigger, "asked for here")
            .at(at, why.to_owned())
            .help("use `trigger: {every: …}`")
    };
    let mut found = Vec::new();
    if let Some((at, what)) = in_query(query) {
        found.push(report(subject.sql_at(&at), what));
    } else if !query.stream.deduplicate.is_empty() {
        found.push(report(subject.key(&path(&["deduplicate"])), "remembers events here"));
    } else if !query.stream.watermark.0.is_empty() {
        found.push(report(subject.key(&path(&["watermark"])), "waits for late events here"));
    }
    for (name, source) in &query.stream.sources {
        if source.is_streaming() && !matches!(source, Source::Kafka(_) | Source::Rate(_)) {
            found.push(report(
                subject.key(&path(&["sources", name.as_str()])),
                "reads something else than Kafka or `rate`",
            ));
        }
    }
    if !matches!(query.stream.sink, Sink::Kafka(_) | Sink::Console(_)) {
        found.push(report(
            subject.key(&path(&["sink", query.stream.sink.kind()])),
            "writes something else than Kafka or the console",
        ));
    }
    subject.diagnostics.extend(found);
}

/// Returns the first operation that needs more than one row. Spark accepts all of them in subqueries over tables.
fn in_query(query: &Query<'_>) -> Option<(Range<u32>, &'static str)> {
    let shape = query.shape;
    let streams = |left: &[usize], right: &[usize]| query.any_streaming(left) || query.any_streaming(right);
    let join = || {
        let join = shape.joins.iter().find(|join| streams(&join.left, &join.right))?;
        Some((join.at.clone(), "joins here"))
    };
    let united = || {
        let operation = shape.set_operations.iter().find(|it| query.runs_on_stream(&it.at))?;
        Some((operation.at.clone(), "puts two queries together here"))
    };
    let limit = || {
        let at = shape.limit.clone().filter(|at| query.runs_on_stream(at))?;
        Some((at, "counts rows here"))
    };
    let clause = || {
        let mut on_streams = shape.clauses.iter().filter(|clause| query.runs_on_stream(&clause.at));
        on_streams.find_map(|clause| {
            let what = match clause.kind {
                ClauseKind::Generator => "makes several rows of one here",
                ClauseKind::CurrentTime => "asks for the time here",
                ClauseKind::With => "names a query here: write it as a subquery",
                ClauseKind::DistributeBy => "spreads the rows here",
                ClauseKind::SampleRows => "counts rows here",
                // These are rejected for all streams.
                ClauseKind::Sample | ClauseKind::Offset => return None,
            };
            Some((clause.at.clone(), what))
        })
    };
    query.aggregation().or_else(join).or_else(united).or_else(limit).or_else(clause)
}

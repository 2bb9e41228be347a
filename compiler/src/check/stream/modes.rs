//! Checks that the query and the sink support the output mode.

use dcp_model::manifest::{JdbcMode, OutputMode, Sink};

use super::query::Query;
use super::{STREAM, path};
use crate::check::Subject;
use crate::diag::{Code, Diagnostic};

pub(super) fn check(subject: &mut Subject<'_>, query: &Query<'_>) {
    let mode = query.stream.output_mode;
    if query.shape.subqueries.iter().any(|level| query.any_streaming(&level.relations)) {
        return; // Subqueries over streams are rejected elsewhere.
    }
    match (mode, query.aggregation()) {
        (OutputMode::Append, Some(_)) => append(subject, query),
        (OutputMode::Complete, None) if query.lateral_aggregate().is_none() => {
            let at = subject.at(&path(&["outputMode"]));
            subject.problem(
                Code::COMPLETE_WITHOUT_AGGREGATE,
                "`complete` output needs an aggregate",
                at,
                "nothing is aggregated",
                "use `outputMode: append`: all rows ever seen can't be kept",
            );
        }
        (OutputMode::Complete, Some(_)) if query.has_watermark() => {
            let at = subject.key(&path(&["watermark"]));
            let message = "`complete` output keeps all groups forever, and ignores the watermark";
            let help = match supports_updates(&query.stream.sink) {
                true => "remove it, or use `outputMode: update`",
                false => "remove it",
            };
            subject.problem(Code::WATERMARK_IGNORED, message, at, "without effect", help);
        }
        (OutputMode::Update, None) => lateral_update(subject, query),
        (OutputMode::Update, Some(_)) => update(subject, query),
        _ => {}
    }
}

/// Reports groups that never end, so that `append` mode never writes them.
fn append(subject: &mut Subject<'_>, query: &Query<'_>) {
    let Some((at, what)) = query.unbounded_groups() else { return };
    let at = subject.sql_at(&at);
    let (message, help) = if query.has_watermark() {
        (
            "`append` output needs groups that end: by a window over the column with the watermark",
            "group by `window(<column>, '5 minutes')`",
        )
    } else {
        (
            "`append` output needs a watermark when the query aggregates",
            "add `watermark: {source: …, column: …, delay: …}`",
        )
    };
    let append_only = query.shape.nested_aggregation || query.stream_joins().next().is_some();
    let update = match supports_updates(&query.stream.sink) && !append_only {
        true => ", or use `outputMode: update`",
        false => "",
    };
    let diagnostic = Diagnostic::new(Code::APPEND_WITHOUT_WATERMARK, message).at(at, what);
    let mode = path(&["outputMode"]);
    let diagnostic = if subject.has(&mode) {
        diagnostic.at(subject.at(&mode), "so Spark would refuse this at start-up")
    } else {
        let default = "`append` is the default: Spark would refuse this at start-up";
        diagnostic.at(subject.key(&STREAM), default)
    };
    subject.report(diagnostic.help(format!("{help}{update}")));
}

fn lateral_update(subject: &mut Subject<'_>, query: &Query<'_>) {
    let Some(at) = query.lateral_aggregate() else { return };
    let at = subject.sql_at(&at);
    subject.problem(
        Code::UNBOUNDED_STATE,
        "an aggregate in a `LATERAL` subquery is kept for every row, forever",
        at,
        "aggregates here",
        "aggregate an array by a function such as `aggregate` or `array_max`",
    );
}

fn update(subject: &mut Subject<'_>, query: &Query<'_>) {
    let Some((at, what)) = query.unbounded_groups() else { return };
    let at = subject.sql_at(&at);
    let help = if query.has_watermark() {
        "group by a window over the column with the watermark"
    } else {
        "add a `watermark`, and group by a window over its column"
    };
    subject.problem(Code::UNBOUNDED_STATE, "the groups of this query are kept forever", at, what, help);
}

/// Returns whether a sink supports changed rows. Files and tables are appended to or replaced.
pub(super) fn supports_updates(sink: &Sink) -> bool {
    match sink {
        Sink::Kafka(_) | Sink::Merge(_) | Sink::Console(_) => true,
        Sink::Jdbc(jdbc) => jdbc.mode == JdbcMode::Upsert,
        Sink::Files(_) | Sink::Table(_) => false,
    }
}

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
    let mode_at = subject.at(&path(&["outputMode"]));
    let explicit = subject.root.find(path(&["outputMode"])).is_some();
    match (mode, query.aggregation()) {
        (OutputMode::Append, Some(_)) => {
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
            let help = format!("{help}{update}");
            let diagnostic = Diagnostic::new(Code::APPEND_WITHOUT_WATERMARK, message).at(at, what);
            let why = "so Spark would refuse this at start-up";
            let diagnostic = if explicit {
                diagnostic.at(mode_at, why)
            } else {
                diagnostic
                    .at(subject.key(&STREAM), "`append` is the default: Spark would refuse this at start-up")
            };
            subject.report(diagnostic.help(help));
        }
        (OutputMode::Complete, None) if query.lateral_aggregate().is_none() => {
            subject.problem(
                Code::COMPLETE_WITHOUT_AGGREGATE,
                "`complete` output needs an aggregate",
                mode_at,
                "nothing is aggregated",
                "use `outputMode: append`: all rows ever seen can't be kept",
            );
        }
        (OutputMode::Complete, Some(_)) if query.has_watermark() => {
            let at = subject.key(&path(&["watermark"]));
            subject.problem(
                Code::WATERMARK_IGNORED,
                "`complete` output keeps all groups forever, and ignores the watermark",
                at,
                "without effect",
                if supports_updates(&query.stream.sink) {
                    "remove it, or use `outputMode: update`"
                } else {
                    "remove it"
                },
            );
        }
        (OutputMode::Update, None) if query.lateral_aggregate().is_some() => {
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
        (OutputMode::Update, Some(_)) => {
            let Some((at, what)) = query.unbounded_groups() else { return };
            let at = subject.sql_at(&at);
            let help = if query.has_watermark() {
                "group by a window over the column with the watermark"
            } else {
                "add a `watermark`, and group by a window over its column"
            };
            subject.problem(
                Code::UNBOUNDED_STATE,
                "the groups of this query are kept forever",
                at,
                what,
                help,
            );
        }
        _ => {}
    }
}

/// Returns whether a sink supports changed rows. Files and tables are appended to or replaced.
pub(super) fn supports_updates(sink: &Sink) -> bool {
    match sink {
        Sink::Kafka(_) | Sink::Merge(_) | Sink::Console(_) => true,
        Sink::Jdbc(jdbc) => jdbc.mode == JdbcMode::Upsert,
        Sink::Files(_) | Sink::Table(_) => false,
    }
}

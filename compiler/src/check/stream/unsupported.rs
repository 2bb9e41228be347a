//! Reports operations that Spark supports on tables and not on streams.

use std::collections::BTreeMap;
use std::ops::Range;

use dcp_model::manifest::OutputMode;

use super::pivots;
use super::query::Query;
use crate::check::Subject;
use crate::diag::Code;
use crate::sql::{ClauseKind, SetOperation, WindowKind};

/// A place, a message and a remedy.
type Unsupported = (Range<u32>, &'static str, &'static str);

pub(super) fn check(subject: &mut Subject<'_>, query: &Query<'_>) {
    let found = [
        functions(query),
        aggregates(query),
        clauses(query),
        set_operations(query),
        subqueries(query),
        sessions(query),
    ];
    for (at, message, help) in found.into_iter().flatten() {
        let at = subject.sql_at(&at);
        subject.problem(Code::NOT_STREAMABLE, message, at, "not on a stream", help);
    }
}

fn functions(query: &Query<'_>) -> Vec<Unsupported> {
    let shape = query.shape;
    let over = shape.over.iter().filter(|over| query.runs_on_stream(&over.at)).map(|over| {
        let message = "analytic functions need all rows, and a stream never has them";
        (over.at.clone(), message, "group by `window(<time>, …)` instead of `OVER`")
    });
    let is_distinct = |text: &str| text.split_once('(').is_some_and(|(_, of)| of.starts_with("distinct "));
    let distinct =
        shape.aggregates.iter().filter(|call| is_distinct(&call.text) && query.runs_on_stream(&call.at));
    let distinct = distinct.map(|call| {
        let message = "an aggregate of distinct values would have to remember them all";
        let help = if call.text.starts_with("count(") {
            "use `approx_count_distinct(…)`"
        } else {
            "leave out `DISTINCT`, or group by the values first and aggregate in a batch job"
        };
        (call.at.clone(), message, help)
    });
    over.chain(distinct).collect()
}

/// Reports queries that have more than one aggregate in Spark.
fn aggregates(query: &Query<'_>) -> Vec<Unsupported> {
    let mode = query.stream.output_mode;
    let mut found = Vec::new();
    if mode != OutputMode::Append {
        let help = "use `outputMode: append`, with a watermark";
        if let Some(pivot) = pivots::with_two_aggregates(query) {
            let message = "Spark computes this `PIVOT` by two aggregates, which need `append` output";
            found.push((pivot.at.clone(), message, help));
        } else if let (true, Some((at, _))) = (query.shape.nested_aggregation, query.aggregation()) {
            found.push((at, "an aggregate over an aggregate needs `append` output", help));
        }
    }
    if mode != OutputMode::Update
        && let Some(at) = query.lateral_aggregate()
    {
        let message = "an aggregate in a `LATERAL` subquery is kept without end, and needs `update` output";
        let help = "aggregate an array by a function such as `aggregate` or `array_max`, or join explicitly";
        found.push((at, message, help));
    }
    found
}

fn clauses(query: &Query<'_>) -> Vec<Unsupported> {
    let shape = query.shape;
    let mode = query.stream.output_mode;
    let mut found = Vec::new();
    let order = shape.order_by.iter().filter(|at| query.runs_on_stream(at));
    if !(mode == OutputMode::Complete && query.aggregation().is_some()) {
        let message = "a stream can't be sorted, except an aggregate with `complete` output";
        let help = "leave out `ORDER BY`: who reads the result sorts it";
        found.extend(order.map(|at| (at.clone(), message, help)));
    }
    if mode == OutputMode::Update {
        let limit = shape.limit.iter().filter(|at| query.runs_on_stream(at));
        found
            .extend(limit.map(|at| (at.clone(), "`LIMIT` does not go with `update` output", "leave it out")));
    }
    for clause in &shape.clauses {
        let at = &clause.at;
        // In a join, `TABLESAMPLE` applies to the table before it.
        let of_stream = || {
            let inside = |relation: &usize| at.contains(&shape.relations[*relation].at.start);
            (0..shape.relations.len()).filter(inside).any(|relation| query.is_streaming(relation))
        };
        let (message, help) = match clause.kind {
            ClauseKind::Offset if query.runs_on_stream(at) => {
                ("a stream has no first rows to leave out", "leave out `OFFSET`, or select by a column")
            }
            ClauseKind::Sample if of_stream() => {
                ("a stream can't be sampled by `TABLESAMPLE`", "select by a column: `WHERE rand() < 0.1`")
            }
            ClauseKind::SampleRows if mode == OutputMode::Update && of_stream() => {
                ("`TABLESAMPLE (… ROWS)` is a limit, which does not go with `update` output", "leave it out")
            }
            _ => continue,
        };
        found.push((at.clone(), message, help));
    }
    found
}

fn set_operations(query: &Query<'_>) -> Vec<Unsupported> {
    let all = query.shape.set_operations.iter();
    all.filter_map(|operation| {
        let (message, help) = set_operation(query, operation)?;
        Some((operation.at.clone(), message, help))
    })
    .collect()
}

fn set_operation(query: &Query<'_>, operation: &SetOperation) -> Option<(&'static str, &'static str)> {
    let (of_left, of_right) = (operation.left.as_ref()?, operation.right.as_ref()?);
    let (left, right) = (query.any_streaming(of_left), query.any_streaming(of_right));
    match operation.text.split(' ').next()? {
        _ if !left && !right => None,
        "intersect" => {
            Some(("a stream can't be intersected", "join the two sides by `LEFT SEMI JOIN` instead"))
        }
        "except" if right => Some((
            "rows that are missing from a stream may still arrive",
            "leave the stream on the left of `EXCEPT`, or join the two sides instead",
        )),
        "except" => match query.stream.output_mode {
            OutputMode::Update => None,
            OutputMode::Append if query.is_distinct_by_time() => None,
            _ => Some((
                "`EXCEPT` removes duplicates as well, which needs `update` output, or a time among the columns",
                "use `LEFT ANTI JOIN` with the table, which keeps no state",
            )),
        },
        _ if query.none_streaming(of_right) || query.none_streaming(of_left) => Some((
            "a stream can't be united with a table",
            "read the table as a stream too, by `{name: …, stream: true}`, or unite them where they are read",
        )),
        _ => None,
    }
}

fn subqueries(query: &Query<'_>) -> Vec<Unsupported> {
    let streaming = query.shape.subqueries.iter().filter(|level| query.any_streaming(&level.relations));
    let laterals = query.shape.laterals.iter().filter_map(|lateral| {
        let inside = query.shape.relations_at(&lateral.at)?;
        query.any_streaming(inside).then_some(lateral)
    });
    streaming
        .chain(laterals)
        .map(|level| {
            let end = level.at.end.min(level.at.start + 12);
            let message = "a subquery in an expression needs all rows, and a stream never has them";
            (
                level.at.start..end,
                message,
                "join the stream instead: `IN` and `EXISTS` are a `LEFT SEMI JOIN`",
            )
        })
        .collect()
}

fn sessions(query: &Query<'_>) -> Vec<Unsupported> {
    let shape = query.shape;
    let sessions =
        shape.windows.iter().filter(|it| it.kind == WindowKind::Session && query.runs_on_stream(&it.at));
    if query.stream.output_mode == OutputMode::Update {
        let message = "session windows don't go with `update` output";
        let help = "use `outputMode: append`, with a watermark";
        return sessions.map(|window| (window.at.clone(), message, help)).collect();
    }
    // The grouping queries, with the place of the session window if they group by nothing else.
    let mut levels: BTreeMap<Option<(u32, u32)>, Option<Range<u32>>> = BTreeMap::new();
    for group in shape.group_by.iter().filter(|group| query.runs_on_stream(&group.at)) {
        let level = shape.level_at(&group.at).map(|level| (level.at.start, level.at.end));
        let is_literal = group.text.starts_with(|c: char| c == '\'' || c.is_ascii_digit());
        if group.text.starts_with("session_window(") {
            levels.entry(level).or_insert_with(|| Some(group.at.clone()));
        } else if !is_literal {
            levels.insert(level, None);
        }
    }
    let message = "sessions are those of something: a session window can't be all that is grouped by";
    let help = "group by a column beside it, such as a user's id";
    levels.into_values().flatten().map(|at| (at, message, help)).collect()
}

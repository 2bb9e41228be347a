//! Joins of streams with each other, and with tables.

use super::Query;
use crate::check::Subject;
use crate::diag::{Code, Diagnostic};
use crate::model::OutputMode;
use crate::sql::{Join, JoinKind};

pub(super) fn check(subject: &mut Subject<'_>, query: &Query<'_>) {
    for join in &query.shape.joins {
        match (query.any_streaming(&join.left), query.any_streaming(&join.right)) {
            (true, true) => two_streams(subject, query, join),
            (true, false) => with_table(subject, join, Side::Left),
            (false, true) => with_table(subject, join, Side::Right),
            (false, false) => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

/// A row of the table that has no partner yet may get one as long as the stream goes on.
fn with_table(subject: &mut Subject<'_>, join: &Join, stream: Side) {
    let waits = match join.kind {
        JoinKind::Left | JoinKind::Semi | JoinKind::Anti => stream == Side::Right,
        JoinKind::Right => stream == Side::Left,
        JoinKind::Full => true,
        JoinKind::Inner | JoinKind::Cross => false,
    };
    if waits {
        let at = subject.sql_at(&join.at);
        let help = "keep the rows of the stream's side, or make it an inner join";
        subject.problem(
            Code::OUTER_JOIN_STATIC,
            "this join keeps rows of the table that the stream has no partner for",
            at,
            "the stream never ends, so this is never known",
            help,
        );
    }
}

fn two_streams(subject: &mut Subject<'_>, query: &Query<'_>, join: &Join) {
    let at = subject.sql_at(&join.at);
    let mode = query.stream.output_mode;
    if mode != OutputMode::Append {
        let message = format!("a join of two streams does not go with `{}` output", mode.name());
        subject.problem(Code::NOT_STREAMABLE, message, at, "not on a stream", "use `outputMode: append`");
    }
    let watermarked = |side: &[usize]| side.iter().any(|relation| query.watermark_of(*relation).is_some());
    let time_range = join.has_time_range || joins_on_event_time(query, join);
    let (side, waits_for) = match join.kind {
        JoinKind::Anti => {
            subject.problem(
                Code::NOT_STREAMABLE,
                "rows without a partner can't be told from rows whose partner is late",
                at,
                "not on two streams",
                "make it a left join, and keep the rows whose right side is null",
            );
            return;
        }
        JoinKind::Left | JoinKind::Semi => ("right", watermarked(&join.right)),
        JoinKind::Right => ("left", watermarked(&join.left)),
        JoinKind::Full => ("left and the right", watermarked(&join.left) && watermarked(&join.right)),
        JoinKind::Inner | JoinKind::Cross => {
            if !(watermarked(&join.left) && watermarked(&join.right) && time_range) {
                let message = "all events of both streams are kept forever, in case a partner comes";
                let help = "add a `watermark` for both, and a time range to the condition: `b.ts BETWEEN a.ts AND a.ts + INTERVAL 1 HOUR`";
                subject.problem(Code::UNBOUNDED_STATE, message, at, "joins two streams", help);
            }
            return;
        }
    };
    if waits_for && time_range {
        return;
    }
    let missing = match (waits_for, time_range) {
        (false, true) => format!("the {side} side has no watermark"),
        (true, false) => "the condition has no time range".to_owned(),
        _ => format!("the {side} side has no watermark, and the condition no time range"),
    };
    let diagnostic = Diagnostic::new(Code::OUTER_JOIN_UNBOUNDED, "an outer join of two streams must know when to stop waiting")
        .at(at, missing)
        .help("add the `watermark`, and a time range to the condition: `b.ts BETWEEN a.ts AND a.ts + INTERVAL 1 HOUR`");
    subject.report(diagnostic);
}

/// An equality of the columns with the watermarks is a time range as well.
fn joins_on_event_time(query: &Query<'_>, join: &Join) -> bool {
    let columns: Vec<&str> =
        join.left.iter().chain(&join.right).filter_map(|relation| query.watermark_of(*relation)).collect();
    let is_time = |key: &str| {
        let name = key.rsplit('.').next().unwrap_or(key);
        columns.iter().any(|column| column.eq_ignore_ascii_case(name)) || key.contains("window")
    };
    join.equi_keys.iter().any(|(left, right)| is_time(left) && is_time(right))
}

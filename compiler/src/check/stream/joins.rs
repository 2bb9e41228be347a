//! Checks of joins between streams, and between streams and tables.

use dcp_model::manifest::OutputMode;

use super::query::Query;
use crate::check::Subject;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use crate::sql::{Bound, Join, JoinKind, Operand, Side};

const RANGE: &str = "a time range in the condition: `b.ts BETWEEN a.ts AND a.ts + INTERVAL 1 HOUR`";

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

/// Reports joins that wait for matches of the table's rows. A row without a match may get one for as long as the
/// stream runs.
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
    if join.kind == JoinKind::Anti {
        let message = "rows without a partner look like rows whose partner is late";
        let help = "make it a left join, and keep the rows whose right side is null";
        return subject.problem(Code::NOT_STREAMABLE, message, at, "not on two streams", help);
    }
    if join.kind == JoinKind::Cross {
        let message = "two streams can't be joined by `CROSS JOIN`, whatever the condition says";
        let help = "write `JOIN … ON a.id = b.id`, with a column that is equal on both sides";
        return subject.problem(Code::NOT_STREAMABLE, message, at, "not on two streams", help);
    }
    output_mode(subject, query, join, at);
    if !has_equality(query, join) {
        let message = "a join of two streams needs a column that is equal on both sides";
        let help = "add an equality to the condition: `a.id = b.id`";
        return subject.problem(Code::NOT_STREAMABLE, message, at, "has no equality", help);
    }
    let expiry = RowExpiry { query, join };
    // One of these sides must be bounded, so that rows of the other side are known to have no match.
    let (needed, name) = match join.kind {
        JoinKind::Left | JoinKind::Semi => ([Side::Right].as_slice(), "right"),
        JoinKind::Right => ([Side::Left].as_slice(), "left"),
        JoinKind::Full => ([Side::Left, Side::Right].as_slice(), "left or the right"),
        JoinKind::Inner | JoinKind::Cross | JoinKind::Anti => ([].as_slice(), ""),
    };
    let is_known = needed.is_empty() || needed.iter().any(|side| expiry.is_reached(*side));
    if is_known {
        return state(subject, &expiry, at);
    }
    let is_watermarked = needed.iter().any(|side| expiry.is_watermarked(*side));
    subject.report(unbounded(join, at, name, is_watermarked));
}

/// Describes an outer join that waits forever. `name` names the sides of which one must be bounded.
fn unbounded(join: &Join, at: Span, name: &str, is_watermarked: bool) -> Diagnostic {
    let missing = match (is_watermarked, join.bounds.is_empty()) {
        (false, false) => format!("the {name} side has no watermark"),
        (true, true) if compares(join) => "the condition has no time range that Spark follows".to_owned(),
        (true, true) => "the condition has no time range".to_owned(),
        (true, false) => {
            format!("the condition does not say until when, by its watermark, the {name} side may come")
        }
        (false, true) => format!("the {name} side has no watermark, and the condition no time range"),
    };
    let help = if is_watermarked && compares(join) {
        format!("compare the columns themselves, give or take some days or less; that is, write {RANGE}")
    } else {
        format!("add the `watermark`, and {RANGE}")
    };
    let message = "an outer join of two streams must know when to stop waiting";
    Diagnostic::new(Code::OUTER_JOIN_UNBOUNDED, message).at(at, missing).help(help)
}

/// Checks the output mode. Since version 4.3, Spark supports `update` mode for joins that don't wait for matches.
fn output_mode(subject: &mut Subject<'_>, query: &Query<'_>, join: &Join, at: Span) {
    let mode = query.stream.output_mode;
    let waits = !matches!(join.kind, JoinKind::Inner | JoinKind::Cross | JoinKind::Semi);
    // The version of Spark in a custom engine is unknown, so it is not reported.
    let is_new = subject.manifest.spec.engine.version.spark().is_none_or(|version| version >= (4, 3));
    match mode {
        OutputMode::Append => return,
        OutputMode::Update if !waits && is_new => return,
        OutputMode::Update | OutputMode::Complete => {}
    }
    let message = format!("a join of two streams does not go with `{}` output", mode.name());
    subject.problem(Code::NOT_STREAMABLE, message, at, "not on a stream", "use `outputMode: append`");
}

/// Reports state that is never dropped, in joins that Spark accepts.
fn state(subject: &mut Subject<'_>, expiry: &RowExpiry<'_, '_>, at: Span) {
    let kept = match (expiry.is_dropped(Side::Left), expiry.is_dropped(Side::Right)) {
        (true, true) => return,
        (false, false) => "all events of both streams are kept forever, in case a partner comes",
        (false, true) => "the events of the left side are kept forever, in case a partner comes",
        (true, false) => "the events of the right side are kept forever, in case a partner comes",
    };
    let help = format!("add a `watermark` for both, and {RANGE}");
    let waits = match expiry.join.kind {
        JoinKind::Left => !expiry.is_dropped(Side::Left),
        JoinKind::Right => !expiry.is_dropped(Side::Right),
        JoinKind::Full => true,
        JoinKind::Inner | JoinKind::Cross | JoinKind::Semi | JoinKind::Anti => false,
    };
    let label = if waits { "rows without a partner never come out" } else { "joins two streams" };
    subject.problem(Code::UNBOUNDED_STATE, kept, at, label, help);
}

/// Returns whether a join has an equality. Spark may move outer conditions into an inner join.
fn has_equality(query: &Query<'_>, join: &Join) -> bool {
    !join.equi_keys.is_empty()
        || join.on == "natural"
        || (join.kind == JoinKind::Inner && query.shape.filters.iter().any(|filter| filter.contains('=')))
}

/// Returns whether the condition has a comparison other than equality.
fn compares(join: &Join) -> bool {
    let on = &join.on;
    on.contains(" between ") || on.replace("<=>", "").contains(['<', '>'])
}

/// The event times at which rows of a join's sides expire, as Spark derives them.
struct RowExpiry<'q, 'a> {
    query: &'q Query<'a>,
    join: &'q Join,
}

impl RowExpiry<'_, '_> {
    fn relations(&self, side: Side) -> &[usize] {
        match side {
            Side::Left => &self.join.left,
            Side::Right => &self.join.right,
        }
    }

    fn is_watermarked(&self, side: Side) -> bool {
        self.relations(side).iter().any(|relation| self.query.watermark_of(*relation).is_some())
    }

    /// Returns whether the join has an equality with a column that has a watermark. It bounds both sides.
    fn joins_on_time(&self) -> bool {
        self.join
            .equi_keys
            .iter()
            .any(|(left, right)| self.query.is_event_time(left) || self.query.is_event_time(right))
    }

    /// Returns whether there is a time after which a row of the other side gets no more matches from this side.
    fn is_reached(&self, side: Side) -> bool {
        self.joins_on_time() || self.join.bounds.iter().any(|bound| self.bounds(bound, side))
    }

    /// Returns whether a bound limits the watermark column of this side by the other side.
    fn bounds(&self, bound: &Bound, side: Side) -> bool {
        let may_be = |operand: &Operand, side| operand.side.is_none_or(|known| known == side);
        let other = match side {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        };
        may_be(&bound.lesser, side)
            && may_be(&bound.greater, other)
            && self.is_watermarked(side)
            && self.is_watermark(&bound.lesser)
    }

    fn is_watermark(&self, operand: &Operand) -> bool {
        match operand.relation {
            Some(relation) => self
                .query
                .watermark_of(relation)
                .is_some_and(|column| column.eq_ignore_ascii_case(&operand.column)),
            None => self.query.is_event_time(&operand.column),
        }
    }

    /// Returns whether the state of a side is ever dropped, because the other side passes the rows that could match.
    fn is_dropped(&self, side: Side) -> bool {
        let other = match side {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        };
        self.joins_on_time() || (self.is_watermarked(side) && self.is_reached(other))
    }
}

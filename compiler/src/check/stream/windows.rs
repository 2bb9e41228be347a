//! Checks that a query has a single time window.

use std::collections::BTreeMap;

use super::query::Query;
use crate::check::Subject;
use crate::diag::Code;
use crate::sql::{EventWindow, WindowKind};

/// Reports a second window. Spark would have to assign each row to every pair of windows, and rejects this on tables
/// too.
pub(super) fn check(subject: &mut Subject<'_>, query: &Query<'_>) {
    let mut first: BTreeMap<(u32, u32), Window<'_>> = BTreeMap::new();
    for window in &query.shape.windows {
        let Some(level) = level(query, window) else { continue };
        let Some(known) = Window::of(window) else { continue };
        if *first.entry(level).or_insert_with(|| known.clone()) == known {
            continue;
        }
        let at = subject.sql_at(&window.at);
        let message = "a query has one window of time, and this is a second one";
        let help = "give the first one a query of its own, and make the second one of its windows, in the query \
             around it: `window(w, '1 hour')`";
        subject.problem(Code::NOT_STREAMABLE, message, at, "another window than before", help);
    }
}

/// Returns the query that certainly computes a window.
fn level(query: &Query<'_>, window: &EventWindow) -> Option<(u32, u32)> {
    let shape = query.shape;
    let place = |at| shape.level_at(at).map(|level| (level.at.start, level.at.end));
    let level = place(&window.at)?;
    // Conditions may have their own windows, and so may each query of a set operation.
    let in_condition = shape.filters.iter().any(|filter| filter.contains(&window.text));
    let united = shape.set_operations.iter().any(|operation| place(&operation.at) == Some(level));
    (!in_condition && !united).then_some(level)
}

/// A window, independent of its notation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window<'a> {
    session: bool,
    column: &'a str,
    /// Length, slide and start, in microseconds.
    times: [u64; 3],
}

impl<'a> Window<'a> {
    /// Returns `None` if the times of the window are not literals.
    fn of(window: &'a EventWindow) -> Option<Self> {
        let EventWindow { kind, column, text, .. } = window;
        let (_, times) = text.strip_suffix(')')?.split_once(column.as_str())?;
        let times: Option<Vec<u64>> = times.split(',').skip(1).map(microseconds).collect();
        let (length, rest) = times.as_deref()?.split_first()?;
        let slide = rest.first().unwrap_or(length);
        let start = rest.get(1).unwrap_or(&0);
        // The qualifier of a column is irrelevant.
        let plain = !column.contains('(');
        let column = column.rsplit('.').next().filter(|_| plain).unwrap_or(column);
        Some(Self { session: *kind == WindowKind::Session, column, times: [*length, *slide, *start] })
    }
}

/// Parses a literal such as `'1 hour 30 minutes'`.
fn microseconds(literal: &str) -> Option<u64> {
    let inside = literal.trim().strip_prefix('\'')?.strip_suffix('\'')?.to_lowercase();
    let words: Vec<&str> = inside.split_whitespace().skip_while(|word| *word == "interval").collect();
    let pairs = words.chunks(2).map(|pair| {
        let [number, unit] = pair else { return None };
        let unit: u64 = match unit.strip_suffix('s').unwrap_or(unit) {
            "microsecond" => 1,
            "millisecond" => 1_000,
            "second" => 1_000_000,
            "minute" => 60_000_000,
            "hour" => 3_600_000_000,
            "day" => 86_400_000_000,
            "week" => 604_800_000_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit)
    });
    pairs.collect::<Option<Vec<u64>>>()?.into_iter().try_fold(0_u64, u64::checked_add)
}

#[cfg(test)]
mod tests {
    use super::microseconds;

    #[test]
    fn equal_durations_have_equal_microseconds() {
        assert_eq!(microseconds("'5 minutes'"), microseconds(" 'INTERVAL 300 seconds'"));
        assert_eq!(microseconds("'1 hour 30 minutes'"), microseconds("'90 minute'"));
        for unknown in
            ["x", "'5'", "'5 months'", "interval '5' minute", "'99999999999999 weeks'", "'-5 minutes'"]
        {
            assert_eq!(microseconds(unknown), None, "{unknown}");
        }
    }
}

//! Finds pivots that Spark computes with two aggregates.

use super::columns;
use super::query::Query;
use crate::sql::Pivot;

/// The result types of aggregates for which Spark computes a `PIVOT` with two aggregates.
const TYPES: [&str; 13] = [
    "bigint", "boolean", "byte", "decimal", "double", "float", "int", "integer", "long", "real", "short",
    "smallint", "tinyint",
];

/// Returns the first pivot that Spark computes with two consecutive aggregates. This is the case if each aggregate
/// returns a number or a boolean.
pub(super) fn with_two_aggregates<'a>(query: &Query<'a>) -> Option<&'a Pivot> {
    let is_numeric_call = |call: &(String, Option<String>)| is_numeric(query, &call.0, call.1.as_deref());
    query
        .shape
        .pivots
        .iter()
        .find(|pivot| query.runs_on_stream(&pivot.at) && pivot.calls.iter().all(is_numeric_call))
}

/// Returns whether a call certainly returns a number or a boolean.
fn is_numeric(query: &Query<'_>, function: &str, column: Option<&str>) -> bool {
    let types = column.map(|name| types_of(query, name)).unwrap_or_default();
    match function {
        "count" | "count_if" | "approx_count_distinct" => true,
        "sum" | "try_sum" | "avg" | "try_avg" | "mean" => !types.iter().any(|it| it.starts_with("interval")),
        "max" | "min" | "first" | "last" | "any_value" => {
            let known = |kind: &String| TYPES.iter().any(|it| kind.starts_with(it));
            !types.is_empty() && types.iter().all(known)
        }
        _ => false,
    }
}

/// Returns the types, in lower case, that the sources declare for a column.
fn types_of(query: &Query<'_>, column: &str) -> Vec<String> {
    let sources = query.sources.iter().flatten().filter_map(|(_, source)| columns::of_source(source));
    sources.filter_map(|known| known.data_type(column).map(str::to_lowercase)).collect()
}

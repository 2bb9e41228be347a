//! Pivots that are two aggregates to Spark.

use super::columns;
use super::query::Query;
use crate::sql::Pivot;

/// The types of aggregates for which Spark computes a `PIVOT` by two aggregates.
const TYPES: [&str; 13] = [
    "bigint", "boolean", "byte", "decimal", "double", "float", "int", "integer", "long", "real", "short",
    "smallint", "tinyint",
];

/// The first pivot that Spark computes by two aggregates, one after the other: it does so if each aggregate gives a number
/// or a boolean.
pub(super) fn double<'a>(query: &Query<'a>) -> Option<&'a Pivot> {
    let twice = |call: &(String, Option<String>)| is_numeric(query, &call.0, call.1.as_deref());
    query.shape.pivots.iter().find(|pivot| query.streams(&pivot.at) && pivot.calls.iter().all(twice))
}

/// Whether a call certainly gives a number or a boolean.
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

/// The types that the sources declare for columns of a name, lower-cased.
fn types_of(query: &Query<'_>, column: &str) -> Vec<String> {
    let sources = query.sources.iter().flatten().filter_map(|(_, source)| columns::of(source));
    sources.filter_map(|known| known.data_type(column).map(str::to_lowercase)).collect()
}

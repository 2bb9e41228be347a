//! Tables of Spark's functions.

/// Spark's aggregate functions, sorted.
const AGGREGATES: &[&str] = &[
    "any",
    "any_value",
    "approx_count_distinct",
    "approx_percentile",
    "approx_top_k",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bitmap_and_agg",
    "bitmap_construct_agg",
    "bitmap_or_agg",
    "bool_and",
    "bool_or",
    "collect_list",
    "collect_set",
    "corr",
    "count",
    "count_if",
    "count_min_sketch",
    "covar_pop",
    "covar_samp",
    "every",
    "first",
    "first_value",
    "grouping",
    "grouping_id",
    "histogram_numeric",
    "hll_sketch_agg",
    "hll_union_agg",
    "kurtosis",
    "last",
    "last_value",
    "listagg",
    "max",
    "max_by",
    "mean",
    "median",
    "min",
    "min_by",
    "mode",
    "percentile",
    "percentile_approx",
    "percentile_cont",
    "percentile_disc",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "schema_of_variant_agg",
    "skewness",
    "some",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "theta_intersection_agg",
    "theta_sketch_agg",
    "theta_union_agg",
    "try_avg",
    "try_sum",
    "var_pop",
    "var_samp",
    "variance",
];

/// Functions whose first argument is a unit of time, which looks like a column. Sorted.
const UNIT_FIRST: &[&str] =
    &["date_add", "date_diff", "dateadd", "datediff", "timestampadd", "timestampdiff"];

/// Functions that are called without parentheses, and look like columns. Sorted.
const WITHOUT_PARENTHESES: &[&str] = &[
    "current_catalog",
    "current_database",
    "current_date",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "grouping__id",
    "localtimestamp",
    "session_user",
    "user",
];

pub(super) fn is_aggregate(lower: &str) -> bool {
    AGGREGATES.binary_search(&lower).is_ok()
}

pub(super) fn takes_unit_first(lower: &str) -> bool {
    UNIT_FIRST.binary_search(&lower).is_ok()
}

pub(super) fn needs_no_parentheses(lower: &str) -> bool {
    WITHOUT_PARENTHESES.binary_search(&lower).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_for_the_binary_search() {
        for table in [AGGREGATES, UNIT_FIRST, WITHOUT_PARENTHESES] {
            assert!(table.is_sorted());
        }
    }

    #[test]
    fn aggregates_are_distinguished_from_other_functions() {
        assert!(is_aggregate("count") && is_aggregate("regr_r2") && is_aggregate("any"));
        assert!(!is_aggregate("upper") && !is_aggregate("COUNT"));
    }
}

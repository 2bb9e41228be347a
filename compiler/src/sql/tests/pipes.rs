//! Pipe operators.

use super::{known, shape, slice, texts};
use crate::sql::ClauseKind;

#[test]
fn aggregate_after_a_pipe_has_its_own_level() {
    let sql = "FROM t |> WHERE v > 1 |> AGGREGATE sum(v) AS n GROUP BY window(ts, '1 minute') AS w, k |> WHERE n > 1";
    let shape = shape(sql);
    assert_eq!(texts(&shape.group_by), ["window(ts, '1 minute')", "k"]);
    assert_eq!(texts(&shape.aggregates), ["sum(v)"]);
    assert_eq!(shape.filters, ["v > 1", "n > 1"]);
    let columns: Vec<_> = shape.columns.iter().map(|it| it.name.as_deref()).collect();
    assert_eq!(columns, [Some("w"), Some("k"), Some("n")]);
    let level = shape.level_at(&shape.group_by[0].at).expect("a level is around it");
    assert!(slice(sql, &level.at).starts_with("|> AGGREGATE") && level.relations == [0]);
    assert!(!shape.nested_aggregation && shape.piped);
}

#[test]
fn aggregate_of_an_aggregate_after_pipes_is_nested() {
    assert!(shape("FROM t |> AGGREGATE sum(v) AS n GROUP BY k |> AGGREGATE max(n)").nested_aggregation);
    assert!(shape("SELECT k, sum(v) AS n FROM t GROUP BY k |> AGGREGATE max(n)").nested_aggregation);
}

#[test]
fn joins_and_unions_after_pipes_read_their_tables() {
    let sql = "FROM a |> AS x |> LEFT JOIN b ON x.k = b.k AND b.t <= x.t |> UNION ALL (SELECT * FROM c)";
    let facts = known(sql);
    let reads: Vec<&str> = facts.reads.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(reads, ["a", "b", "c"]);
    let shape = shape(sql);
    assert_eq!(shape.joins[0].equi_keys, [("x.k".to_owned(), "b.k".to_owned())]);
    assert_eq!((&shape.joins[0].left[..], &shape.joins[0].right[..]), (&[0][..], &[1][..]));
    assert_eq!(shape.set_operations[0].text, "union all");
    assert_eq!(shape.set_operations[0].left, Some(vec![0, 1]));
}

#[test]
fn pipes_of_a_subquery_belong_to_it() {
    let sql = "SELECT * FROM (FROM t |> AGGREGATE count(*) AS n GROUP BY ts) |> LIMIT 3 OFFSET 1";
    let shape = shape(sql);
    let level = shape.level_at(&shape.group_by[0].at).expect("a level is around it");
    assert_eq!(slice(sql, &level.at), "|> AGGREGATE count(*) AS n GROUP BY ts");
    assert_eq!(shape.limit.as_ref().map(|at| slice(sql, at)), Some("3"));
    assert!(shape.clauses.iter().any(|clause| clause.kind == ClauseKind::Offset));
}

#[test]
fn pivot_has_its_place_and_the_columns_that_it_uses() {
    let sql = "SELECT * FROM (SELECT k, v, window(ts, '1 minute') AS w FROM t) PIVOT (sum(v) FOR k IN ('a'))";
    let pivot = &shape(sql).pivots[0];
    assert_eq!(slice(sql, &pivot.at), "PIVOT");
    assert_eq!(pivot.calls, [("sum".to_owned(), Some("v".to_owned()))]);
    assert_eq!(pivot.input, ["k", "v", "w"]);
    assert!(pivot.used.contains(&"k".to_owned()) && pivot.used.contains(&"v".to_owned()));
}

#[test]
fn distinct_after_a_pipe_is_distinct() {
    let sql = "FROM t |> WHERE a |> SELECT DISTINCT a, b |> WHERE b";
    let shape = shape(sql);
    assert_eq!(
        shape.distinct.map(|at| slice(sql, &at).to_owned()).as_deref(),
        Some("|> SELECT DISTINCT a, b ")
    );
    let columns: Vec<_> = shape.columns.iter().map(|it| it.name.as_deref()).collect();
    assert_eq!(columns, [Some("a"), Some("b")]);
}

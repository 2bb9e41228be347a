//! Facts that matter for streams only.

use super::{shape, slice};
use crate::sql::{ClauseKind, Operand, Side};

/// All cases were tested with Spark 4.1: it rejects outer joins with the conditions that have no bound here.
#[test]
fn bounds_are_those_that_spark_derives() {
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("b.t <= a.t", &[("b.t", "a.t")]),
        ("a.t >= b.t", &[("b.t", "a.t")]),
        ("b.t - INTERVAL 1 HOUR < a.t", &[("b.t", "a.t")]),
        ("b.t < INTERVAL '1 hour 30 minutes' + a.t", &[("b.t", "a.t")]),
        ("b.t < a.t - INTERVAL -1 HOUR", &[("b.t", "a.t")]),
        ("b.t BETWEEN a.t AND a.t + INTERVAL 1 HOUR", &[("a.t", "b.t"), ("b.t", "a.t")]),
        ("CAST(b.t AS BIGINT) < bigint(a.t) + 3600", &[("b.t", "a.t")]),
        ("t < a.u", &[("?.t", "a.u")]),
        ("b.t - a.t < INTERVAL 1 HOUR", &[]),
        ("b.t < a.t + INTERVAL 1 MONTH", &[]),
        ("b.t < a.t + 2 * INTERVAL 1 HOUR", &[]),
        ("b.t < timestampadd(HOUR, 1, a.t)", &[]),
        ("CAST(b.t AS DATE) <= CAST(a.t AS DATE)", &[]),
        ("unix_timestamp(b.t) < unix_timestamp(a.t) + 3600", &[]),
        ("NOT b.t > a.t", &[]),
        ("b.t NOT BETWEEN a.t AND a.u", &[]),
        ("(b.t <= a.t OR b.k = 1)", &[]),
    ];
    for (condition, expected) in cases {
        let shape = shape(&format!("SELECT * FROM a JOIN b ON a.k = b.k AND {condition}"));
        let name = |operand: &Operand| {
            let side = operand.side.map_or("?", |side| if side == Side::Left { "a" } else { "b" });
            format!("{side}.{}", operand.column)
        };
        let found: Vec<(String, String)> =
            shape.joins[0].bounds.iter().map(|bound| (name(&bound.lesser), name(&bound.greater))).collect();
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(found, *expected, "{condition}");
    }
}

#[test]
fn clauses_have_their_kind_and_place() {
    let cases: &[(&str, &[(ClauseKind, &str)])] = &[
        ("SELECT a FROM t LIMIT 3 OFFSET 1", &[(ClauseKind::Offset, "1")]),
        ("SELECT a FROM t TABLESAMPLE (10 PERCENT)", &[(ClauseKind::Sample, "t TABLESAMPLE (10 PERCENT)")]),
        ("SELECT a FROM t TABLESAMPLE (5 ROWS) x", &[(ClauseKind::SampleRows, "t TABLESAMPLE (5 ROWS)")]),
        (
            "SELECT a FROM t TABLESAMPLE (BUCKET 1 OUT OF 4)",
            &[(ClauseKind::Sample, "t TABLESAMPLE (BUCKET 1 OUT OF 4)")],
        ),
        ("SELECT explode(a) FROM t", &[(ClauseKind::Generator, "explode(a)")]),
        ("SELECT x FROM t LATERAL VIEW explode(a) v AS x", &[(ClauseKind::Generator, "explode(a)")]),
        (
            "SELECT now(), current_date FROM t",
            &[(ClauseKind::CurrentTime, "now()"), (ClauseKind::CurrentTime, "current_date")],
        ),
        ("SELECT unix_timestamp(a), `current_date` FROM t", &[]),
        ("WITH c AS (SELECT 1) SELECT * FROM c", &[(ClauseKind::With, "WITH")]),
        ("SELECT a FROM t DISTRIBUTE BY b", &[(ClauseKind::DistributeBy, "b")]),
    ];
    for (sql, expected) in cases {
        let shape = shape(sql);
        let found: Vec<(ClauseKind, &str)> =
            shape.clauses.iter().map(|clause| (clause.kind, slice(sql, &clause.at))).collect();
        assert_eq!(found, *expected, "{sql}");
    }
}

#[test]
fn joins_begin_with_their_kind_and_end_with_their_condition() {
    let cases = [
        ("a ", "LEFT JOIN b ON a.k = b.k AND b.t < a.t + INTERVAL 1 HOUR", ""),
        ("a ", "FULL OUTER JOIN b ON a.k = b.k", " WHERE a.x"),
        ("a ", "left semi join b using (k)", ""),
        ("a ", "NATURAL JOIN b", ""),
        ("(SELECT left(x, 1) FROM a) a ", "JOIN b ON a.t > b.t - INTERVAL '1' DAY", " WHERE x"),
        ("a ", "JOIN b ON a.t > b.t - INTERVAL -1 HOUR", " LIMIT 1"),
    ];
    for (before, join, after) in cases {
        let sql = format!("SELECT * FROM {before}{join}{after}");
        let found = slice(&sql, &shape(&sql).joins[0].at).to_owned();
        let wanted = join.trim_end_matches(" using (k)");
        assert_eq!(found, wanted, "{sql}");
    }
}

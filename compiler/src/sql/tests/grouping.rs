//! Columns that are neither grouped nor aggregated, and calls.

use super::{known, slice};
use crate::sql::Form;

fn ungrouped(sql: &str) -> Vec<&str> {
    let unsupported_forms = known(sql).unsupported_forms;
    let ungrouped = unsupported_forms.iter().filter(|it| it.form == Form::Ungrouped);
    ungrouped.map(|it| slice(sql, &it.at)).collect()
}

#[test]
fn ungrouped_columns_are_reported() {
    let cases: &[(&str, &[&str])] = &[
        ("SELECT a, sum(b) FROM t GROUP BY c", &["a"]),
        ("SELECT t.a, t.c, sum(b) FROM t GROUP BY t.c", &["t.a"]),
        ("SELECT a + c, sum(b) FROM t GROUP BY c", &["a"]),
        ("SELECT CAST(a AS INT) AS x, count(*) FROM t GROUP BY upper(c)", &["a"]),
        ("SELECT a, sum(b) FROM t", &["a"]),
        ("SELECT a, count(*) FROM t GROUP BY 2", &["a"]),
        ("WITH x AS (SELECT a, max(b) FROM t GROUP BY c) SELECT * FROM x", &["a"]),
        ("SELECT * FROM (SELECT a, max(b) FROM t GROUP BY c)", &["a"]),
        (
            "INSERT INTO u SELECT a, max(b) FROM t GROUP BY c UNION ALL SELECT a, max(b) FROM t GROUP BY a",
            &["a"],
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(ungrouped(sql), *expected, "{sql}");
    }
}

#[test]
fn possibly_grouped_columns_are_not_reported() {
    for sql in [
        "SELECT a, sum(b) FROM t GROUP BY a",
        "SELECT A, sum(b) FROM t GROUP BY t.`a`",
        "SELECT t.a, sum(b) FROM t GROUP BY a",
        "SELECT a.b, sum(c) FROM t GROUP BY a",
        "SELECT a, sum(b) FROM t GROUP BY 1",
        "SELECT a AS x, sum(b) FROM t GROUP BY x",
        "SELECT a AS x, x AS y, sum(b) FROM t GROUP BY y",
        "SELECT a AS x, x + 1, sum(b) FROM t GROUP BY a",
        "SELECT a + 1, sum(b) FROM t GROUP BY a + 1",
        "SELECT window.start, window, sum(b) FROM t GROUP BY window(a, '5 minutes')",
        "SELECT a, sum(b) FROM t GROUP BY ALL",
        "SELECT a, sum(b) FROM t GROUP BY ROLLUP (c)",
        "SELECT a, sum(b) FROM t GROUP BY c WITH CUBE",
        "SELECT a, sum(b) FROM t GROUP BY GROUPING SETS ((c))",
        "SELECT upper(a), sum(b) FROM t GROUP BY c",
        "SELECT current_date, 'x', :p, sum(b) FROM t GROUP BY c",
        "SELECT a, sum(b) OVER (PARTITION BY c) FROM t",
        "SELECT (SELECT a FROM u), sum(b) FROM t GROUP BY c",
        "SELECT (SELECT t.a + max(u.b) FROM u GROUP BY u.c) FROM t",
        "SELECT * FROM t, LATERAL (SELECT t.a, max(u.b) FROM u GROUP BY u.c)",
        "DECLARE a INT; SELECT a, sum(b) FROM t GROUP BY c",
        "CREATE TEMPORARY FUNCTION sum AS 'x'; SELECT a, sum(b) FROM t",
        "SELECT *, sum(b) FROM t GROUP BY c",
        "SELECT IDENTIFIER(:a), sum(b) FROM t GROUP BY c",
        "SELECT a, sum(b) FROM t GROUP BY IDENTIFIER(:a)",
    ] {
        assert!(ungrouped(sql).is_empty(), "{sql}");
    }
}

#[test]
fn undeclared_calls_are_recorded_once() {
    let sql = "CREATE OR REPLACE TEMPORARY FUNCTION IF NOT EXISTS db.mine AS 'x'; \
               SELECT upper(a), Mine(a), db.other(a), UPPER(b), xs[0], transform(xs, x -> late(x)) FROM gen(1) \
               LATERAL VIEW explode(xs) e AS x WHERE IDENTIFIER(:f)(a) AND EXISTS (SELECT inner_(a) FROM t); \
               EXECUTE IMMEDIATE 'SELECT executed(1)'";
    let calls = known(sql).calls;
    let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["upper", "transform", "late", "gen", "explode", "inner_", "executed"]);
    assert_eq!(slice(sql, &calls[0].at), "upper");
    assert_eq!(slice(sql, &calls[6].at), "'SELECT executed(1)'");
    assert!(known("USE tools; SELECT normalize(a) FROM t").calls.is_empty());
    assert_eq!(known("SELECT f(use) FROM t").calls.len(), 1);
}

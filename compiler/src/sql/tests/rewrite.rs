//! Forms that are parsed only after they are rewritten.

use super::{known, slice};
use crate::sql::{Detail, Form, Reading, read};

/// Statements, the tables that they read, and the tables that they write.
const TABLES: &[(&str, &[&str], &[&str])] = &[
    ("CREATE TABLE a USING parquet PARTITIONED BY (b) AS SELECT * FROM c", &["c"], &["a"]),
    ("CREATE OR REPLACE TABLE x.a CLUSTERED BY (b) INTO 4 BUCKETS AS (SELECT * FROM c)", &["c"], &["x.a"]),
    ("CREATE TABLE a (ts timestamp) USING iceberg PARTITIONED BY (days(ts))", &[], &[]),
    ("CREATE TEMPORARY VIEW v USING parquet OPTIONS (path '/x'); SELECT * FROM v", &[], &[]),
    ("CREATE VIEW v TBLPROPERTIES ('a' = 'b') AS SELECT * FROM c", &["c"], &[]),
    ("INSERT INTO a REPLACE WHERE x = 1 SELECT * FROM c", &["c"], &["a"]),
    ("EXPLAIN FORMATTED SELECT * FROM c", &["c"], &[]),
    ("table x |> aggregate sum(a)", &["x"], &[]),
    ("SELECT 1.0D, 3S, 1BD FROM c", &["c"], &[]),
    ("SELECT timestamp_ltz'2026-01-01', NULL:a FROM c", &["c"], &[]),
    (
        "SELECT INTERVAL 3 DAY 1 SECOND, CAST(a AS INTERVAL YEAR TO MONTH), extract(yearofweek FROM b) FROM c",
        &["c"],
        &[],
    ),
    ("VALUES 1, 2 UNION ALL SELECT a FROM c", &["c"], &[]),
    ("CREATE TEMP VIEW v AS VALUES (1, 'a'), (2, 'b') t(x, y); SELECT * FROM v JOIN c", &["c"], &[]),
    ("SELECT * EXCEPT (c.a), a ! IN (1, 2), TRIM(a, b) FROM c", &["c"], &[]),
    (
        "SELECT TRANSFORM (a, b) ROW FORMAT DELIMITED USING 'cat' AS (x int, y int) FROM c WHERE a > 1",
        &["c"],
        &[],
    ),
    ("WITH RECURSIVE r MAX RECURSION LEVEL 5 AS (SELECT a FROM c) SELECT * FROM r", &["c"], &[]),
    ("SET hivevar:a='c'; SELECT * FROM c", &["c"], &[]),
    ("SELECT a << 1, a >> 2, a >>> 3, CAST(b AS array<array<int>>) FROM c", &["c"], &[]),
    ("SELECT * FROM c CROSS JOIN x.c ON a = b", &["c", "x.c"], &[]),
    ("SELECT struct(*), struct(c.*, a AS b).b, exists(a, x -> x > 1) FROM c", &["c"], &[]),
    ("SELECT trim(BOTH FROM a), CAST(a AS STRING COLLATE UNICODE) FROM c", &["c"], &[]),
    ("SET VAR x = (SELECT max(a) FROM c)", &["c"], &[]),
    ("SET VAR (x, y) = (SELECT a, b FROM c)", &["c"], &[]),
    ("DECLARE OR REPLACE VARIABLE x INT DEFAULT (SELECT a FROM c)", &["c"], &[]),
    ("SELECT * FROM f(TABLE(c) PARTITION BY (a, b) ORDER BY d, 1), g(x => TABLE(x.c))", &["c", "x.c"], &[]),
    ("SELECT * FROM f(1, TABLE(SELECT * FROM c) WITH SINGLE PARTITION)", &["c"], &[]),
    ("SELECT a FROM c GROUP BY a, GROUPING SETS (GROUPING SETS ((a, b), (a)), ())", &["c"], &[]),
    ("SELECT * FROM (VALUES (1), (2) AS (a)) JOIN c", &["c"], &[]),
    ("FROM c |> UNION ALL TABLE x.c |> EXCEPT TABLE c", &["c", "x.c"], &[]),
    ("FROM c |> WHERE a > (FROM x.c |> AGGREGATE max(b))", &["c", "x.c"], &[]),
    ("FROM c |> SELECT sum(a) OVER w AS b WINDOW w AS (ORDER BY a), v AS (ORDER BY b)", &["c"], &[]),
    ("FROM c |> UNPIVOT INCLUDE NULLS ((a, b) FOR x IN ((a1, b1) AS y))", &["c"], &[]),
    (
        "FROM c INSERT INTO a SELECT x WHERE y INSERT OVERWRITE TABLE x.a PARTITION (p = 1) SELECT z",
        &["c"],
        &["a", "x.a"],
    ),
    (
        "WITH w AS (SELECT * FROM c) FROM w INSERT INTO a SELECT x INSERT INTO x.a SELECT y",
        &["c"],
        &["a", "x.a"],
    ),
    ("ALTER TABLE c ADD PARTITION FIELD bucket(16, id)", &[], &[]),
];

#[test]
fn rewritten_statements_have_their_tables() {
    for (sql, reads, writes) in TABLES {
        let facts = known(sql);
        let names =
            |tables: &[crate::sql::TableRef]| tables.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&facts.reads), names(&facts.writes)),
            (
                reads.iter().map(ToString::to_string).collect(),
                writes.iter().map(ToString::to_string).collect(),
            ),
            "{sql}"
        );
        for table in facts.reads.iter().chain(&facts.writes) {
            assert!(slice(sql, &table.at).ends_with(table.name.rsplit('.').next().unwrap()), "{sql}");
        }
    }
}

#[test]
fn rewritten_commands_must_close_what_they_open() {
    for sql in
        ["CREATE TABLE a (b int", "ALTER TABLE a SET TBLPROPERTIES ('x' = 'y", "SHOW TABLES LIKE 'a) /*"]
    {
        assert!(matches!(read(sql, Detail::Lineage), Reading::Malformed { .. }), "{sql}");
    }
}

#[test]
fn forms_of_other_dialects_have_their_place() {
    let cases = [
        ("SELECT a AS \"b c\" FROM t", Form::DoubleQuotedName, "\"b c\""),
        ("SELECT * FROM 't'", Form::SingleQuotedName, "'t'"),
        ("SELECT [a] FROM t", Form::BracketedName, "a"),
        ("SELECT TOP 10 a FROM t", Form::Top, "SELECT"),
        ("SELECT a FROM t QUALIFY b > 1", Form::Qualify, "b > 1"),
        ("SELECT a FROM t FETCH FIRST 3 ROWS ONLY", Form::Fetch, "3"),
        ("SELECT a FROM t LIMIT 1, 2", Form::LimitWithComma, "1"),
        ("UPDATE t SET a = 1 FROM s WHERE t.id = s.id", Form::UpdateFrom, "t"),
        ("DELETE FROM t USING s WHERE t.id = s.id", Form::DeleteUsing, "t"),
    ];
    for (sql, form, part) in cases {
        let unsupported_forms = known(sql).unsupported_forms;
        assert_eq!(unsupported_forms.iter().map(|it| it.form).collect::<Vec<_>>(), [form], "{sql}");
        assert_eq!(slice(sql, &unsupported_forms[0].at), part, "{sql}");
    }
    assert!(known("SELECT \"a\", 'b' \"c\" FROM t").unsupported_forms.is_empty());
}

//! What is read only after it has been rewritten.

use super::{known, slice};
use crate::sql::{Detail, Form, Reading, read};

#[test]
fn rewritten_statements_have_their_tables() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("CREATE TABLE a USING parquet PARTITIONED BY (b) AS SELECT * FROM c", &["c"], &["a"]),
        (
            "CREATE OR REPLACE TABLE x.a CLUSTERED BY (b) INTO 4 BUCKETS AS (SELECT * FROM c)",
            &["c"],
            &["x.a"],
        ),
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
        ("ALTER TABLE c ADD PARTITION FIELD bucket(16, id)", &[], &[]),
    ];
    for (sql, reads, writes) in cases {
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
fn forms_of_other_dialects_are_noted_at_their_place() {
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
        let refused = known(sql).refused;
        assert_eq!(refused.iter().map(|it| it.form).collect::<Vec<_>>(), [form], "{sql}");
        assert_eq!(slice(sql, &refused[0].at), part, "{sql}");
    }
    assert!(known("SELECT \"a\", 'b' \"c\" FROM t").refused.is_empty());
}

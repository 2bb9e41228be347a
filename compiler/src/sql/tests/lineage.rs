use super::{known, shape, slice};
use crate::sql::{StatementKind, TableRef};

fn names(tables: &[TableRef]) -> Vec<&str> {
    tables.iter().map(|it| it.name.as_str()).collect()
}

/// Statements, the tables that they read, and the tables that they write.
const READS_AND_WRITES: &[(&str, &[&str], &[&str])] = &[
    ("SELECT 1", &[], &[]),
    ("SELECT * FROM a JOIN Db.B b ON a.x = b.x", &["a", "Db.B"], &[]),
    ("SELECT * FROM a, A, `a`", &["a"], &[]),
    ("SELECT * FROM `my db`.`t-1`", &["my db.t-1"], &[]),
    ("WITH a AS (SELECT * FROM b) SELECT * FROM a", &["b"], &[]),
    ("WITH a AS (SELECT * FROM a) SELECT * FROM A", &["a"], &[]),
    ("WITH a AS (SELECT 1), c AS (SELECT * FROM a) SELECT * FROM c, db.a", &["db.a"], &[]),
    ("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a), a", &["a"], &[]),
    ("SELECT * FROM a WHERE x IN (SELECT x FROM b) AND EXISTS (SELECT 1 FROM c)", &["a", "b", "c"], &[]),
    ("SELECT (SELECT max(x) FROM b) FROM a ORDER BY (SELECT 1 FROM d)", &["a", "b", "d"], &[]),
    ("SELECT * FROM a UNION ALL SELECT * FROM b EXCEPT SELECT * FROM c", &["a", "b", "c"], &[]),
    ("INSERT INTO t SELECT * FROM a", &["a"], &["t"]),
    ("INSERT OVERWRITE TABLE db.t PARTITION (d = '1') SELECT * FROM a", &["a"], &["db.t"]),
    ("WITH x AS (SELECT * FROM a) INSERT INTO t SELECT * FROM x", &["a"], &["t"]),
    ("CREATE TABLE t USING parquet AS SELECT * FROM a", &["a"], &["t"]),
    ("CREATE TABLE t (a INT) USING parquet", &[], &[]),
    ("CREATE OR REPLACE TEMPORARY VIEW v AS SELECT * FROM a; INSERT INTO t SELECT * FROM V", &["a"], &["t"]),
    ("CREATE VIEW v AS SELECT * FROM a", &["a"], &[]),
    ("CACHE TABLE c AS SELECT * FROM a; SELECT * FROM c", &["a"], &[]),
    (
        "MERGE INTO t USING (SELECT * FROM s) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
        &["s"],
        &["t"],
    ),
    (
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND s.x IN (SELECT x FROM u) THEN DELETE",
        &["s", "u"],
        &["t"],
    ),
    ("UPDATE t SET a = (SELECT max(a) FROM b) WHERE c = 1", &["b"], &["t"]),
    ("DELETE FROM t WHERE a IN (SELECT a FROM b)", &["b"], &["t"]),
    ("TRUNCATE TABLE t", &[], &["t"]),
    ("EXPLAIN SELECT * FROM a", &["a"], &[]),
    ("SELECT * FROM a LATERAL VIEW explode(b) c AS d", &["a"], &[]),
    ("SELECT * FROM a PIVOT (sum(x) FOR y IN ('p', 'q'))", &["a"], &[]),
    ("SELECT * FROM range(10)", &[], &[]),
    ("SELECT * FROM a VERSION AS OF 3 JOIN db.b TIMESTAMP AS OF '2024-01-01' x", &["a", "db.b"], &[]),
    ("SELECT a FROM at at JOIN changes USING (a)", &["at", "changes"], &[]),
    ("SELECT * FROM STREAM a JOIN STREAM(db.b) ON true", &["a", "db.b"], &[]),
    ("SELECT * FROM stream AS a", &["stream"], &[]),
    ("SELECT first(x IGNORE NULLS) FROM a", &["a"], &[]),
    ("FROM a SELECT x", &["a"], &[]),
    ("SELECT * FROM VALUES (1), (2) AS v(x)", &[], &[]),
];

#[test]
fn reads_and_writes() {
    for (sql, reads, writes) in READS_AND_WRITES {
        let facts = known(sql);
        assert_eq!(names(&facts.reads), *reads, "reads of {sql}");
        assert_eq!(names(&facts.writes), *writes, "writes of {sql}");
    }
}

#[test]
fn paths_are_distinguished_from_tables() {
    let sql = "INSERT OVERWRITE DIRECTORY '/out' STORED AS PARQUET SELECT * FROM Parquet.`s3://b/é`";
    let facts = known(sql);
    assert_eq!(facts.reads[0].path_format.as_deref(), Some("parquet"));
    assert_eq!(facts.reads[0].name, "s3://b/é");
    assert_eq!(slice(sql, &facts.reads[0].at), "Parquet.`s3://b/é`");
    assert_eq!(facts.writes[0].name, "/out");
    assert_eq!(facts.writes[0].path_format.as_deref(), Some("parquet"));
    let table = known("SELECT * FROM delta.orders");
    assert_eq!(table.reads[0].name, "delta.orders");
    assert_eq!(table.reads[0].path_format, None);
}

#[test]
fn places_are_byte_offsets() {
    let sql = "-- für\r\nSELECT 'ä\r\n€',\r\n\t`größe` FROM `täg`.t1 AS x\r\nJOIN\tt2;\r\nSELECT 😀x FROM t3";
    let sql = sql.replace('😀', "é");
    let facts = known(&sql);
    let places: Vec<&str> = facts.reads.iter().map(|it| slice(&sql, &it.at)).collect();
    assert_eq!(places, ["`täg`.t1", "t2", "t3"]);
    let statements: Vec<&str> = facts.statements.iter().map(|it| slice(&sql, &it.at)).collect();
    assert!(statements[0].starts_with("SELECT 'ä") && statements[0].ends_with("t2"));
    assert_eq!(statements[1], "SELECT éx FROM t3");
}

#[test]
fn parameters() {
    let sql = "SELECT a::int, b:c.d, ':no' FROM t -- :no\nWHERE x = :day AND y>:max AND z IN (:day) LIMIT :n";
    let facts = known(sql);
    let found: Vec<(&str, Vec<&str>)> = facts
        .parameters
        .iter()
        .map(|it| (it.name.as_str(), it.at.iter().map(|at| slice(sql, at)).collect()))
        .collect();
    assert_eq!(found, [("day", vec!["day", "day"]), ("max", vec!["max"]), ("n", vec!["n"])]);
    assert_eq!(shape(sql).filters, ["x = :day", "y > :max", "z in (:day)"]);
}

#[test]
fn kinds_of_statements() {
    use StatementKind::{CreateTableAs, CreateView, Ddl, Delete, Insert, Merge, Other, Query, Set, Update};
    let cases = [
        ("SELECT 1", Query, true),
        ("WITH a AS (SELECT 1) SELECT * FROM a", Query, true),
        ("INSERT INTO t VALUES (1)", Insert, true),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", Insert, true),
        ("CREATE TABLE t AS SELECT 1", CreateTableAs, true),
        ("CREATE TEMP VIEW v AS SELECT 1", CreateView { temporary: true }, true),
        ("CREATE VIEW v AS SELECT 1", CreateView { temporary: false }, true),
        ("CREATE TABLE t (a INT)", Ddl, false),
        ("DROP TABLE t", Ddl, false),
        ("ALTER TABLE t ADD COLUMN a INT", Ddl, false),
        ("SET spark.sql.shuffle.partitions = 8", Set, false),
        ("UPDATE t SET a = 1", Update, false),
        ("DELETE FROM t", Delete, false),
        ("MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE", Merge, false),
        ("SHOW TABLES", Other, false),
        ("USE db", Other, false),
    ];
    for (sql, kind, query) in cases {
        let facts = known(sql);
        assert_eq!(facts.statements[0].kind, kind, "{sql}");
        assert_eq!(facts.statements[0].query.is_some(), query, "{sql}");
    }
}

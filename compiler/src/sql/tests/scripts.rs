//! Scripts with `BEGIN` and `END`.

use super::known;
use crate::sql::{Detail, Reading, StatementKind, read};

fn tables(sql: &str) -> (Vec<String>, Vec<String>) {
    let facts = known(sql);
    let names = |tables: &[crate::sql::TableRef]| tables.iter().map(|it| it.name.clone()).collect();
    (names(&facts.reads), names(&facts.writes))
}

/// Statements, the tables that they read, and the tables that they write.
const TABLES: &[(&str, &[&str], &[&str])] = &[
    ("BEGIN INSERT INTO a SELECT * FROM b; END", &["b"], &["a"]),
    ("BEGIN END;", &[], &[]),
    ("main: BEGIN SELECT 1; END main", &[], &[]),
    (
        "BEGIN DECLARE n INT DEFAULT (SELECT count(*) FROM a); SET n = (SELECT max(x) FROM b); END",
        &["a", "b"],
        &[],
    ),
    (
        "BEGIN IF (SELECT count(*) FROM a) > CASE WHEN x THEN 1 ELSE 2 END THEN DELETE FROM b; \
         ELSEIF EXISTS (SELECT * FROM c) THEN UPDATE d SET x = 1; ELSE TRUNCATE TABLE e; END IF; END",
        &["a", "c"],
        &["b", "d", "e"],
    ),
    (
        "BEGIN l: WHILE n < (SELECT count(*) FROM a) DO SET n = n + 1; ITERATE l; END WHILE l; \
         REPEAT INSERT INTO b VALUES (1); UNTIL n > 3 END REPEAT; \
         LOOP LEAVE l; END LOOP; END",
        &["a"],
        &["b"],
    ),
    (
        "BEGIN FOR r AS SELECT * FROM a DO INSERT INTO b VALUES (r.x); END FOR; FOR SELECT * FROM c DO SELECT 1; \
         END FOR; END",
        &["a", "c"],
        &["b"],
    ),
    (
        "BEGIN CASE WHEN x THEN INSERT INTO a SELECT 1; WHEN y THEN SELECT * FROM b; END CASE; \
         CASE (SELECT x FROM c) WHEN 1 THEN SELECT 1; ELSE SELECT * FROM d; END CASE; END",
        &["b", "c", "d"],
        &["a"],
    ),
    (
        "BEGIN DECLARE x CONDITION FOR SQLSTATE '12345'; \
         DECLARE EXIT HANDLER FOR x, SQLSTATE VALUE '22012', NOT FOUND BEGIN INSERT INTO a SELECT * FROM b; END; \
         DECLARE CONTINUE HANDLER FOR SQLEXCEPTION SET y = 1; SELECT * FROM c; END",
        &["b", "c"],
        &["a"],
    ),
    ("BEGIN CREATE TEMP VIEW v AS SELECT * FROM a; SELECT * FROM v; END", &["a"], &[]),
];

#[test]
fn scripts_read_and_write_the_tables_of_all_their_statements() {
    for (sql, reads, writes) in TABLES {
        let expected = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(tables(sql), (expected(reads), expected(writes)), "{sql}");
    }
}

#[test]
fn block_is_one_statement_without_a_shape() {
    let sql = "SET a = 1; BEGIN SELECT sum(x) FROM t; INSERT INTO b SELECT 1; END;";
    let statements = known(sql).statements;
    let kinds: Vec<StatementKind> = statements.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [StatementKind::Set, StatementKind::Other]);
    assert_eq!(super::slice(sql, &statements[1].at), sql[11..].trim_end_matches(';'));
    assert_eq!(statements[1].query, None);
}

#[test]
fn blocks_with_mismatched_keywords_are_not_read() {
    for sql in [
        "BEGIN IF a THEN SELECT 1; END",
        "BEGIN IF a THEN SELECT 1; END WHILE; END",
        "BEGIN WHILE a SELECT 1; END WHILE; END",
        "BEGIN SELECT 1; END; END",
        "BEGIN SELECT 1",
    ] {
        let reading = read(sql, Detail::Shape);
        assert!(!matches!(reading, Reading::Known(_)), "{sql}: {reading:?}");
    }
}

use std::ops::Range;

use proptest::prelude::*;

use crate::sql::{Detail, Reading, read};

fn places(sql: &str) -> Vec<Range<u32>> {
    let facts = match read(sql, Detail::Shape) {
        Reading::Malformed { at, .. } | Reading::Unknown { at, .. } => return vec![at],
        Reading::Known(facts) => facts,
    };
    let mut all: Vec<Range<u32>> = Vec::new();
    all.extend(facts.reads.iter().chain(&facts.writes).map(|it| it.at.clone()));
    all.extend(facts.parameters.iter().flat_map(|it| it.at.clone()));
    all.extend(facts.calls.iter().map(|it| it.at.clone()));
    all.extend(facts.unsupported_forms.iter().map(|it| it.at.clone()));
    all.extend(facts.dynamic.iter().cloned());
    for statement in &facts.statements {
        all.push(statement.at.clone());
        let Some(shape) = &statement.query else { continue };
        all.extend(shape.relations.iter().map(|it| it.at.clone()));
        all.extend(shape.joins.iter().map(|it| it.at.clone()));
        let texts = shape.group_by.iter().chain(&shape.aggregates).chain(&shape.over);
        all.extend(texts.map(|it| it.at.clone()));
        all.extend(shape.set_operations.iter().map(|it| it.at.clone()));
        all.extend(shape.clauses.iter().map(|it| it.at.clone()));
        all.extend(shape.subqueries.iter().map(|it| it.at.clone()));
        all.extend(shape.windows.iter().map(|it| it.at.clone()));
        all.extend(shape.columns.iter().map(|it| it.at.clone()));
        all.extend(shape.column_refs.iter().map(|it| it.at.clone()));
        all.extend([&shape.distinct, &shape.order_by, &shape.limit].into_iter().flatten().cloned());
        for index in shape.joins.iter().flat_map(|it| it.left.iter().chain(&it.right)) {
            assert!(*index < shape.relations.len(), "{sql}");
        }
    }
    all
}

fn check(sql: &str) {
    for at in places(sql) {
        assert!(sql.get(at.start as usize..at.end as usize).is_some(), "{at:?} is no place in {sql:?}");
    }
}

/// Returns ninety-nine definitions, each of which uses the previous one twice.
fn doubling(first: &str, next: impl Fn(usize, usize) -> String) -> String {
    let rest: String = (1..100).map(|name| next(name - 1, name)).collect();
    format!("{first}{rest}")
}

#[test]
fn hostile_texts_are_read_without_panic() {
    let many = 20_000;
    let nested = [
        "(".repeat(many),
        format!("SELECT {}1{}", "(".repeat(many), ")".repeat(many)),
        format!("SELECT {}1{}", "f(".repeat(60), ")".repeat(60)),
        format!("SELECT * FROM {}t{}", "(".repeat(many), ")".repeat(many)),
        format!("{}SELECT 1{}", "(".repeat(80), ")".repeat(80)),
        format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(30), ")".repeat(30)),
        format!("SELECT {}1", "NOT ".repeat(many)),
        format!("SELECT {}1", "- ".repeat(many)),
        format!("SELECT 1{}", " + 1".repeat(many)),
        format!("SELECT 1{}", " + 1".repeat(399)),
        format!("SELECT a{}", "::int".repeat(many)),
        format!("SELECT a{}", "[0]".repeat(many)),
        format!("SELECT a{}", ".b".repeat(many)),
        format!("SELECT a {}", "IS NULL ".repeat(many)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(many)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(399)),
        format!("SELECT a{}", "::int".repeat(399)),
        format!("SELECT a {}", "IS NULL ".repeat(399)),
        format!("SELECT a{}", " BETWEEN 1 AND 2".repeat(199)),
        format!("SELECT a{}", " DIV 2".repeat(399)),
        format!("SELECT a{}", " COLLATE b".repeat(399)),
        format!("SELECT a FROM t WHERE a{}", " OR a IN (1)".repeat(199)),
        format!("SELECT * FROM t{}", " PIVOT (sum(a) FOR b IN (1))".repeat(399)),
        format!("SELECT {}1{}", "1 + 1 + 1 + 1 + (".repeat(40), ")".repeat(40)),
        format!("SELECT {}1{}", "CASE WHEN ".repeat(many), " END".repeat(many)),
        format!("CREATE TABLE t (a {}int{})", "ARRAY<".repeat(many), ">".repeat(many)),
        format!("SELECT {}", "INTERVAL ".repeat(many)),
        format!("SELECT {}x", "x -> ".repeat(many)),
        format!("{}SELECT 1", "EXPLAIN ".repeat(many)),
        format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(many), ")".repeat(many)),
        format!("{}1{}", "SELECT (".repeat(many), ")".repeat(many)),
        format!("{}1{}", "SELECT a IN (".repeat(many), ")".repeat(many)),
        format!("{}1{}", "SELECT EXISTS (".repeat(many), ")".repeat(many)),
        format!("{}1{}", "WITH a AS (".repeat(many), ") SELECT 1".repeat(many)),
        format!("SELECT {}1{}", "a + f(".repeat(many), ")".repeat(many)),
        format!("SELECT {}1{}", "a[".repeat(many), "]".repeat(many)),
        format!("SELECT {}1{}", "CAST(".repeat(many), " AS int)".repeat(many)),
        format!("SELECT {}1{}", "struct(".repeat(many), " AS x)".repeat(many)),
        format!("SELECT {}1{}", "sum(x) OVER (ORDER BY ".repeat(many), ")".repeat(many)),
        format!("SELECT CAST(a AS {}int{})", "STRUCT<a: ".repeat(many), ">".repeat(many)),
        format!("SELECT * FROM {}t{}", "(t JOIN ".repeat(many), ")".repeat(many)),
        format!("SELECT * FROM t{}", ", t".repeat(many)),
        doubling("CREATE TEMP VIEW v0 AS SELECT * FROM t", |before, name| {
            format!("; CREATE TEMP VIEW v{name} AS SELECT * FROM v{before} a JOIN v{before} b")
        }),
        doubling("WITH v0 AS (SELECT * FROM t)", |before, name| {
            format!(", v{name} AS (SELECT * FROM v{before} a JOIN v{before} b)")
        }) + " SELECT * FROM v99",
        "TRIM(".repeat(many),
        format!("SELECT {}a{} !", "TRIM(".repeat(many), ")".repeat(many)),
        "SELECT TRANSFORM(".repeat(many),
        "* EXCEPT (a ".repeat(many),
        "VALUES (".repeat(many),
        "VALUES a ".repeat(many),
        "INTERVAL 1 DAY ".repeat(many),
        "EXTRACT(".repeat(many),
        "CREATE TABLE a ".repeat(many),
        "FROM t |> ".repeat(many),
        format!("FROM t{}", " |> WHERE a".repeat(many)),
        format!("FROM t{}", " |> JOIN t".repeat(many)),
        format!("{}FROM t{}", "FROM (".repeat(40), ") |> WHERE a |> SELECT b".repeat(40)),
        "BEGIN ".repeat(many),
        "IF a THEN ".repeat(many),
        "CASE WHEN a THEN ".repeat(many),
        "WHILE a DO ".repeat(many),
        "INSERT INTO t ".repeat(many),
        "WITH a AS (SELECT 1) INSERT INTO t ".repeat(many),
        "CREATE VIEW v AS ".repeat(many),
        "CACHE TABLE t AS ".repeat(many),
        "FROM t ".repeat(many),
        "PREPARE a AS ".repeat(many),
        "CREATE SCHEMA a ".repeat(many),
        format!("SELECT * FROM t{}", " JOIN t".repeat(many)),
        format!("SELECT * FROM t{}", " PIVOT (sum(a) FOR b IN (1))".repeat(many)),
        format!("SELECT {}1", "1, ".repeat(many)),
        format!("SELECT {}", "DISTINCT ".repeat(many)),
        "SELECT 1;".repeat(many / 4),
        "/*".repeat(many),
        "'".repeat(many),
        "`".repeat(many + 1),
        "\0".repeat(many),
        ";".repeat(many),
        ":a ".repeat(many / 50),
        "SELECT \u{feff}a, \u{202e}b FROM \u{1f600}".to_owned(),
        "SELECT 'é\r\n' AS ü,\r\n  `ß` FROM t WHERE".to_owned(),
    ];
    for sql in nested {
        check(&sql);
    }
}

#[test]
fn hostile_rewritten_texts_are_read_without_panic() {
    let many = 20_000;
    let nested = [
        "BEGIN IF a THEN ".repeat(many),
        format!("BEGIN {}", "IF CASE WHEN (".repeat(many)),
        format!("BEGIN {}", "WHILE a DO SELECT 1; END WHILE; ".repeat(many / 4)),
        format!("{} {}", "BEGIN ".repeat(many), "END; ".repeat(many)),
        format!("BEGIN {}", "DECLARE EXIT HANDLER FOR a, ".repeat(many / 4)),
        "a: BEGIN ".repeat(many),
        "IDENTIFIER(".repeat(many),
        format!("SELECT * FROM {}'a'{}", "IDENTIFIER(".repeat(many), ")".repeat(many)),
        "f(TABLE(".repeat(many),
        format!("SELECT * FROM {}t{}", "f(TABLE(".repeat(many), "))".repeat(many)),
        "FROM t |> UNPIVOT (".repeat(many / 4),
        format!("FROM t |> SELECT a{}", " WINDOW w AS (a)".repeat(many / 4)),
        format!("FROM t |> SELECT a WINDOW{} (SELECT 1)", " w AS (a),".repeat(many / 4)),
        format!("FROM t{}", " |> UNION TABLE t".repeat(many / 4)),
        format!("FROM t{}", " |> SELECT DISTINCT a".repeat(many / 4)),
        format!("FROM t |> {}", "(FROM t |> ".repeat(many / 4)),
        format!("GROUP BY {}", "GROUPING SETS (".repeat(many)),
        format!("FROM t{}", " INSERT INTO a SELECT b".repeat(many / 4)),
        format!("SELECT a{}", " >>> 1".repeat(399)),
        executed(12),
        "EXECUTE IMMEDIATE 'SELECT 1';".repeat(many / 4),
    ];
    for sql in nested {
        check(&sql);
    }
}

/// Returns a text that executes a text that executes a text, and so on.
fn executed(times: usize) -> String {
    (0..times).fold("SELECT 1".to_owned(), |text, _| {
        let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
        format!("EXECUTE IMMEDIATE '{escaped}'")
    })
}

/// Fragments that are likely to get far into the parser.
const FRAGMENTS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "HAVING",
    "ORDER",
    "LIMIT",
    "JOIN",
    "LEFT",
    "ON",
    "AND",
    "OR",
    "NOT",
    "IN",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "AS",
    "WITH",
    "INSERT INTO",
    "VALUES",
    "UNION ALL",
    "a",
    "t.b",
    "`c d`",
    "é",
    "count(*)",
    "sum(a)",
    "OVER",
    "window(ts, '5 minutes')",
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    "*",
    "=",
    "<",
    "+",
    "::int",
    ";",
    ":p",
    "'s'",
    "'\\''",
    "\"d\"",
    "1",
    "1.5e3",
    "--x\n",
    "/*y*/",
    "\r\n",
    "\t",
    "INTERVAL 1 HOUR",
    "x -> x + 1",
    "LATERAL VIEW explode(a) e AS f",
    "PIVOT",
    "|>",
    "${v}",
    "\u{0}",
    "\u{2028}",
    "CREATE TEMP VIEW v AS",
    "MERGE INTO t USING s ON",
    "DISTINCT",
    "CUBE",
    "GROUPING SETS",
    "IDENTIFIER(",
    "TABLE(",
    "BEGIN",
    "IF",
    "DO",
    "FOR",
    "EXECUTE IMMEDIATE",
    "SET VAR a =",
    ">>>",
    "|> SELECT DISTINCT",
    "|> UNPIVOT",
    "WINDOW w AS (",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_read_without_panic(sql in "\\PC{0,80}") {
        check(&sql);
    }

    #[test]
    fn any_mixture_of_sql_is_read_without_panic(
        parts in proptest::collection::vec(proptest::sample::select(FRAGMENTS), 0..25),
        glue in proptest::sample::select(&["", " ", "\n", "\r\n"][..]),
    ) {
        check(&parts.join(glue));
        check(&format!("SELECT {}", parts.join(" ")));
        check(&format!("SELECT a FROM t WHERE {}", parts.join(" ")));
    }
}

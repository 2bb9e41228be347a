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

const MANY: usize = 20_000;

/// Texts with repeated parts: the start, the opening part, its number of repetitions, the middle, and the closing part,
/// repeated as often.
const REPEATED: &[(&str, &str, usize, &str, &str)] = &[
    ("", "(", MANY, "", ""),
    ("SELECT ", "(", MANY, "1", ")"),
    ("SELECT ", "f(", 60, "1", ")"),
    ("SELECT * FROM ", "(", MANY, "t", ")"),
    ("", "(", 80, "SELECT 1", ")"),
    ("SELECT * FROM ", "(SELECT * FROM ", 30, "t", ")"),
    ("SELECT ", "NOT ", MANY, "1", ""),
    ("SELECT ", "- ", MANY, "1", ""),
    ("SELECT 1", " + 1", MANY, "", ""),
    ("SELECT 1", " + 1", 399, "", ""),
    ("SELECT a", "::int", MANY, "", ""),
    ("SELECT a", "[0]", MANY, "", ""),
    ("SELECT a", ".b", MANY, "", ""),
    ("SELECT a ", "IS NULL ", MANY, "", ""),
    ("SELECT 1", " UNION ALL SELECT 1", MANY, "", ""),
    ("SELECT 1", " UNION ALL SELECT 1", 399, "", ""),
    ("SELECT a", "::int", 399, "", ""),
    ("SELECT a ", "IS NULL ", 399, "", ""),
    ("SELECT a", " BETWEEN 1 AND 2", 199, "", ""),
    ("SELECT a", " DIV 2", 399, "", ""),
    ("SELECT a", " COLLATE b", 399, "", ""),
    ("SELECT a FROM t WHERE a", " OR a IN (1)", 199, "", ""),
    ("SELECT * FROM t", " PIVOT (sum(a) FOR b IN (1))", 399, "", ""),
    ("SELECT ", "1 + 1 + 1 + 1 + (", 40, "1", ")"),
    ("SELECT ", "CASE WHEN ", MANY, "1", " END"),
    ("SELECT ", "INTERVAL ", MANY, "", ""),
    ("SELECT ", "x -> ", MANY, "x", ""),
    ("", "EXPLAIN ", MANY, "SELECT 1", ""),
    ("SELECT * FROM ", "(SELECT * FROM ", MANY, "t", ")"),
    ("", "SELECT (", MANY, "1", ")"),
    ("", "SELECT a IN (", MANY, "1", ")"),
    ("", "SELECT EXISTS (", MANY, "1", ")"),
    ("", "WITH a AS (", MANY, "1", ") SELECT 1"),
    ("SELECT ", "a + f(", MANY, "1", ")"),
    ("SELECT ", "a[", MANY, "1", "]"),
    ("SELECT ", "CAST(", MANY, "1", " AS int)"),
    ("SELECT ", "struct(", MANY, "1", " AS x)"),
    ("SELECT ", "sum(x) OVER (ORDER BY ", MANY, "1", ")"),
    ("SELECT * FROM ", "(t JOIN ", MANY, "t", ")"),
    ("SELECT * FROM t", ", t", MANY, "", ""),
    ("", "TRIM(", MANY, "", ""),
    ("", "SELECT TRANSFORM(", MANY, "", ""),
    ("", "* EXCEPT (a ", MANY, "", ""),
    ("", "VALUES (", MANY, "", ""),
    ("", "VALUES a ", MANY, "", ""),
    ("", "INTERVAL 1 DAY ", MANY, "", ""),
    ("", "EXTRACT(", MANY, "", ""),
    ("", "CREATE TABLE a ", MANY, "", ""),
    ("", "FROM t |> ", MANY, "", ""),
    ("FROM t", " |> WHERE a", MANY, "", ""),
    ("FROM t", " |> JOIN t", MANY, "", ""),
    ("", "FROM (", 40, "FROM t", ") |> WHERE a |> SELECT b"),
    ("", "BEGIN ", MANY, "", ""),
    ("", "IF a THEN ", MANY, "", ""),
    ("", "CASE WHEN a THEN ", MANY, "", ""),
    ("", "WHILE a DO ", MANY, "", ""),
    ("", "INSERT INTO t ", MANY, "", ""),
    ("", "WITH a AS (SELECT 1) INSERT INTO t ", MANY, "", ""),
    ("", "CREATE VIEW v AS ", MANY, "", ""),
    ("", "CACHE TABLE t AS ", MANY, "", ""),
    ("", "FROM t ", MANY, "", ""),
    ("", "PREPARE a AS ", MANY, "", ""),
    ("", "CREATE SCHEMA a ", MANY, "", ""),
    ("SELECT * FROM t", " JOIN t", MANY, "", ""),
    ("SELECT * FROM t", " PIVOT (sum(a) FOR b IN (1))", MANY, "", ""),
    ("SELECT ", "1, ", MANY, "1", ""),
    ("SELECT ", "DISTINCT ", MANY, "", ""),
    ("", "SELECT 1;", MANY / 4, "", ""),
    ("", "/*", MANY, "", ""),
    ("", "'", MANY, "", ""),
    ("", "`", MANY + 1, "", ""),
    ("", "\0", MANY, "", ""),
    ("", ";", MANY, "", ""),
    ("", ":a ", MANY / 50, "", ""),
];

#[test]
fn hostile_texts_are_read_without_panic() {
    for (start, open, count, middle, close) in REPEATED {
        check(&format!("{start}{}{middle}{}", open.repeat(*count), close.repeat(*count)));
    }
    let others = [
        format!("CREATE TABLE t (a {}int{})", "ARRAY<".repeat(MANY), ">".repeat(MANY)),
        format!("SELECT CAST(a AS {}int{})", "STRUCT<a: ".repeat(MANY), ">".repeat(MANY)),
        doubling("CREATE TEMP VIEW v0 AS SELECT * FROM t", |before, name| {
            format!("; CREATE TEMP VIEW v{name} AS SELECT * FROM v{before} a JOIN v{before} b")
        }),
        doubling("WITH v0 AS (SELECT * FROM t)", |before, name| {
            format!(", v{name} AS (SELECT * FROM v{before} a JOIN v{before} b)")
        }) + " SELECT * FROM v99",
        format!("SELECT {}a{} !", "TRIM(".repeat(MANY), ")".repeat(MANY)),
        "SELECT \u{feff}a, \u{202e}b FROM \u{1f600}".to_owned(),
        "SELECT 'é\r\n' AS ü,\r\n  `ß` FROM t WHERE".to_owned(),
    ];
    for sql in others {
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

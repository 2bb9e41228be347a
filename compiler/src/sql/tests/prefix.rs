//! Checks that the dialect's fast path returns the same as the parser.

use sqlparser::ast::Statement;
use sqlparser::dialect::{Dialect, SparkSqlDialect};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Tokenizer;

use crate::sql::dialect::Spark;

/// Both parsers get the same tokens, so that only the parsers differ.
fn parsed(sql: &str, dialect: &dyn Dialect) -> Result<Vec<Statement>, ParserError> {
    let tokens = Tokenizer::new(&SparkSqlDialect, sql).with_unescape(false).tokenize_with_location().unwrap();
    Parser::new(dialect).with_tokens_with_locations(tokens).parse_statements()
}

const OPERANDS: &[&str] = &[
    "amount",
    "a.b",
    "a.b.c",
    "`a b`",
    "1",
    "2.5",
    "1e3",
    "-3",
    "'it''s'",
    ":day",
    ": day",
    "sum(x)",
    "count(*)",
    "count(DISTINCT x)",
    "f()",
    "f(a, b -> b + 1)",
    "f(a, (b, c) -> b)",
    "f(b INT -> b)",
    "DATE '2026-01-31'",
    "date",
    "timestamp",
    "INTERVAL 5 MINUTES",
    "INTERVAL '5' DAY",
    "CASE WHEN a THEN b END",
    "CAST(x AS INT)",
    "x::int",
    "x[0]",
    "x['k'].y",
    "map('a', 1)",
    "array(1, 2)",
    "NOT a",
    "EXISTS (SELECT 1)",
    "(SELECT max(x) FROM u)",
    "if(a, b, c)",
    "sum(x) OVER (PARTITION BY y ORDER BY z)",
    "first(x) FILTER (WHERE y > 0)",
    "_utf8 'x'",
    "x'ff'",
    "X",
    "f (x)",
    "row_number() OVER w",
    "a BETWEEN b AND c",
    "a IN (1, 2)",
    "a LIKE 'x%'",
    "a IS NULL",
    "current_date",
    "current_timestamp()",
    "TRUE",
    "NULL",
    "position",
    "count",
    "left(a, 2)",
    "explode(items)",
    "named_struct('a', 1).a",
    "f(x)(y)",
    "f(a => 1)",
];

/// Returns statements with an operand in different places.
fn frames(operand: &str) -> [String; 8] {
    [
        format!("SELECT {operand}"),
        format!("SELECT {operand} AS y, {operand} z FROM t"),
        format!("SELECT a FROM t WHERE {operand} = {operand} AND ({operand}) < 2 OR f({operand}, {operand})"),
        format!("SELECT a FROM t JOIN u ON {operand} = u.x GROUP BY {operand}, b HAVING {operand} > 1"),
        format!("SELECT a FROM t ORDER BY {operand} DESC LIMIT 1; SELECT {operand}"),
        format!("INSERT INTO t VALUES ({operand}, 1)"),
        // In Spark, consecutive texts are one. The other dialect doesn't support that.
        if operand.ends_with('\'') { String::new() } else { format!("SELECT {operand} {operand}") },
        format!("SELECT ({operand}"),
    ]
}

#[test]
fn fast_path_agrees_with_the_parser() {
    for operand in OPERANDS {
        for sql in frames(operand) {
            let (ours, theirs) = (parsed(&sql, &Spark { versions: false }), parsed(&sql, &SparkSqlDialect));
            match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) => assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{sql}"),
                // This dialect supports more of Spark.
                (Ok(_), Err(_)) => {}
                (Err(ours), theirs) => assert!(theirs.is_err(), "{sql}: {ours}"),
            }
        }
    }
}

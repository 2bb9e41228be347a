use super::slice;
use crate::sql::{Detail, Reading, read};

/// Checks that each text is malformed at the given part, with this message and help.
fn malformed(cases: &[(&str, &str, &str, &str)]) {
    for (sql, part, message, help) in cases {
        match read(sql, Detail::Shape) {
            Reading::Malformed { at, message: found, help: helped } => {
                assert_eq!(
                    (slice(sql, &at), found.as_str(), helped.as_deref().unwrap_or("")),
                    (*part, *message, *help),
                    "{sql}"
                );
            }
            other => panic!("{sql}\n{other:?}"),
        }
    }
}

/// Checks that none of the texts is reported as malformed.
fn not_malformed(cases: &[&str]) {
    for sql in cases {
        let reading = read(sql, Detail::Shape);
        assert!(!matches!(reading, Reading::Malformed { .. }), "{sql}\n{reading:?}");
    }
}

#[test]
fn empty_texts() {
    let message = "the SQL is empty";
    malformed(&[
        ("", "", message, ""),
        (" \r\n", " \r\n", message, ""),
        ("-- only a comment", "-- only a comment", message, ""),
        ("/* a */ ; ;", "/* a */ ; ;", message, ""),
    ]);
}

#[test]
fn unterminated_strings_names_and_comments() {
    malformed(&[
        (
            "SELECT 'ä' FROM t WHERE a = 'x",
            "'",
            "the string that begins here never ends",
            "close it with a matching quote",
        ),
        (
            "SELECT `a FROM t",
            "`",
            "the back-quoted name that begins here never ends",
            "close it with a matching backtick",
        ),
        ("SELECT a /* b", "/*", "the comment that begins here never ends", "close it with a matching `*/`"),
    ]);
    not_malformed(&[
        r"SELECT regexp_replace(a, '\'', '') FROM t",
        r"SELECT r'\d' FROM t",
        r"SELECT split(a, r'\') FROM t",
        "SELECT a /* b /* c */",
        "SELECT 'it''s' -- don't",
    ]);
}

#[test]
fn brackets() {
    malformed(&[
        ("SELECT sum(a FROM t", "(", "the `(` that opens here is never closed", "close it with `)`"),
        ("SELECT f(a] FROM t", "(", "the `(` that opens here is closed by a `]`", "close it with `)`"),
        ("SELECT a) FROM t", ")", "`)` closes a bracket that was never opened", ""),
        (
            "SELECT (a FROM t; SELECT b) FROM t",
            "(",
            "the `(` that opens here is never closed",
            "close it with `)`",
        ),
    ]);
    not_malformed(&["SELECT '(' , `a)` /* [ */ FROM t FOR VERSION AS OF 1 -- ("]);
}

#[test]
fn first_words() {
    malformed(&[
        ("SELCT a FROM t", "SELCT", "`SELCT` does not begin a statement", "did you mean `SELECT`?"),
        (
            "SELECT 1;\n ISNERT INTO t SELECT 1",
            "ISNERT",
            "`ISNERT` does not begin a statement",
            "did you mean `INSERT`?",
        ),
        ("hello world", "hello", "`hello` does not begin a statement", ""),
    ]);
    not_malformed(&[
        "OPTIMIZE t ZORDER BY (a)",
        "REFRESH TABLE t",
        "CLEAR CACHE",
        "MAP a, b USING 'x' FROM t",
        "(SELECT 1) UNION (SELECT 2)",
        "BEGIN x: BEGIN END; foo = 1; END",
        "CALL system.expire_snapshots('t')",
        "CONVERT TO DELTA parquet.`/x`",
    ]);
}

#[test]
fn truncated_texts() {
    let end = |word: &str, need: &str| format!("unexpected end of the SQL: `{word}` needs {need}");
    for (sql, word, need) in [
        ("SELECT a FROM t WHERE", "WHERE", "a condition"),
        ("SELECT a FROM t WHERE a = 1 AND", "AND", "another condition"),
        ("SELECT a FROM t GROUP BY", "BY", "an expression"),
        ("SELECT a FROM t JOIN u ON", "ON", "a condition"),
        ("SELECT a FROM t WHERE a =", "=", "something after it"),
        ("SELECT a FROM t JOIN", "JOIN", "a table"),
        ("SELECT a,", ",", "something after it"),
        ("SELECT a FROM t WHERE a IN -- list", "IN", "a list or a subquery"),
        ("SELECT a FROM db.", ".", "something after it"),
        ("SELECT a FROM t UNION ; SELECT 1", "UNION", "a query"),
    ] {
        malformed(&[(sql, word, &end(word, need), "")]);
    }
    not_malformed(&[
        "SELECT * FROM t FOR VERSION AS OF 1 WHERE a.by",
        "SELECT a AS from",
        "SELECT CASE a WHEN 1 THEN 2 END",
        "SHOW TABLES IN db LIKE 'x'",
    ]);
}

#[test]
fn commas_without_an_item() {
    let help = "remove the comma, or write what is missing after it";
    malformed(&[
        ("SELECT a, FROM t", ",", "there is nothing between this `,` and `FROM`", help),
        (
            "SELECT a FROM t GROUP BY a, HAVING count(*) > 1",
            ",",
            "there is nothing between this `,` and `HAVING`",
            help,
        ),
        ("SELECT f(a,) FROM t", ",", "there is nothing between this `,` and `)`", help),
        ("SELECT a,, b FROM t", ",", "there is nothing between this `,` and `,`", help),
    ]);
    not_malformed(&[
        "SELECT a, order, group FROM t FOR VERSION AS OF 1",
        "SELECT a, where FROM t",
        "SELECT a, limit FROM t FOR VERSION AS OF 1",
    ]);
}

#[test]
fn consecutive_clauses() {
    malformed(&[
        ("SELECT a FROM WHERE a > 1", "FROM WHERE", "`FROM` needs a table before `WHERE`", ""),
        ("SELECT a FROM t WHERE GROUP BY a", "WHERE GROUP", "`WHERE` needs a condition before `GROUP`", ""),
        (
            "SELECT a FROM t GROUP BY HAVING a > 1",
            "BY HAVING",
            "`BY` needs an expression before `HAVING`",
            "",
        ),
        (
            "select a from t where a = 1 and and b = 2",
            "and and",
            "`and` needs another condition before `and`",
            "",
        ),
        ("SELECT a FROM t JOIN ON a = b", "JOIN ON", "`JOIN` needs a table before `ON`", ""),
    ]);
    not_malformed(&[
        "SELECT a FROM t FOR VERSION AS OF 1 WHERE order = 1 AND limit > 2 AND group IS NULL",
        "SELECT a FROM t FOR VERSION AS OF 1 WHERE t.from and b",
        "SELECT a FROM t FOR VERSION AS OF 1 WHERE NOT NOT a",
        "SELECT a FROM t FOR VERSION AS OF 1 WHERE from.a = 1",
    ]);
}

#[test]
fn misspelt_clauses() {
    for (sql, word, meant) in [
        ("SELECT a FORM t", "FORM", "FROM"),
        ("SELECT * FORM t", "FORM", "FROM"),
        ("SELECT count(*) FORM t WHERE a = 1", "FORM", "FROM"),
        ("SELECT a FROM t WHRE a = 1", "WHRE", "WHERE"),
        ("SELECT a FROM t GRUOP BY a", "GRUOP", "GROUP"),
        ("SELECT a FROM t x ORDRE BY a", "ORDRE", "ORDER"),
        ("SELECT a FROM t GROUP BY a HAVIGN count(*) > 1", "HAVIGN", "HAVING"),
        ("SELECT a FROM t JION u ON t.a = u.a", "JION", "JOIN"),
        ("SELECT a FROM t LIMTI 5", "LIMTI", "LIMIT"),
        ("SELECT a FROM (SELCT b FROM t)", "SELCT", "SELECT"),
    ] {
        let message = format!("`{word}` is not known at this place");
        let help = format!("did you mean `{meant}`?");
        malformed(&[(sql, word, &message, &help)]);
    }
    not_malformed(&[
        "SELECT form.a FROM forms form FOR VERSION AS OF 3",
        "SELECT a FROM t form FOR VERSION AS OF 1",
        "SELECT a, form b FROM t FOR VERSION AS OF 1",
        "SELECT a FROM forms form hinted (x)",
        "SELECT form FROM t TABLESAMPLE (1 foo)",
        "SELECT a FROM t wheres FOR TIMESTAMP AS OF '2024-01-01'",
        "SELECT a FROM t |> WHERE b |> SELECT form",
    ]);
}

#[test]
fn unsupported_sql_is_unknown() {
    for (sql, part) in [
        ("CREATE TABEL t (ts TIMESTAMP)", "TABEL"),
        ("SELECT * FROM t FOR VERSION AS OF 1", "VERSION"),
        ("FROM t |> NATURAL JOIN u", "NATURAL"),
        ("SELECT ${columns} FROM t WHERE", "{"),
        ("OPTIMIZE t", "OPTIMIZE"),
    ] {
        match read(sql, Detail::Shape) {
            Reading::Unknown { at, reason } => {
                assert_eq!(slice(sql, &at), part, "{sql}: {reason}");
                assert!(!reason.ends_with('.') && !reason.is_empty(), "{reason}");
            }
            other => panic!("{sql}\n{other:?}"),
        }
    }
}

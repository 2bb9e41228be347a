//! Keywords of Spark.

/// Words that can begin a statement, including those of Spark's scripts, Delta Lake, Iceberg and Hudi.
pub(super) const STATEMENT_STARTS: &[&str] = &[
    "ADD", "ALTER", "ANALYZE", "APPLY", "BEGIN", "CACHE", "CALL", "CASE", "CLEAR", "CLOSE", "COMMENT",
    "COMMIT", "COMPACT", "CONVERT", "COPY", "CREATE", "DECLARE", "DELETE", "DENY", "DESC", "DESCRIBE", "DFS",
    "DROP", "ELSE", "ELSEIF", "END", "EXECUTE", "EXPLAIN", "EXPORT", "FETCH", "FOR", "FROM", "FSCK",
    "GENERATE", "GET", "GRANT", "IF", "IMPORT", "INSERT", "ITERATE", "LEAVE", "LIST", "LOAD", "LOCK", "LOOP",
    "MAP", "MERGE", "MSCK", "OPEN", "OPTIMIZE", "PUT", "REDUCE", "REFRESH", "REMOVE", "REORG", "REPAIR",
    "REPEAT", "REPLACE", "RESET", "RESIGNAL", "RESTORE", "RETURN", "REVOKE", "ROLLBACK", "RUN", "SELECT",
    "SET", "SHOW", "SIGNAL", "START", "SYNC", "TABLE", "TRUNCATE", "UNCACHE", "UNDROP", "UNLOCK", "UNSET",
    "UPDATE", "USE", "VACUUM", "VALUES", "WHILE", "WITH",
];

/// Words that need something after them, with its description.
pub(super) const NEEDS: &[(&str, &str)] = &[
    ("WHERE", "a condition"),
    ("HAVING", "a condition"),
    ("ON", "a condition"),
    ("AND", "another condition"),
    ("OR", "another condition"),
    ("NOT", "a condition"),
    ("WHEN", "a condition"),
    ("THEN", "a value"),
    ("CASE", "a `WHEN`"),
    ("BY", "an expression"),
    ("FROM", "a table"),
    ("JOIN", "a table"),
    ("IN", "a list or a subquery"),
    ("LIKE", "a pattern"),
    ("BETWEEN", "two bounds"),
    ("SELECT", "a column"),
    ("UNION", "a query"),
    ("INTERSECT", "a query"),
    ("EXCEPT", "a query"),
    ("DISTINCT", "a column"),
    ("GROUP", "`BY`"),
    ("ORDER", "`BY`"),
    ("LIMIT", "a number"),
    ("INTO", "a table"),
    ("INTERVAL", "a length of time"),
    ("USING", "columns or a source"),
];

/// Words other than clauses that continue a query after a table or an expression.
pub(super) const CONTINUATIONS: &[&str] = &[
    "AS",
    "ASC",
    "AT",
    "BERNOULLI",
    "CLUSTER",
    "CROSS",
    "DESC",
    "DISTRIBUTE",
    "DIV",
    "ESCAPE",
    "EXCEPT",
    "FETCH",
    "FILTER",
    "FOR",
    "FULL",
    "ILIKE",
    "INNER",
    "INTERSECT",
    "IS",
    "LATERAL",
    "LEFT",
    "MINUS",
    "NATURAL",
    "NULLS",
    "OFFSET",
    "OPTIONS",
    "OUTER",
    "OVER",
    "PARTITION",
    "PIVOT",
    "QUALIFY",
    "REGEXP",
    "RIGHT",
    "RLIKE",
    "SET",
    "SORT",
    "SYSTEM_TIME",
    "SYSTEM_VERSION",
    "TABLESAMPLE",
    "TIMESTAMP",
    "UNPIVOT",
    "VALUES",
    "VERSION",
    "WATERMARK",
    "WINDOW",
    "WITH",
    "WITHIN",
    "ZORDER",
];

/// Clauses, with the words that can never follow them directly.
pub(super) const FORBIDDEN_NEXT: &[(&str, &[&str])] = &[
    ("SELECT", &["WHERE", "GROUP", "ORDER", "HAVING", "AND", "OR"]),
    ("FROM", &["FROM", "WHERE", "GROUP", "ORDER", "HAVING", "JOIN", "ON", "AND", "OR"]),
    ("WHERE", &["WHERE", "FROM", "GROUP", "ORDER", "HAVING", "LIMIT", "JOIN", "ON", "AND", "OR", "SELECT"]),
    ("HAVING", &["HAVING", "WHERE", "FROM", "GROUP", "ORDER", "LIMIT", "AND", "OR", "SELECT"]),
    ("BY", &["BY", "HAVING", "WHERE", "FROM", "GROUP", "ORDER", "LIMIT", "SELECT", "AND", "OR"]),
    ("AND", &["AND", "OR", "WHERE", "FROM", "GROUP", "ORDER", "HAVING", "LIMIT", "THEN", "SELECT"]),
    ("OR", &["AND", "OR", "WHERE", "FROM", "GROUP", "ORDER", "HAVING", "LIMIT", "THEN", "SELECT"]),
    ("NOT", &["AND", "OR", "WHERE", "FROM", "GROUP", "ORDER", "HAVING", "THEN"]),
    ("ON", &["ON", "WHERE", "GROUP", "ORDER", "HAVING", "AND", "OR", "JOIN"]),
    ("JOIN", &["JOIN", "ON", "WHERE", "GROUP", "ORDER", "HAVING", "AND", "OR"]),
    ("WHEN", &["WHEN", "THEN", "ELSE"]),
    ("THEN", &["WHEN", "THEN", "ELSE"]),
    ("BETWEEN", &["AND", "OR", "BETWEEN"]),
];

/// Clauses that are compared with misspelt words, and whether `BY` comes next.
pub(super) const CLAUSES: &[(&str, bool)] = &[
    ("FROM", false),
    ("WHERE", false),
    ("GROUP", true),
    ("ORDER", true),
    ("HAVING", false),
    ("JOIN", false),
    ("LIMIT", false),
];

/// Words that can't follow a comma, unless they are names of columns.
pub(super) const AFTER_LIST: &[&str] =
    &["FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "UNION", "JOIN"];

pub(super) fn is_known(word: &str) -> bool {
    CONTINUATIONS.iter().any(|it| it.eq_ignore_ascii_case(word)) || is_clause(word)
}

pub(super) fn is_clause(word: &str) -> bool {
    NEEDS.iter().any(|(it, _)| it.eq_ignore_ascii_case(word))
}

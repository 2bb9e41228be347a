//! Names and texts that are values.

use super::{known, slice};
use crate::sql::TableRef;

fn names(tables: &[TableRef]) -> Vec<&str> {
    tables.iter().map(|it| it.name.as_str()).collect()
}

#[test]
fn constant_identifiers_are_resolved() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("SELECT * FROM IDENTIFIER('lake.raw.' || \"orders\")", &["lake.raw.orders"], &[]),
        ("SELECT * FROM IDENTIFIER('`a b`.c')", &["a b.c"], &[]),
        ("SELECT * FROM IDENTIFIER('a').b", &["a.b"], &[]),
        ("INSERT INTO IDENTIFIER('a') SELECT IDENTIFIER('upper')(x) FROM b", &["b"], &["a"]),
        ("WITH c AS (SELECT 1) SELECT * FROM IDENTIFIER('c')", &[], &[]),
        ("CREATE TEMP VIEW IDENTIFIER('v') AS SELECT * FROM a; SELECT * FROM v", &["a"], &[]),
    ];
    for (sql, reads, writes) in cases {
        let facts = known(sql);
        assert_eq!((names(&facts.reads), names(&facts.writes)), (reads.to_vec(), writes.to_vec()), "{sql}");
        assert!(facts.dynamic.is_empty(), "{sql}");
    }
    let sql = "SELECT * FROM IDENTIFIER('a' || 'b')";
    assert_eq!(slice(sql, &known(sql).reads[0].at), "IDENTIFIER('a' || 'b')");
}

#[test]
fn dynamic_names_are_recorded_and_other_tables_are_read() {
    let cases: &[(&str, &[&str], &str)] = &[
        ("SELECT * FROM a JOIN IDENTIFIER(:t) ON true", &["a"], "IDENTIFIER(:t)"),
        ("INSERT INTO IDENTIFIER(:t || 'x') SELECT * FROM a", &["a"], "IDENTIFIER(:t || 'x')"),
        ("SELECT IDENTIFIER(f)(x) FROM a", &["a"], "IDENTIFIER(f)"),
        ("SELECT * FROM IDENTIFIER('a..b')", &[], "IDENTIFIER('a..b')"),
        ("EXECUTE IMMEDIATE text", &[], "text"),
        (
            "EXECUTE IMMEDIATE 'SELECT * FROM a, IDENTIFIER(:t)' USING x AS t",
            &["a"],
            "'SELECT * FROM a, IDENTIFIER(:t)'",
        ),
        ("EXECUTE IMMEDIATE 'SELEC 1'", &[], "'SELEC 1'"),
    ];
    for (sql, reads, dynamic) in cases {
        let facts = known(sql);
        assert_eq!(names(&facts.reads), *reads, "{sql}");
        assert_eq!(facts.dynamic.iter().map(|at| slice(sql, at)).collect::<Vec<_>>(), [*dynamic], "{sql}");
        assert!(facts.statements.iter().all(|statement| statement.query.is_none()), "{sql}");
    }
}

#[test]
fn dynamic_column_names_hide_no_table() {
    let facts = known("SELECT IDENTIFIER(:c), a.IDENTIFIER(:c), b AS IDENTIFIER(:d) FROM a");
    assert!(facts.dynamic.is_empty());
    let shape = facts.statements[0].query.as_ref().expect("it has its shape");
    assert_eq!(shape.columns.iter().filter_map(|it| it.name.as_deref()).count(), 0);
    let columns: Vec<&str> = shape.column_refs.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(columns, ["b"]);
}

#[test]
fn tables_of_executed_texts_have_the_place_of_the_text() {
    let sql = "CREATE TEMP VIEW v AS SELECT * FROM a; \
               EXECUTE IMMEDIATE 'INSERT INTO b SELECT * FROM v JOIN c WHERE x = \\'y\\' AND z = ?' USING 1;\
               EXECUTE IMMEDIATE 'CREATE TEMP VIEW w AS SELECT * FROM d'; SELECT * FROM w";
    let facts = known(sql);
    assert_eq!((names(&facts.reads), names(&facts.writes)), (vec!["a", "c", "d"], vec!["b"]));
    assert!(facts.dynamic.is_empty());
    assert!(slice(sql, &facts.reads[1].at).starts_with("'INSERT INTO b"));
}

use super::{shape, slice, texts};
use crate::sql::{JoinKind, WindowKind};

#[test]
fn an_aggregation_by_event_time() {
    let sql = "SELECT window(`Ts`, '5 minutes') AS w, Region, COUNT(*) AS n, sum(amount) FILTER (WHERE ok) s\n\
               FROM orders o WHERE amount > 0 AND (Region <> 'EU' AND x IS NULL)\n\
               GROUP BY window(ts, '5 minutes'), region HAVING count(*) > 1 ORDER BY n LIMIT 10";
    let shape = shape(sql);
    assert_eq!(texts(&shape.group_by), ["window(ts, '5 minutes')", "region"]);
    assert_eq!(slice(sql, &shape.group_by[0].at), "window(ts, '5 minutes')");
    assert_eq!(texts(&shape.aggregates), ["count(*)", "sum(amount) filter (where ok)"]);
    assert_eq!(slice(sql, &shape.aggregates[0].at), "COUNT(*)");
    assert_eq!(shape.windows.len(), 1);
    assert_eq!(shape.windows[0].kind, WindowKind::Tumbling);
    assert_eq!(shape.windows[0].column, "ts");
    assert_eq!(slice(sql, &shape.windows[0].at), "window(`Ts`, '5 minutes')");
    assert_eq!(shape.filters, ["amount > 0", "region <> 'EU'", "x is null", "count(*) > 1"]);
    assert_eq!(shape.order_by.map(|at| slice(sql, &at)), Some("n"));
    assert_eq!(shape.limit.map(|at| slice(sql, &at)), Some("10"));
    assert!(!shape.nested_aggregation && shape.subqueries.is_empty() && shape.distinct.is_none());
    let columns: Vec<_> = shape.columns.iter().map(|it| it.name.as_deref()).collect();
    assert_eq!(columns, [Some("w"), Some("Region"), Some("n"), Some("s")]);
    assert_eq!(shape.relations[0].alias.as_deref(), Some("o"));
}

#[test]
fn writing_does_not_change_a_shape() {
    let a = shape("select Sum( `A` ) from T where B=1 group by c");
    let b = shape("SELECT sum(a) FROM t WHERE b  =  1\nGROUP BY `C`");
    assert_eq!(texts(&a.aggregates), texts(&b.aggregates));
    assert_eq!(texts(&a.group_by), texts(&b.group_by));
    assert_eq!(a.filters, b.filters);
}

#[test]
fn windows() {
    let cases = [
        ("window(ts, '5 minutes')", WindowKind::Tumbling),
        ("window(ts, '5 minutes', '5 minutes')", WindowKind::Tumbling),
        ("window(ts, '10 minutes', '5 minutes')", WindowKind::Sliding),
        ("window(ts, '10 minutes', '5 minutes', '1 minute')", WindowKind::Sliding),
        ("session_window(ts, '5 minutes')", WindowKind::Session),
        ("SESSION_WINDOW(ts, INTERVAL 5 MINUTES)", WindowKind::Session),
    ];
    for (call, kind) in cases {
        let shape = shape(&format!("SELECT count(*) FROM t GROUP BY {call}"));
        assert_eq!(shape.windows.len(), 1, "{call}");
        assert_eq!(shape.windows[0].kind, kind, "{call}");
        assert_eq!(shape.windows[0].column, "ts", "{call}");
    }
    assert!(shape("SELECT window.start FROM t").windows.is_empty());
}

#[test]
fn groupings_by_ordinal_alias_and_sets() {
    let cases: &[(&str, &[&str])] = &[
        ("SELECT to_date(ts) AS d, count(*) FROM t GROUP BY d", &["to_date(ts)"]),
        ("SELECT a, b, count(*) FROM t GROUP BY 2, 1", &["b", "a"]),
        ("SELECT a, count(*) FROM t GROUP BY ALL", &["all"]),
        ("SELECT a, count(*) FROM t GROUP BY CUBE (a, b)", &["cube (a, b)"]),
        ("SELECT a, count(*) FROM t GROUP BY a WITH ROLLUP", &["a", "with rollup"]),
        ("SELECT a FROM t", &[]),
    ];
    for (sql, expected) in cases {
        assert_eq!(texts(&shape(sql).group_by), *expected, "{sql}");
    }
}

/// A join, its kind, its equality keys, and whether it bounds time.
type JoinCase<'a> = (&'a str, JoinKind, &'a [(&'a str, &'a str)], bool);

#[test]
fn joins() {
    use JoinKind::{Anti, Cross, Full, Inner, Left, Right, Semi};
    let within = "a.k = b.k AND b.t >= a.t AND b.t <= a.t + INTERVAL 1 HOUR";
    let cases: &[JoinCase<'_>] = &[
        ("JOIN b ON a.k = b.k", Inner, &[("a.k", "b.k")], false),
        ("LEFT JOIN b ON b.k = a.k", Left, &[("a.k", "b.k")], false),
        ("LEFT OUTER JOIN b ON (a.k <=> b.k)", Left, &[("a.k", "b.k")], false),
        ("RIGHT JOIN b USING (k, l)", Right, &[("k", "k"), ("l", "l")], false),
        ("FULL OUTER JOIN b ON a.k = b.k AND a.t > b.t", Full, &[("a.k", "b.k")], true),
        ("LEFT SEMI JOIN b ON a.k = b.k", Semi, &[("a.k", "b.k")], false),
        ("LEFT ANTI JOIN b ON upper(a.k) = b.k", Anti, &[("upper(a.k)", "b.k")], false),
        ("CROSS JOIN b", Cross, &[], false),
        (&format!("JOIN b ON {within}"), Inner, &[("a.k", "b.k")], true),
        (
            "JOIN b ON a.k = b.k AND b.t BETWEEN a.t AND a.t + INTERVAL '5 minutes'",
            Inner,
            &[("a.k", "b.k")],
            true,
        ),
        (
            "JOIN b ON a.k = b.k AND a.window = b.window",
            Inner,
            &[("a.k", "b.k"), ("a.window", "b.window")],
            false,
        ),
        ("JOIN b ON a.k = b.k AND a.t > now() - INTERVAL 1 DAY", Inner, &[("a.k", "b.k")], false),
        ("JOIN b ON a.k = b.k AND a.x = 1 AND a.y = a.z", Inner, &[("a.k", "b.k")], false),
        (", b WHERE a.k = b.k AND b.t <= a.t + INTERVAL 1 HOUR", Inner, &[("a.k", "b.k")], true),
    ];
    for (join, kind, keys, range) in cases {
        let sql = format!("SELECT * FROM a {join}");
        let shape = shape(&sql);
        assert_eq!(shape.joins.len(), 1, "{sql}");
        let found = &shape.joins[0];
        let found_keys: Vec<(&str, &str)> =
            found.equi_keys.iter().map(|(left, right)| (left.as_str(), right.as_str())).collect();
        assert_eq!(found.kind, *kind, "{sql}");
        assert_eq!(found_keys, *keys, "{sql}");
        assert_eq!(!found.bounds.is_empty(), *range, "{sql}");
        assert_eq!((&found.left[..], &found.right[..]), (&[0][..], &[1][..]), "{sql}");
    }
}

#[test]
fn joins_have_their_place_and_the_relations_of_their_sides() {
    let sql = "WITH c AS (SELECT * FROM x JOIN y USING (k)) \
               SELECT * FROM c JOIN (SELECT * FROM z) d ON c.k = d.k";
    let shape = shape(sql);
    let names: Vec<&str> = shape.relations.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["x", "y", "z"]);
    assert_eq!(shape.joins[1].left, [0, 1]);
    assert_eq!(shape.joins[1].right, [2]);
    assert_eq!(slice(sql, &shape.joins[1].at), "JOIN (SELECT * FROM z) d ON c.k = d.k");
}

#[test]
fn levels_of_aggregation() {
    let nested = [
        "SELECT max(n) FROM (SELECT count(*) n FROM t GROUP BY a)",
        "WITH c AS (SELECT count(*) n FROM t GROUP BY a) SELECT max(n) FROM c",
        "CREATE TEMP VIEW v AS SELECT count(*) n FROM t GROUP BY a; SELECT max(n) FROM v",
    ];
    for sql in nested {
        assert!(shape(sql).nested_aggregation, "{sql}");
        assert_eq!(texts(&shape(sql).aggregates), ["count(*)", "max(n)"], "{sql}");
    }
    for sql in [
        "SELECT count(*) FROM (SELECT a FROM t)",
        "SELECT count(*) FROM t UNION ALL SELECT count(*) FROM u",
        "SELECT * FROM (SELECT count(*) n FROM t GROUP BY a) WHERE n > 1",
    ] {
        assert!(!shape(sql).nested_aggregation, "{sql}");
    }
}

#[test]
fn clauses_that_streams_do_not_support() {
    let sql = "SELECT DISTINCT a, row_number() OVER (PARTITION BY a ORDER BY sum(b)) FROM t";
    let it = shape(sql);
    assert_eq!(slice(sql, &it.distinct.unwrap()), "SELECT");
    assert_eq!(slice(sql, &it.over[0].at), "row_number()");
    assert_eq!(texts(&it.aggregates), ["sum(b)"]);

    let sql = "SELECT a FROM t UNION SELECT b FROM u UNION ALL (SELECT c FROM v)";
    let it = shape(sql);
    assert_eq!(it.set_operations.iter().map(|it| it.text).collect::<Vec<_>>(), ["union", "union all"]);
    assert_eq!(
        (&it.set_operations[1].left, &it.set_operations[1].right),
        (&Some(vec![0, 1]), &Some(vec![2]))
    );
    let many = format!("SELECT a FROM t{}", " UNION ALL SELECT a FROM t".repeat(200));
    assert_eq!(shape(&many).set_operations[199].left, None);
    assert_eq!(slice(sql, &it.distinct.unwrap()), "UNION");
    assert_eq!(it.set_operations[1].at.start, 38);

    let subqueries = shape("SELECT * FROM t WHERE a = (SELECT max(b) FROM u)").subqueries;
    assert_eq!(subqueries.iter().map(|it| &it.relations[..]).collect::<Vec<_>>(), [[1]]);
    assert!(shape("SELECT * FROM (SELECT * FROM t)").subqueries.is_empty());
}

fn refs(sql: &str) -> Vec<String> {
    shape(sql)
        .column_refs
        .iter()
        .map(|it| {
            let relation = it.relation.map_or(String::new(), |index| format!("@{index}"));
            let qualifier = it.qualifier.as_ref().map(|it| format!("{it}."));
            format!("{}{}{relation}", qualifier.unwrap_or_default(), it.name)
        })
        .collect()
}

#[test]
fn references_to_columns_of_base_relations() {
    let cases: &[(&str, &[&str])] = &[
        ("SELECT a, t.b FROM t WHERE c > 1", &["a@0", "t.b@0", "c@0"]),
        ("SELECT x.a, s.f.g FROM db.t x", &["x.a@0", "s@0"]),
        ("SELECT t.a FROM db.t", &["t.a@0"]),
        ("SELECT db.t.a FROM db.t", &[]),
        ("SELECT a, y.b FROM x JOIN y", &["a", "y.b@1"]),
        ("SELECT x.a FROM x JOIN y ON x.b = y.c AND d > 0", &["x.a@0", "x.b@0", "y.c@1", "d"]),
        ("SELECT a + 1 AS b, b * 2 FROM t", &["a@0"]),
        ("SELECT a, c.b FROM (SELECT * FROM t) c", &[]),
        ("WITH c AS (SELECT * FROM t) SELECT a, u.b FROM c JOIN u", &["u.b@1"]),
        ("SELECT transform(xs, x -> x.y + z) FROM t", &["xs@0", "z@0"]),
        ("SELECT aggregate(xs, 0, (acc, x) -> acc + x) FROM t", &["xs@0"]),
        ("SELECT current_date, dateadd(DAY, 1, d), extract(year FROM e) FROM t", &["d@0", "e@0"]),
        ("SELECT a, col1 FROM t LATERAL VIEW explode(xs) e AS col1", &["a@0"]),
        ("SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.x = t.y)", &["a@0"]),
        ("SELECT a FROM t UNION ALL SELECT b FROM u", &[]),
        ("SELECT a AS b FROM t ORDER BY b", &["a@0"]),
        ("SELECT m['k'], xs[i].f FROM t", &["m@0", "xs@0", "i@0"]),
        ("SELECT f(name => a) FROM t", &["a@0"]),
    ];
    for (sql, expected) in cases {
        assert_eq!(refs(sql), *expected, "{sql}");
    }
}

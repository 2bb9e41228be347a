use proptest::prelude::*;

use super::*;

fn tables(tables: &[&str]) -> SandboxTables {
    SandboxTables {
        catalog: "spark_catalog".to_owned(),
        schema: "sandbox_ada_main".to_owned(),
        tables: tables.iter().map(|it| (*it).to_owned()).collect(),
        temporary_views: BTreeSet::new(),
    }
}

/// Rewrites a statement. `$` stands for the schema of the sandbox in the result.
fn rewritten(statement: &str) -> String {
    let sql =
        tables(&["lake__own"]).rewrite(statement).unwrap_or_else(|why| panic!("{statement}: {why}")).sql;
    sql.replace("`spark_catalog`.`sandbox_ada_main`.", "$")
}

#[test]
fn tables_that_are_written_are_replaced() {
    for (statement, expected) in [
        (
            "INSERT INTO lake.orders SELECT * FROM lake.raw",
            "INSERT INTO $`lake__orders` SELECT * FROM lake.raw",
        ),
        (
            "INSERT OVERWRITE lake.orders SELECT * FROM lake.orders",
            "INSERT OVERWRITE $`lake__orders` SELECT * FROM lake.orders",
        ),
        ("INSERT INTO TABLE `lake`.`Orders` VALUES (1)", "INSERT INTO TABLE $`lake__orders` VALUES (1)"),
        (
            "insert into orders select 'lake.orders' -- orders",
            "insert into $`default__orders` select 'lake.orders' -- orders",
        ),
        ("CREATE TABLE lake.t AS SELECT 1 AS a", "CREATE TABLE $`lake__t` AS SELECT 1 AS a"),
        (
            "CREATE TABLE IF NOT EXISTS lake.t (a INT, b STRING) USING parquet",
            "CREATE TABLE IF NOT EXISTS $`lake__t` (a INT, b STRING) USING parquet",
        ),
        (
            "CREATE OR REPLACE VIEW lake.v AS SELECT * FROM lake.own",
            "CREATE OR REPLACE VIEW $`lake__v` AS SELECT * FROM $`lake__own`",
        ),
        ("DROP TABLE IF EXISTS lake.t", "DROP TABLE IF EXISTS $`lake__t`"),
        ("DROP VIEW lake.v", "DROP VIEW $`lake__v`"),
        ("ALTER TABLE lake.t ADD COLUMNS (c INT)", "ALTER TABLE $`lake__t` ADD COLUMNS (c INT)"),
        ("TRUNCATE TABLE lake.t", "TRUNCATE TABLE $`lake__t`"),
        (
            "DELETE FROM lake.t WHERE a IN (SELECT a FROM lake.t2)",
            "DELETE FROM $`lake__t` WHERE a IN (SELECT a FROM lake.t2)",
        ),
        ("UPDATE lake.t SET a = 1 WHERE t.b = 2", "UPDATE $`lake__t` AS `t` SET a = 1 WHERE t.b = 2"),
        (
            "MERGE INTO lake.t USING lake.own s ON t.a = s.a WHEN MATCHED THEN DELETE",
            "MERGE INTO $`lake__t` AS `t` USING $`lake__own` s ON t.a = s.a WHEN MATCHED THEN DELETE",
        ),
        ("CREATE TABLE lake.t LIKE lake.own", "CREATE TABLE $`lake__t` LIKE $`lake__own`"),
    ] {
        assert_eq!(rewritten(statement), expected);
    }
}

#[test]
fn tables_that_are_read_are_replaced_if_the_sandbox_has_them() {
    for (statement, expected) in [
        (
            "SELECT * FROM lake.own JOIN lake.raw USING (a)",
            "SELECT * FROM $`lake__own` JOIN lake.raw USING (a)",
        ),
        (
            "SELECT own.a FROM lake.own WHERE own.b = 1",
            "SELECT own.a FROM $`lake__own` AS `own` WHERE own.b = 1",
        ),
        ("SELECT o.a FROM LAKE.OWN o, lake.own p", "SELECT o.a FROM $`lake__own` o, $`lake__own` p"),
        ("WITH own AS (SELECT 1) SELECT * FROM own", "WITH own AS (SELECT 1) SELECT * FROM own"),
        ("SELECT * FROM /* lake.own */ lake.own", "SELECT * FROM /* lake.own */ $`lake__own`"),
        ("SELECT * FROM parquet.`/data/own`", "SELECT * FROM parquet.`/data/own`"),
        ("SELECT (SELECT max(a) FROM lake.own)", "SELECT (SELECT max(a) FROM $`lake__own`)"),
        ("SET spark.sql.shuffle.partitions = 2", "SET spark.sql.shuffle.partitions = 2"),
    ] {
        assert_eq!(rewritten(statement), expected);
    }
}

#[test]
fn later_statements_read_what_earlier_ones_write() {
    let mut tables = tables(&[]);
    let first = tables.rewrite("CREATE TEMPORARY VIEW recent AS SELECT * FROM lake.raw").unwrap();
    assert!(first.replaced.is_empty());
    let second = tables.rewrite("INSERT INTO lake.orders SELECT * FROM recent").unwrap();
    let orders = "`spark_catalog`.`sandbox_ada_main`.`lake__orders`".to_owned();
    assert_eq!(second.sql, format!("INSERT INTO {orders} SELECT * FROM recent"));
    assert_eq!(second.missing, Some((orders.clone(), "lake.orders".to_owned())));
    let third = tables.rewrite("SELECT count(*) FROM lake.orders").unwrap();
    assert_eq!(third.replaced, [("lake.orders".to_owned(), orders)]);
    assert_eq!(tables.rewrite("DROP VIEW recent").unwrap().sql, "DROP VIEW recent");
    assert!(tables.rewrite("DROP VIEW recent").unwrap().sql.ends_with("`default__recent`"));
}

#[test]
fn statements_that_can_not_be_kept_in_the_sandbox_are_rejected() {
    for (statement, why) in [
        ("INSERT INTO IDENTIFIER(:t) SELECT 1", "only known when it runs"),
        ("INSERT INTO parquet.`/data/t` SELECT 1", "path"),
        ("INSERT OVERWRITE DIRECTORY '/data/t' USING parquet SELECT 1", ""),
        ("CREATE TABLE lake.t (a INT) USING parquet LOCATION '/data/t'", "location"),
        ("CREATE TABLE lake.t USING parquet OPTIONS (path '/data/t') AS SELECT 1", "location"),
        ("CREATE TABLE lake.t USING parquet OPTIONS ('path' = '/data/t') AS SELECT 1", "location"),
        ("ALTER TABLE lake.t RENAME TO lake.u", "renames"),
        ("ALTER TABLE lake.t SET LOCATION '/data/t'", "location"),
        ("CREATE SCHEMA lake", "other than a table"),
        ("DROP SCHEMA lake CASCADE", ""),
        ("USE lake", ""),
        ("SET CATALOG other", "kind"),
        ("SET spark.sql.catalog.spark_catalog = x", "names of tables"),
        ("EXECUTE IMMEDIATE 'DROP TABLE lake.t'", ""),
        ("CALL system.expire('lake.t')", ""),
        ("BEGIN DROP TABLE lake.t; END", ""),
        ("FROM lake.raw INSERT INTO lake.a SELECT * INSERT INTO lake.b SELECT *", ""),
        ("INSERT INTO lake.t SELECT '${x}'", "variable"),
        ("SELECT 1 -- a \\\nDROP TABLE lake.t", "comment"),
        ("CREATE TABLE lake.t AS SELECT 1; DROP TABLE lake.u", "one statement"),
        ("LOAD DATA INPATH '/x' INTO TABLE lake.t", ""),
        ("ANALYZE TABLE lake.t COMPUTE STATISTICS", ""),
    ] {
        let rejected = tables(&[]).rewrite(statement).expect_err(statement);
        assert!(rejected.contains(why), "{statement}: {rejected}");
    }
}

#[test]
fn names_of_two_tables_differ() {
    let name = |parts: &[&str]| table_name(&parts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
    assert_eq!(name(&["lake", "orders"]), "lake__orders");
    assert_eq!(name(&["orders"]), "default__orders");
    assert_eq!(name(&["spark_catalog", "Lake", "orders"]), "spark_catalog__lake__orders");
    for (a, b) in [(["a__b", "c"], ["a", "b__c"]), (["a_", "b"], ["a", "_b"]), (["a b", "c"], ["a-b", "c"])] {
        assert_ne!(name(&a), name(&b));
    }
}

/// The text of a table's name: plain, quoted, with a dot in quotes, or like a keyword.
fn table() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-c]{1,2}",
        "[A-C][a-c_0-9]{0,3}",
        "`[a-c .'/;-]{1,5}`",
        Just("`select`".to_owned()),
        Just("`t``u`".to_owned()),
        Just("orders".to_owned()),
    ];
    proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("."))
}

/// Text between two words.
fn gap() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(" ".to_owned()),
        Just("\n\t".to_owned()),
        Just(" /* DROP TABLE lake.t; */ ".to_owned()),
        Just(" -- INSERT INTO lake.t; '\n".to_owned()),
    ]
}

/// A statement, and its text before the table that it writes, if it writes one.
fn statement() -> impl Strategy<Value = (String, Option<String>)> {
    let forms = prop_oneof![
        Just("INSERT INTO T SELECT a, 'U' FROM U"),
        Just("INSERT OVERWRITE TABLE T SELECT * FROM U WHERE U.a > 1"),
        Just("WITH orders AS (SELECT 1 AS a) INSERT INTO T SELECT * FROM orders"),
        Just("INSERT INTO T WITH a AS (SELECT * FROM U) SELECT * FROM a"),
        Just(
            "MERGE INTO T USING U ON T.a = U.a WHEN MATCHED THEN UPDATE SET a = 1 WHEN NOT MATCHED THEN INSERT *"
        ),
        Just("MERGE INTO T AS x USING (SELECT * FROM U) AS y ON x.a = y.a WHEN MATCHED THEN DELETE"),
        Just("CREATE TABLE T AS SELECT * FROM U"),
        Just("CREATE OR REPLACE TABLE T USING parquet AS SELECT \"T\" AS a FROM U"),
        Just("CREATE TABLE IF NOT EXISTS T (a INT COMMENT 'DROP TABLE U')"),
        Just("CREATE TABLE T LIKE U"),
        Just("CREATE OR REPLACE VIEW T AS SELECT * FROM U"),
        Just("CREATE OR REPLACE TEMPORARY VIEW v AS SELECT * FROM U"),
        Just("DROP TABLE IF EXISTS T"),
        Just("DROP VIEW T"),
        Just("ALTER TABLE T ADD COLUMNS (b INT)"),
        Just("TRUNCATE TABLE T"),
        Just("DELETE FROM T WHERE a IN (SELECT a FROM U)"),
        Just("UPDATE T SET a = 'T' WHERE EXISTS (SELECT 1 FROM U)"),
    ];
    (forms, table(), table(), gap()).prop_map(|(form, target, source, gap)| {
        let words = form.split(' ').map(|word| match word {
            "T" => target.clone(),
            "U" => source.clone(),
            word => word.to_owned(),
        });
        let words: Vec<String> = words.collect();
        let before = form.split(' ').position(|word| word == "T").map(|at| words[..at].join(&gap) + &gap);
        (words.join(&gap), before)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_statement_writes_outside_of_the_sandbox(script in proptest::collection::vec(statement(), 1..5)) {
        let mut tables = tables(&[]);
        for (statement, before) in &script {
            let views = tables.temporary_views.clone();
            let Ok(rewritten) = tables.rewrite(statement) else { continue };
            let uses = sql::uses(&rewritten.sql).unwrap();
            let drops_temporary = uses.drops_view
                && uses.uses.iter().all(|of| of.parts.len() == 1 && views.contains(&of.parts[0].to_lowercase()));
            for of in uses.uses.iter().filter(|of| of.writes && !drops_temporary) {
                let is_inside = of.parts.len() == 3 && of.parts[1] == "sandbox_ada_main";
                prop_assert!(is_inside, "{} writes {:?}", rewritten.sql, of.parts);
            }
            // The table that is written is known from the form, whatever the reader finds.
            if let (Some(before), false) = (before, drops_temporary) {
                let expected = format!("{before}`spark_catalog`.`sandbox_ada_main`.`");
                prop_assert!(rewritten.sql.starts_with(&expected), "{}", rewritten.sql);
            }
        }
    }

    #[test]
    fn plain_statements_are_not_rejected(target in "[a-c]{1,3}\\.[a-c]{1,3}", source in "[a-c]{1,3}\\.[d-f]{1,3}", gap in gap()) {
        for form in ["INSERT INTO T SELECT * FROM U", "CREATE TABLE T AS SELECT * FROM U", "DROP TABLE T", "DELETE FROM T WHERE a = 1"] {
            let words = form.split(' ').map(|word| match word { "T" => &target, "U" => &source, word => word }.to_owned());
            let statement = words.collect::<Vec<_>>().join(&gap);
            let rewritten = tables(&[]).rewrite(&statement);
            prop_assert!(rewritten.is_ok(), "{statement}: {rewritten:?}");
        }
    }
}

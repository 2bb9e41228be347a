mod dynamic;
mod errors;
mod grouping;
mod hostile;
mod lineage;
mod pipes;
mod prefix;
mod rewrite;
mod scripts;
mod shapes;
mod streams;

use std::ops::Range;

use super::{Detail, Facts, QueryShape, Reading, Text, read};

fn known(sql: &str) -> Facts {
    let Reading::Known(facts) = read(sql, Detail::Shape) else {
        panic!("{sql}\n{:?}", read(sql, Detail::Shape));
    };
    // Lineage does not depend on the requested detail.
    let Reading::Known(mut lineage) = read(sql, Detail::Lineage) else { panic!("{sql}") };
    for (with, without) in facts.statements.iter().zip(&mut lineage.statements) {
        assert_eq!(without.query, None);
        without.query.clone_from(&with.query);
    }
    assert_eq!(facts, lineage, "{sql}");
    *facts
}

fn shape(sql: &str) -> QueryShape {
    known(sql)
        .statements
        .into_iter()
        .rev()
        .find_map(|statement| statement.query)
        .unwrap_or_else(|| panic!("no query in {sql}"))
}

fn slice<'a>(sql: &'a str, at: &Range<u32>) -> &'a str {
    &sql[at.start as usize..at.end as usize]
}

fn texts(texts: &[Text]) -> Vec<&str> {
    texts.iter().map(|it| it.text.as_str()).collect()
}

#[test]
fn scripts_are_split_at_their_semicolons() {
    let split = |sql: &'static str| -> Vec<&str> {
        super::statements(sql).into_iter().map(|range| &sql[range]).collect()
    };
    assert_eq!(split("SELECT 1"), ["SELECT 1"]);
    assert_eq!(split(" SELECT ';' -- ;\n ; /* ; */ SELECT `;` ;; "), ["SELECT ';'", "SELECT `;`"]);
    assert_eq!(
        split("SET x = 1; BEGIN SELECT 1; SELECT 2; END;\n"),
        ["SET x = 1", "BEGIN SELECT 1; SELECT 2; END"]
    );
    assert_eq!(split("SELECT 'open; x"), ["SELECT 'open; x"]);
    assert!(split(" -- nothing\n").is_empty());
}

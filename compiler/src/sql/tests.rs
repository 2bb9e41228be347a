mod errors;
mod hostile;
mod lineage;
mod shapes;
mod streams;

use std::ops::Range;

use super::{Facts, QueryShape, Reading, Text, read};

fn known(sql: &str) -> Facts {
    match read(sql) {
        Reading::Known(facts) => *facts,
        other => panic!("{sql}\n{other:?}"),
    }
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

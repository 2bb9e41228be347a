//! Checks that the SQL reader accepts any text, reports only positions within it, and is deterministic.
#![no_main]

use std::ops::Range;

use dcp_compiler::sql::{self, Facts, QueryShape, Reading};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let reading = sql::read(text, sql::Detail::Shape);
    for at in positions(&reading) {
        assert!(text.get(at.start as usize..at.end as usize).is_some(), "{at:?} is outside of the text");
    }
    assert_eq!(reading, sql::read(text, sql::Detail::Shape));
});

fn positions(reading: &Reading) -> Vec<Range<u32>> {
    let mut all = Vec::new();
    match reading {
        Reading::Malformed { at, message, .. } => {
            assert!(!message.is_empty());
            all.push(at.clone());
        }
        Reading::Unknown { at, reason } => {
            assert!(!reason.is_empty());
            all.push(at.clone());
        }
        Reading::Known(facts) => push_facts(facts, &mut all),
    }
    all
}

fn push_facts(facts: &Facts, all: &mut Vec<Range<u32>>) {
    let Facts { statements, reads, writes, parameters, unsupported_forms, calls, dynamic } = facts;
    assert!(!statements.is_empty(), "known facts have no statement");
    all.extend(reads.iter().chain(writes).map(|table| table.at.clone()));
    all.extend(parameters.iter().flat_map(|parameter| parameter.at.clone()));
    all.extend(unsupported_forms.iter().map(|form| form.at.clone()));
    all.extend(dynamic.iter().cloned());
    all.extend(calls.iter().map(|call| call.at.clone()));
    for statement in statements {
        all.push(statement.at.clone());
        statement.query.iter().for_each(|shape| push_shape(shape, all));
    }
}

fn push_shape(shape: &QueryShape, all: &mut Vec<Range<u32>>) {
    let QueryShape {
        relations,
        joins,
        group_by,
        aggregates,
        windows,
        distinct,
        over,
        order_by,
        limit,
        set_operations,
        filters: _,
        columns,
        column_refs,
        nested_aggregation: _,
        subqueries,
        clauses,
        aliases: _,
        levels,
        pivots,
        laterals,
        piped: _,
    } = shape;
    all.extend(pivots.iter().map(|pivot| pivot.at.clone()));
    for level in levels.iter().chain(subqueries).chain(laterals) {
        all.push(level.at.clone());
        assert!(level.relations.iter().all(|relation| *relation < relations.len()));
    }
    all.extend(relations.iter().map(|relation| relation.at.clone()));
    all.extend([group_by, aggregates, over].into_iter().flatten().map(|text| text.at.clone()));
    all.extend(clauses.iter().map(|clause| clause.at.clone()));
    all.extend(windows.iter().map(|window| window.at.clone()));
    all.extend([distinct, order_by, limit].into_iter().flatten().cloned());
    all.extend(columns.iter().map(|column| column.at.clone()));
    all.extend(column_refs.iter().map(|column| column.at.clone()));
    for operation in set_operations {
        all.push(operation.at.clone());
        let sides = [&operation.left, &operation.right].into_iter().flatten().flatten();
        assert!(sides.into_iter().all(|relation| *relation < relations.len()));
    }
    for join in joins {
        all.push(join.at.clone());
        assert!(join.left.iter().chain(&join.right).all(|relation| *relation < relations.len()));
    }
    assert!(
        column_refs.iter().filter_map(|column| column.relation).all(|relation| relation < relations.len())
    );
}

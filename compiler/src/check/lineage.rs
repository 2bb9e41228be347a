//! What the SQL reads and writes, compared with what the manifest declares.

use super::Subject;
use crate::diag::{Code, Diagnostic};
use crate::graph::{self, Dataset};
use crate::model::{DataRef, Job};
use crate::sql::TableRef;

pub(super) fn check(subject: &mut Subject<'_>) {
    let Some((sql, facts)) = subject.sql.and_then(|sql| Some((sql, sql.facts()?))) else { return };
    let spec = &subject.manifest.spec;
    // The query of a stream names its sources, which are compared with nothing: they are declared as they are.
    let Job::Sql(_) = spec.job else { return };
    let inputs = Side { field: "inputs", verb: "reads", code: Code::UNDECLARED_INPUT };
    let outputs = Side { field: "outputs", verb: "writes", code: Code::UNDECLARED_OUTPUT };
    let mut found = Vec::new();
    for (side, declared, inferred) in
        [(inputs, &spec.inputs, &facts.reads), (outputs, &spec.outputs, &facts.writes)]
    {
        found.extend(undeclared(declared, inferred).map(|table| {
            let message =
                format!("the SQL {} `{}`, which is not among `{}`", side.verb, table.name, side.field);
            Diagnostic::new(side.code, message)
                .at(sql.span(&table.at), format!("{} here", side.verb))
                .help(format!("add `- table: {}` to `{}`", table.name, side.field))
        }));
        for (at, name) in unused(declared, inferred) {
            let place = subject.at(&["spec", side.field, &at.to_string(), "table"]);
            let message = format!("`{name}` is among `{}`, and the SQL never {} it", side.field, side.verb);
            found.push(
                Diagnostic::new(side.code, message).at(place, "").help("remove it, or correct the name"),
            );
        }
    }
    subject.diagnostics.extend(found);
}

struct Side {
    field: &'static str,
    verb: &'static str,
    code: Code,
}

/// Only where something is declared: who declares nothing leaves it to the SQL.
fn undeclared<'t>(declared: &[DataRef], inferred: &'t [TableRef]) -> impl Iterator<Item = &'t TableRef> {
    let known: Vec<Dataset> = declared.iter().map(graph::dataset).collect();
    let unknown =
        move |table: &&TableRef| !known.is_empty() && !known.contains(&graph::dataset_of_sql(table));
    inferred.iter().filter(unknown)
}

fn unused<'d>(declared: &'d [DataRef], inferred: &[TableRef]) -> Vec<(usize, &'d str)> {
    let known: Vec<Dataset> = inferred.iter().map(graph::dataset_of_sql).collect();
    let tables = declared.iter().enumerate().filter(|(_, data)| matches!(data, DataRef::Table(_)));
    tables
        .filter(|(_, data)| !known.contains(&graph::dataset(data)))
        .map(|(at, data)| (at, data.name()))
        .collect()
}

//! Compares the inputs and outputs of the SQL with the declarations in the manifest.

use dcp_model::dataset::{Dataset, DatasetKind};
use dcp_model::manifest::{DataRef, Job, Output};

use super::Subject;
use crate::diag::{Code, Diagnostic, DottedNames};
use crate::graph;
use crate::sql::TableRef;

pub(super) fn check(subject: &mut Subject<'_>) {
    let Some((sql, facts)) = subject.sql.and_then(|sql| Some((sql, sql.facts()?))) else { return };
    let spec = &subject.manifest.spec;
    // The query of a stream refers to declared sources only, so there is nothing to compare.
    let Job::Sql(_) = spec.job else { return };
    let inputs = Side { field: "inputs", verb: "reads", code: Code::UNDECLARED_INPUT };
    let outputs = Side { field: "outputs", verb: "writes", code: Code::UNDECLARED_OUTPUT };
    let mut found = Vec::new();
    let read: Vec<DataRef> = spec.inputs.clone();
    let written: Vec<DataRef> = spec.outputs.iter().map(Output::data).collect();
    for (side, declared, inferred) in [(inputs, &read, &facts.reads), (outputs, &written, &facts.writes)] {
        let shared = |index: usize| side.field == "outputs" && spec.outputs[index].is_shared();
        let place = |index: usize| {
            let field = if shared(index) { "sharedTable" } else { "table" };
            subject.at(&["spec", side.field, &index.to_string(), field])
        };
        // Declared tables may be used by statements that are only known at run time.
        let mut unused = if facts.dynamic.is_empty() { unused(declared, inferred) } else { Vec::new() };
        for table in undeclared(declared, inferred) {
            let message =
                format!("the SQL {} `{}`, which is not among `{}`", side.verb, table.name, side.field);
            let diagnostic = Diagnostic::new(side.code, message);
            let at = sql.span(&table.at);
            let dataset = graph::dataset_of_sql(table);
            // A misspelt table is both: one name is used and not declared, the other is declared and not used.
            let meant = (dataset.kind == DatasetKind::Table)
                .then(|| take_nearest(&table.name, &mut unused))
                .flatten();
            found.push(match meant {
                Some((index, name)) => diagnostic
                    .at(at, format!("did you mean `{name}`?"))
                    .at(place(index), format!("which the SQL never {}", side.verb))
                    .help("correct whichever of the two is misspelt"),
                None => diagnostic
                    .at(at, format!("{} here", side.verb))
                    .help(format!("add `- {}: {}` to `{}`", dataset.kind, table.name, side.field)),
            });
        }
        for (index, name) in unused {
            let message = format!("`{name}` is among `{}`, and the SQL never {} it", side.field, side.verb);
            let diagnostic = Diagnostic::new(side.code, message).at(place(index), "");
            found.push(diagnostic.help("remove it, or correct the name"));
        }
    }
    subject.diagnostics.extend(found);
}

struct Side {
    field: &'static str,
    verb: &'static str,
    code: Code,
}

/// Returns tables that are not declared. If nothing is declared, the inputs and outputs are derived from the SQL.
fn undeclared<'t>(declared: &[DataRef], inferred: &'t [TableRef]) -> impl Iterator<Item = &'t TableRef> {
    let known: Vec<Dataset> = declared.iter().map(Dataset::from).collect();
    let unknown =
        move |table: &&TableRef| !known.is_empty() && !known.contains(&graph::dataset_of_sql(table));
    inferred.iter().filter(unknown)
}

fn unused<'d>(declared: &'d [DataRef], inferred: &[TableRef]) -> Vec<(usize, &'d str)> {
    let known: Vec<Dataset> = inferred.iter().map(graph::dataset_of_sql).collect();
    let tables = declared.iter().enumerate().filter(|(_, data)| matches!(data, DataRef::Table(_)));
    tables
        .filter(|(_, data)| !known.contains(&Dataset::from(*data)))
        .map(|(at, data)| (at, data.name()))
        .collect()
}

/// Removes and returns the table that is most similar to a name.
fn take_nearest<'d>(name: &str, unused: &mut Vec<(usize, &'d str)>) -> Option<(usize, &'d str)> {
    let meant = DottedNames::new(unused.iter().map(|(_, unused)| *unused)).nearest(name)?;
    let at = unused.iter().position(|(_, unused)| *unused == meant)?;
    Some(unused.remove(at))
}

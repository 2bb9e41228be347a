//! Compares the inputs and outputs of the SQL with the declarations in the manifest.

use dcp_model::dataset::{Dataset, DatasetKind};
use dcp_model::manifest::{DataRef, Job, Output};

use super::Subject;
use crate::diag::{Code, Diagnostic, DottedNames};
use crate::graph;
use crate::source::Span;
use crate::sql::TableRef;

pub(super) fn check(subject: &mut Subject<'_>) {
    let Some((sql, facts)) = subject.sql.and_then(|sql| Some((sql, sql.facts()?))) else { return };
    let spec = &subject.manifest.spec;
    // The query of a stream refers to declared sources only, so there is nothing to compare.
    let Job::Sql(_) = spec.job else { return };
    let inputs = Side { field: "inputs", verb: "reads", code: Code::UNDECLARED_INPUT };
    let outputs = Side { field: "outputs", verb: "writes", code: Code::UNDECLARED_OUTPUT };
    let written: Vec<DataRef> = spec.outputs.iter().map(Output::data).collect();
    let sides = [(inputs, &spec.inputs, &facts.reads), (outputs, &written, &facts.writes)];
    let mut found = Vec::new();
    for (side, declared, inferred) in sides {
        // Declared tables may be used by statements that are only known at run time.
        let mut unused = if facts.dynamic.is_empty() { unused(declared, inferred) } else { Vec::new() };
        for table in undeclared(declared, inferred) {
            found.push(side.undeclared(subject, table, sql.span(&table.at), &mut unused));
        }
        found.extend(unused.into_iter().map(|declaration| side.unused(subject, declaration)));
    }
    subject.diagnostics.extend(found);
}

/// The index and the name of a declared table.
type Declaration<'d> = (usize, &'d str);

struct Side {
    field: &'static str,
    verb: &'static str,
    code: Code,
}

impl Side {
    fn undeclared(
        &self,
        subject: &Subject<'_>,
        table: &TableRef,
        at: Span,
        unused: &mut Vec<Declaration<'_>>,
    ) -> Diagnostic {
        let Self { field, verb, code } = *self;
        let message = format!("the SQL {verb} `{}`, which is not among `{field}`", table.name);
        let diagnostic = Diagnostic::new(code, message);
        let kind = graph::dataset_of_sql(table).kind;
        // A misspelt table is both: one name is used and not declared, the other is declared and not used.
        match (kind == DatasetKind::Table).then(|| take_nearest(&table.name, unused)).flatten() {
            Some((index, name)) => diagnostic
                .at(at, format!("did you mean `{name}`?"))
                .at(self.place(subject, index), format!("which the SQL never {verb}"))
                .help("correct whichever of the two is misspelt"),
            None => diagnostic
                .at(at, format!("{verb} here"))
                .help(format!("add `- {kind}: {}` to `{field}`", table.name)),
        }
    }

    fn unused(&self, subject: &Subject<'_>, (index, name): Declaration<'_>) -> Diagnostic {
        let message = format!("`{name}` is among `{}`, and the SQL never {} it", self.field, self.verb);
        let diagnostic = Diagnostic::new(self.code, message).at(self.place(subject, index), "");
        diagnostic.help("remove it, or correct the name")
    }

    fn place(&self, subject: &Subject<'_>, index: usize) -> Span {
        let shared = self.field == "outputs" && subject.manifest.spec.outputs[index].is_shared();
        let field = if shared { "sharedTable" } else { "table" };
        subject.at(&["spec", self.field, &index.to_string(), field])
    }
}

/// Returns tables that are not declared. If nothing is declared, the inputs and outputs are derived from the SQL.
fn undeclared<'t>(declared: &[DataRef], inferred: &'t [TableRef]) -> impl Iterator<Item = &'t TableRef> {
    let known: Vec<Dataset> = declared.iter().map(Dataset::from).collect();
    let unknown =
        move |table: &&TableRef| !known.is_empty() && !known.contains(&graph::dataset_of_sql(table));
    inferred.iter().filter(unknown)
}

fn unused<'d>(declared: &'d [DataRef], inferred: &[TableRef]) -> Vec<Declaration<'d>> {
    let known: Vec<Dataset> = inferred.iter().map(graph::dataset_of_sql).collect();
    let tables = declared.iter().enumerate().filter(|(_, data)| matches!(data, DataRef::Table(_)));
    tables
        .filter(|(_, data)| !known.contains(&Dataset::from(*data)))
        .map(|(at, data)| (at, data.name()))
        .collect()
}

/// Removes and returns the table that is most similar to a name.
fn take_nearest<'d>(name: &str, unused: &mut Vec<Declaration<'d>>) -> Option<Declaration<'d>> {
    let meant = DottedNames::new(unused.iter().map(|(_, unused)| *unused)).nearest(name)?;
    let at = unused.iter().position(|(_, unused)| *unused == meant)?;
    Some(unused.remove(at))
}

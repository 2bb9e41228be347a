//! Columns: those that the query takes from its sources, and those that it gives to its sink.

use super::query::Query;
use super::{path, unknown_column};
use crate::check::Subject;
use crate::diag::{Code, Diagnostic, nearest};
use crate::model::{KafkaFormat, ScalarOr, Sink, Source};

/// What a Kafka source gives beside the columns of its schema.
const KAFKA: &[&str] = &["_key", "_topic", "_partition", "_offset", "_timestamp"];

pub(super) fn check(subject: &mut Subject<'_>, query: &Query<'_>) {
    taken(subject, query);
    given(subject, query);
}

fn taken(subject: &mut Subject<'_>, query: &Query<'_>) {
    for reference in &query.shape.column_refs {
        let Some((name, source)) =
            reference.relation.and_then(|relation| query.sources.get(relation).copied().flatten())
        else {
            continue;
        };
        let Some(columns) = source.columns() else { continue };
        let known = columns.0.iter().any(|(known, _)| known.eq_ignore_ascii_case(&reference.name));
        let of_kafka = matches!(source, Source::Kafka(_)) && KAFKA.contains(&reference.name.as_str());
        if !known && !of_kafka {
            let at = subject.sql_at(&reference.at);
            unknown_column(subject, columns, name, &reference.name, at);
        }
    }
}

fn given(subject: &mut Subject<'_>, query: &Query<'_>) {
    let columns = &query.shape.columns;
    if columns.is_empty() || columns.iter().any(|column| column.name.is_none()) {
        return; // What `*` gives, and what Spark calls a column without a name, is not known here.
    }
    let names: Vec<&str> = columns.iter().filter_map(|column| column.name.as_deref()).collect();
    for (at, column) in columns.iter().enumerate() {
        let again = names[..at].iter().any(|other| other.eq_ignore_ascii_case(names[at]));
        if again && !matches!(query.stream.sink, Sink::Console(_)) {
            let place = subject.sql_at(&column.at);
            let message = format!("the query gives two columns `{}`", names[at]);
            subject.problem(
                Code::SINK_COLUMNS,
                message,
                place,
                "again here",
                "give one of them another name by `AS`",
            );
        }
    }
    for (name, field) in wanted(&query.stream.sink) {
        if names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            continue;
        }
        let place = subject.at(&path(&field));
        let diagnostic = Diagnostic::new(Code::SINK_COLUMNS, format!("the query gives no column `{name}`"));
        subject.report(match nearest(name, names.iter().copied()) {
            Some(meant) => diagnostic.at(place, format!("did you mean `{meant}`?")),
            None => diagnostic
                .at(place, "needed here")
                .help(format!("it gives {}", crate::diag::list(names.iter().copied(), "and"))),
        });
    }
}

/// The columns that a sink names, each with the field that does.
fn wanted(sink: &Sink) -> Vec<(&str, Vec<&'static str>)> {
    match sink {
        Sink::Kafka(kafka) => {
            let value =
                (kafka.format == KafkaFormat::Raw).then_some(("value", vec!["sink", "kafka", "format"]));
            let key = kafka.key.as_deref().map(|key| (key, vec!["sink", "kafka", "key"]));
            value.into_iter().chain(key).collect()
        }
        Sink::Files(files) => files
            .partition_by
            .iter()
            .map(|column| (column.as_str(), vec!["sink", "files", "partitionBy"]))
            .collect(),
        Sink::Table(ScalarOr::Map(table)) => table
            .partition_by
            .iter()
            .map(|column| (column.as_str(), vec!["sink", "table", "partitionBy"]))
            .collect(),
        Sink::Table(ScalarOr::Scalar(_)) | Sink::Console(_) => Vec::new(),
    }
}

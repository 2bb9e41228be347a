//! The rules of Structured Streaming that can be checked before Spark does.

mod columns;
mod joins;
mod modes;
mod options;
mod query;
mod trigger;
mod unsupported;

use std::ops::Range;

use super::Subject;
use crate::diag::{Code, Diagnostic, nearest};
use crate::model::{
    Columns, FileFormat, Identifier, Job, OutputMode, ScalarOr, Sink, Source, Stream, TableName,
};
use crate::source::Span;
use crate::yaml::NodeRef;
use query::Query;

pub(super) fn check(subject: &mut Subject<'_>) {
    let Job::Stream(stream) = &subject.manifest.spec.job else { return };
    sources(subject, stream);
    tables(subject, stream);
    options::check(subject, stream);
    watermarks(subject, stream);
    deduplication(subject, stream);
    sink(subject, stream);
    if !is_one_query(subject) {
        return;
    }
    let Some(shape) = subject.sql.and_then(|sql| sql.query()) else { return };
    let query = Query::new(stream, shape);
    relations(subject, &query);
    modes::check(subject, &query);
    unsupported::check(subject, &query);
    joins::check(subject, &query);
    columns::check(subject, &query);
    state(subject, &query);
    trigger::check(subject, &query);
}

const STREAM: [&str; 3] = ["spec", "job", "stream"];

/// A path below the stream.
fn path<'p>(below: &[&'p str]) -> Vec<&'p str> {
    [&STREAM, below].concat()
}

/// Reports what is no single query, where the SQL could be read.
fn is_one_query(subject: &mut Subject<'_>) -> bool {
    let Some(facts) = subject.sql.and_then(|sql| sql.facts()) else { return false };
    if subject.sql.is_some_and(|sql| sql.query().is_some()) {
        return true;
    }
    let (at, label) = match facts.statements.as_slice() {
        [_, second, ..] => (second.at.clone(), "a second statement"),
        [only] => (only.at.clone(), "no query"),
        [] => (0..0, "no query"),
    };
    let span = subject.sql_at(&first_words(&at));
    let help = "write one `SELECT`: the sink is declared under `sink`, and named subqueries go into `WITH`";
    subject.problem(Code::NOT_A_QUERY, "a stream is one query", span, label, help);
    false
}

/// A label at the beginning of something long says enough.
fn first_words(at: &Range<u32>) -> Range<u32> {
    at.start..at.end.min(at.start + 12).max(at.start)
}

fn sources(subject: &mut Subject<'_>, stream: &Stream) {
    if !stream.sources.values().any(Source::is_streaming) {
        let at = subject.key(&path(&["sources"]));
        let help = "make it a `sql` job, or read a table's changes by `{name: …, stream: true}`";
        subject.problem(
            Code::NO_STREAM,
            "none of the sources is a stream",
            at,
            "all of these are read as they are",
            help,
        );
    }
    for (name, source) in &stream.sources {
        let Source::Files(files) = source else { continue };
        if files.schema.is_none() && files.is_streamed() && !files.format.is_self_describing() {
            let at = subject.key(&path(&["sources", name.as_str(), "files"]));
            subject.problem(
                Code::MISSING_FIELD,
                "`schema` is missing from `files`",
                at,
                "needs `schema`",
                "Spark does not guess the columns of a stream: add `schema: {column: type}`",
            );
        }
    }
}

fn watermarks(subject: &mut Subject<'_>, stream: &Stream) {
    for (at, watermark) in stream.watermark.0.iter().enumerate() {
        let place = |subject: &Subject<'_>, field: &str| {
            // One watermark may stand alone, or in a list.
            let listed = at.to_string();
            let in_list = subject.root.find(path(&["watermark", &listed, field]));
            in_list.map_or_else(|| subject.at(&path(&["watermark", field])), NodeRef::span)
        };
        let name = watermark.source.as_str();
        let Some(source) = stream.sources.get(&watermark.source) else {
            let span = place(subject, "source");
            unknown_source(subject, stream, name, span);
            continue;
        };
        if !source.is_streaming() {
            let span = place(subject, "source");
            subject.problem(
                Code::WATERMARK_IGNORED,
                format!("`{name}` is read as it is, and knows no late events"),
                span,
                "no stream",
                "remove the watermark, or make the source a stream",
            );
        }
        let Some(columns) = source.columns() else { continue };
        let span = place(subject, "column");
        // What Kafka says of a message is there beside the columns of its value.
        let of_kafka = matches!(source, Source::Kafka(_)) && watermark.column == "_timestamp";
        let data_type = if of_kafka { Some("timestamp") } else { column_type(columns, &watermark.column) };
        match data_type {
            None => unknown_column(subject, columns, name, &watermark.column, span),
            Some(data_type) if !data_type.starts_with("timestamp") => {
                let message = format!(
                    "`{}` is of type `{data_type}`, and a watermark needs a `timestamp`",
                    watermark.column
                );
                subject.problem(
                    Code::UNKNOWN_COLUMN,
                    message,
                    span,
                    "not a time",
                    "declare the column as `timestamp`, or take another one",
                );
            }
            Some(_) => {}
        }
        if stream.watermark.0[..at].iter().any(|other| other.source == watermark.source) {
            let span = place(subject, "source");
            subject.problem(
                Code::EXACTLY_ONE,
                format!("`{name}` has two watermarks"),
                span,
                "again here",
                "keep one of them",
            );
        }
    }
}

/// The short form of a table is any scalar to the schema.
fn tables(subject: &mut Subject<'_>, stream: &Stream) {
    let mut named: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, source) in &stream.sources {
        if let Source::Table(ScalarOr::Scalar(table)) = source {
            named.push((table.as_str(), path(&["sources", name.as_str(), "table"])));
        }
    }
    if let Sink::Table(ScalarOr::Scalar(table)) = &stream.sink {
        named.push((table.as_str(), path(&["sink", "table"])));
    }
    for (table, place) in named {
        if let Err(fault) = TableName::parse(table) {
            let at = subject.at(&place);
            let diagnostic = Diagnostic::new(fault.code, fault.message).at(at, "");
            subject
                .report(fault.help.map_or_else(|| diagnostic.clone(), |help| diagnostic.clone().help(help)));
        }
    }
}

fn column_type<'c>(columns: &'c Columns, name: &str) -> Option<&'c str> {
    columns
        .0
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, data_type)| data_type.as_str().trim())
}

fn unknown_source(subject: &mut Subject<'_>, stream: &Stream, name: &str, at: Span) {
    let diagnostic = Diagnostic::new(Code::UNKNOWN_SOURCE, format!("`{name}` is no source of this stream"));
    let known = || stream.sources.keys().map(Identifier::as_str);
    subject.report(match nearest(name, known()) {
        Some(meant) => diagnostic.at(at, format!("did you mean `{meant}`?")),
        None => diagnostic.at(at, "named here").help(format!(
            "declare it under `sources`, such as `{}: {{table: {name}}}`; there are {}",
            simple_name(name),
            crate::diag::list(known(), "and")
        )),
    });
}

fn simple_name(table: &str) -> &str {
    table.rsplit('.').next().unwrap_or(table)
}

fn unknown_column(subject: &mut Subject<'_>, columns: &Columns, source: &str, name: &str, at: Span) {
    let known = || columns.0.iter().map(|(name, _)| name.as_str());
    let diagnostic = Diagnostic::new(Code::UNKNOWN_COLUMN, format!("`{source}` has no column `{name}`"));
    subject.report(match nearest(name, known()) {
        Some(meant) => diagnostic.at(at, format!("did you mean `{meant}`?")),
        None => diagnostic
            .at(at, "named here")
            .help(format!("it has {}", crate::diag::list(known().take(20), "and"))),
    });
}

fn deduplication(subject: &mut Subject<'_>, stream: &Stream) {
    for (at, deduplicate) in stream.deduplicate.iter().enumerate() {
        let index = at.to_string();
        let name = deduplicate.source.as_str();
        let Some(source) = stream.sources.get(&deduplicate.source) else {
            let span = subject.at(&path(&["deduplicate", &index, "source"]));
            unknown_source(subject, stream, name, span);
            continue;
        };
        for (column_at, column) in deduplicate.columns.iter().enumerate() {
            let Some(columns) = source.columns() else { continue };
            if column_type(columns, column).is_none() {
                let span = subject.at(&path(&["deduplicate", &index, "columns", &column_at.to_string()]));
                unknown_column(subject, columns, name, column, span);
            }
        }
        if source.is_streaming()
            && !stream.watermark.0.iter().any(|watermark| watermark.source == deduplicate.source)
        {
            let span = subject.at(&path(&["deduplicate", &index, "source"]));
            let message = format!("every event of `{name}` is remembered forever");
            subject.problem(
                Code::UNBOUNDED_STATE,
                message,
                span,
                "has no watermark",
                format!("add a `watermark` for `{name}`"),
            );
        }
    }
}

fn sink(subject: &mut Subject<'_>, stream: &Stream) {
    let mode = stream.output_mode;
    for (name, source) in &stream.sources {
        let (Source::Kafka(from), Sink::Kafka(to)) = (source, &stream.sink) else { continue };
        if source.is_streaming()
            && from.servers == to.servers
            && from.named_topics().any(|topic| *topic == to.topic)
        {
            let at = subject.at(&path(&["sink", "kafka", "topic"]));
            let message =
                format!("the stream writes the topic `{}` that its source `{name}` reads", to.topic);
            subject.problem(Code::CYCLE, message, at, "read again, without end", "write to another topic");
        }
    }
    if let Sink::Files(files) = &stream.sink {
        if mode != OutputMode::Append {
            let at = subject.at(&path(&["outputMode"]));
            let message = format!("a file sink takes no `{}` output", mode.name());
            let sink = subject.key(&path(&["sink", "files"]));
            let diagnostic = Diagnostic::new(Code::UPDATE_TO_FILES, message)
                .at(at, "rewrites rows")
                .at(sink, "and files are only ever added")
                .help(
                    "use `outputMode: append`, with a watermark if the query aggregates; or write to a table",
                );
            subject.report(diagnostic);
        }
        if files.format == FileFormat::Text
            && subject.sql.and_then(|sql| sql.query()).is_some_and(|shape| shape.columns.len() > 1)
        {
            let at = subject.at(&path(&["sink", "files", "format"]));
            subject.problem(
                Code::SINK_COLUMNS,
                "text files take one column",
                at,
                "and the query gives several",
                "select one column of text, or choose another format",
            );
        }
    }
}

fn relations(subject: &mut Subject<'_>, query: &Query<'_>) {
    for (relation, source) in query.shape.relations.iter().zip(&query.sources) {
        if source.is_none() {
            let at = subject.sql_at(&relation.at);
            unknown_source(subject, query.stream, &relation.name, at);
        }
    }
    for name in query.stream.sources.keys() {
        let read = query.sources.iter().flatten().any(|(known, _)| *known == name.as_str());
        // A relation that is misspelt is likely to be the one that seems not to be read.
        let misspelt = || {
            let unknown =
                query.shape.relations.iter().zip(&query.sources).filter(|(_, source)| source.is_none());
            unknown
                .map(|(relation, _)| relation.name.as_str())
                .any(|unknown| nearest(unknown, [name.as_str()]).is_some())
        };
        if !read && !misspelt() {
            let at = subject.key(&path(&["sources", name.as_str()]));
            subject.problem(
                Code::UNUSED_SOURCE,
                format!("the query does not read `{name}`"),
                at,
                "",
                "read it, or remove it",
            );
        }
    }
}

fn state(subject: &mut Subject<'_>, query: &Query<'_>) {
    if query.is_stateful() && query.stream.state.partitions.is_none() {
        let at = subject.key(&STREAM);
        let help = "add `state: {partitions: …}`, about two for each core of the executors";
        subject.problem(
            Code::STATE_PARTITIONS,
            "the state gets Spark's 200 partitions, and keeps them for as long as the checkpoint lives",
            at,
            "keeps state",
            help,
        );
    }
}

//! Checks that the sink supports the output of the query and the output mode.

use dcp_model::manifest::{FileFormat, KafkaFormat, OutputMode, ScalarOr, Sink, Source, Stream};

use super::modes::supports_updates;
use super::query::Query;
use super::{columns, path};
use crate::check::Subject;
use crate::diag::{Code, Diagnostic};

pub(super) fn check(subject: &mut Subject<'_>, stream: &Stream) {
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
    output_mode(subject, stream);
    one_column(subject, stream);
}

/// Table formats that are known not to support updates, and those that don't support replacement either.
const TABLES: &[&str] = &["iceberg", "delta"];
const FILES: &[&str] = &["parquet", "orc", "json", "csv", "avro", "text"];

/// Checks the output mode of files and tables. No format supports changed rows, and files can't be replaced.
fn output_mode(subject: &mut Subject<'_>, stream: &Stream) {
    let mode = stream.output_mode;
    let (what, only_added) = match &stream.sink {
        Sink::Files(_) => ("a file sink".to_owned(), true),
        Sink::Table(ScalarOr::Scalar(_)) => ("a table".to_owned(), false),
        Sink::Table(ScalarOr::Map(table)) => match table.format.as_deref().map(str::to_lowercase) {
            None => ("a table".to_owned(), false),
            Some(format) if TABLES.contains(&format.as_str()) => (format!("a table of `{format}`"), false),
            Some(format) if FILES.contains(&format.as_str()) => (format!("a table of `{format}`"), true),
            Some(_) => return,
        },
        Sink::Jdbc(_) | Sink::Merge(_) => return rows_by_keys(subject, stream),
        Sink::Kafka(_) | Sink::Console(_) => return,
    };
    let unsupported = match mode {
        OutputMode::Append => false,
        OutputMode::Update => true,
        OutputMode::Complete => only_added,
    };
    if !unsupported {
        return;
    }
    let at = subject.at(&path(&["outputMode"]));
    let sink = subject.key(&path(&["sink", stream.sink.kind()]));
    let added = if only_added {
        "and files are only ever added"
    } else {
        "and rows are only ever added, or all replaced"
    };
    let instead = match mode {
        OutputMode::Complete => "or write to a table of `iceberg` or `delta`",
        OutputMode::Append | OutputMode::Update => "or write by a `merge` sink, or to Kafka",
    };
    let diagnostic =
        Diagnostic::new(Code::UPDATE_TO_FILES, format!("{what} takes no `{}` output", mode.name()))
            .at(at, "rewrites rows")
            .at(sink, added)
            .help(format!("use `outputMode: append`, with a watermark if the query aggregates; {instead}"));
    subject.report(diagnostic);
}

/// Checks the output mode of sinks with keys. Rows are inserted, or updated by key, and never replaced all at once.
fn rows_by_keys(subject: &mut Subject<'_>, stream: &Stream) {
    let help = match stream.output_mode {
        OutputMode::Append => return,
        OutputMode::Update if supports_updates(&stream.sink) => return,
        OutputMode::Update => {
            "add `mode: upsert` and `keys` to the sink, or use `outputMode: append`, with a watermark if the query \
             aggregates"
        }
        OutputMode::Complete if supports_updates(&stream.sink) => "use `outputMode: update`",
        OutputMode::Complete => "use `outputMode: update`, and add `mode: upsert` and `keys` to the sink",
    };
    let (kind, mode) = (stream.sink.kind(), stream.output_mode.name());
    let at = subject.at(&path(&["outputMode"]));
    let sink = subject.key(&path(&["sink", kind]));
    let adds = if stream.output_mode == OutputMode::Update { " that only adds rows" } else { "" };
    let message = format!("a `{kind}` sink{adds} takes no `{mode}` output");
    let diagnostic = Diagnostic::new(Code::UPDATE_TO_FILES, message)
        .at(at, "rewrites rows")
        .at(sink, "adds rows, or updates them by their keys");
    subject.report(diagnostic.help(help));
}

/// Checks the types of columns. CSV has no nested values, and a line of text is a string.
pub(super) fn types(subject: &mut Subject<'_>, query: &Query<'_>) {
    let Some((format, place)) = limited_format(&query.stream.sink) else { return };
    let nested = |kind: &str| kind.contains('<') || kind == "variant";
    let partitions: &[String] = match &query.stream.sink {
        Sink::Files(files) => &files.partition_by,
        _ => &[],
    };
    let found = match format {
        LimitedFormat::Csv => columns::find_unsupported(query, |kind| !nested(kind)),
        LimitedFormat::Text => columns::find_unsupported(query, |kind| kind == "string")
            .filter(|it| !partitions.contains(&it.name)),
    };
    let Some(unsupported) = found else { return };
    let (name, kind) = (&unsupported.name, &unsupported.kind);
    let (message, help) = match format {
        LimitedFormat::Csv => (
            format!("CSV can't hold the column `{name}`, which is of type `{kind}`"),
            "select its fields, turn it into text by `to_json(…)`, or choose another format",
        ),
        LimitedFormat::Text => (
            format!("text files take a string, and the column `{name}` is of type `{kind}`"),
            "turn it into text by `CAST(… AS STRING)`, or choose another format",
        ),
    };
    let (at, sink) = (subject.sql_at(&unsupported.at), subject.at(&path(place)));
    let diagnostic =
        Diagnostic::new(Code::SINK_COLUMN_MISMATCH, message).at(at, "given here").at(sink, "the format");
    subject.report(diagnostic.help(help));
}

/// Formats that can't hold all types.
#[derive(Clone, Copy)]
enum LimitedFormat {
    Csv,
    Text,
}

/// Returns the format of a sink and its place, if it is a limited one.
fn limited_format(sink: &Sink) -> Option<(LimitedFormat, &'static [&'static str])> {
    match sink {
        Sink::Files(files) => match files.format {
            FileFormat::Csv => Some((LimitedFormat::Csv, &["sink", "files", "format"])),
            FileFormat::Text => Some((LimitedFormat::Text, &["sink", "files", "format"])),
            _ => None,
        },
        Sink::Table(ScalarOr::Map(table)) => {
            let is_csv = table.format.as_deref().is_some_and(|it| it.eq_ignore_ascii_case("csv"));
            is_csv.then_some((LimitedFormat::Csv, &["sink", "table", "format"]))
        }
        Sink::Table(ScalarOr::Scalar(_))
        | Sink::Kafka(_)
        | Sink::Merge(_)
        | Sink::Jdbc(_)
        | Sink::Console(_) => None,
    }
}

/// Checks that text sinks get one column, in addition to the columns of the message itself.
fn one_column(subject: &mut Subject<'_>, stream: &Stream) {
    let (what, kind, own) = match &stream.sink {
        Sink::Files(files) if files.format == FileFormat::Text => {
            ("text files take one column", "files", files.partition_by.iter().map(String::as_str).collect())
        }
        Sink::Kafka(kafka) if kafka.format == KafkaFormat::Text => {
            let own: Vec<&str> =
                kafka.key.as_deref().into_iter().chain(["key", "headers", "partition"]).collect();
            ("a message of text takes one column", "kafka", own)
        }
        Sink::Files(_)
        | Sink::Kafka(_)
        | Sink::Table(_)
        | Sink::Merge(_)
        | Sink::Jdbc(_)
        | Sink::Console(_) => return,
    };
    let Some(shape) = subject.sql.and_then(|sql| sql.query()) else { return };
    let is_own = |name: &str| own.iter().any(|own| own.eq_ignore_ascii_case(name));
    let given = shape.columns.iter().filter(|column| !column.name.as_deref().is_some_and(is_own));
    if given.count() > 1 {
        let at = subject.at(&path(&["sink", kind, "format"]));
        let help = "select one column of text, or choose another format";
        subject.problem(Code::SINK_COLUMN_MISMATCH, what, at, "and the query gives several", help);
    }
}

//! Checks of columns: those that the query reads from its sources, and those that it writes to its sink.

use dcp_model::manifest::{KafkaFormat, Scalar, ScalarOr, Sink, Source};

use super::path;
use super::query::Query;
use crate::check::Subject;
use crate::diag::{Code, Diagnostic, nearest};
use crate::source::Span;
use crate::sql::Column;

/// Kafka's own columns. If the source has a schema, their names begin with `_`.
const KAFKA: &[(&str, &str)] = &[
    ("_key", "binary"),
    ("_topic", "string"),
    ("_partition", "int"),
    ("_offset", "bigint"),
    ("_timestamp", "timestamp"),
];
const RAW_KAFKA: &[(&str, &str)] = &[
    ("key", "binary"),
    ("value", "binary"),
    ("topic", "string"),
    ("partition", "int"),
    ("offset", "bigint"),
    ("timestamp", "timestamp"),
    ("timestampType", "int"),
];
const KAFKA_HEADERS: (&str, &str) = ("headers", "array<struct<key:string,value:binary>>");
const RATE: &[(&str, &str)] = &[("timestamp", "timestamp"), ("value", "bigint")];
/// A column that all files have, and that `SELECT *` leaves out.
const FILES: &[(&str, &str)] = &[("_metadata", "struct<>")];

/// The columns of a source and their types: those that messages list, and others that are valid.
pub(super) struct SourceColumns<'a> {
    columns: Vec<(&'a str, &'a str)>,
    others: &'static [(&'static str, &'static str)],
}

/// Returns the columns of a source, if they are known.
pub(super) fn of_source(source: &Source) -> Option<SourceColumns<'_>> {
    let declared = source
        .columns()
        .map(|columns| columns.0.iter().map(|(name, kind)| (name.as_str(), kind.as_str().trim())).collect());
    let (columns, others) = match source {
        Source::Kafka(kafka) => match declared {
            Some(declared) => (declared, KAFKA),
            None if matches!(kafka.format, KafkaFormat::Json | KafkaFormat::Raw) => {
                let includes_headers = |(key, value): (&String, &Scalar)| {
                    key.eq_ignore_ascii_case("includeHeaders") && value.as_str().eq_ignore_ascii_case("true")
                };
                let headers = kafka.options.iter().any(includes_headers).then_some(KAFKA_HEADERS);
                (RAW_KAFKA.iter().copied().chain(headers).collect(), [].as_slice())
            }
            None => return None,
        },
        Source::Files(_) => (declared?, FILES),
        Source::Rate(_) => (RATE.to_vec(), [].as_slice()),
        Source::Table(_) => return None,
    };
    Some(SourceColumns { columns, others })
}

impl SourceColumns<'_> {
    pub(super) fn data_type(&self, name: &str) -> Option<&str> {
        let mut all = self.columns.iter().chain(self.others);
        all.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
    }

    pub(super) fn unknown(&self, subject: &mut Subject<'_>, source: &str, name: &str, at: Span) {
        let known = || self.columns.iter().map(|(name, _)| *name);
        let diagnostic = Diagnostic::new(Code::UNKNOWN_COLUMN, format!("`{source}` has no column `{name}`"));
        let others = self.others.iter().map(|(name, _)| *name);
        subject.report(match nearest(name, known().chain(others)) {
            Some(meant) => diagnostic.at(at, format!("did you mean `{meant}`?")),
            None => diagnostic
                .at(at, "named here")
                .help(format!("it has {}", crate::diag::list(known().take(20), "and"))),
        });
    }
}

/// Functions that return structs, arrays or maps.
const NESTED_FUNCTIONS: [&str; 14] = [
    "array",
    "collect_list",
    "collect_set",
    "array_agg",
    "map",
    "map_from_arrays",
    "map_from_entries",
    "named_struct",
    "session_window",
    "sequence",
    "split",
    "str_to_map",
    "struct",
    "window",
];

/// An output column with a known type that the sink's format doesn't support.
pub(super) struct UnsupportedColumn {
    pub(super) at: std::ops::Range<u32>,
    pub(super) name: String,
    pub(super) kind: String,
}

/// Returns the first output column with a known type that does not satisfy `fits`.
pub(super) fn find_unsupported(query: &Query<'_>, fits: impl Fn(&str) -> bool) -> Option<UnsupportedColumn> {
    query.shape.columns.iter().find_map(|column| {
        let kind = type_of(query, column)?;
        let name = column.name.clone().unwrap_or_else(|| column.text.clone());
        (!fits(&kind)).then(|| UnsupportedColumn { at: column.at.clone(), name, kind })
    })
}

/// Returns the type of an output column, if it is a declared column of a source, or a call of a function with a known
/// type.
fn type_of(query: &Query<'_>, column: &Column) -> Option<String> {
    if let Some((function, arguments)) = column.text.split_once('(') {
        let whole = arguments.find(')') == Some(arguments.len() - 1);
        return (NESTED_FUNCTIONS.contains(&function) && whole).then(|| format!("{function}<…>"));
    }
    let name = column.text.rsplit('.').next()?;
    let reference = query.shape.column_refs.iter().find(|it| {
        it.at.start >= column.at.start && it.at.end == column.at.end && it.name.eq_ignore_ascii_case(name)
    })?;
    let (_, source) = query.sources.get(reference.relation?).copied().flatten()?;
    of_source(source)?.data_type(name).map(str::to_lowercase)
}

pub(super) fn check(subject: &mut Subject<'_>, query: &Query<'_>) {
    check_read_columns(subject, query);
    check_written_columns(subject, query);
}

fn check_read_columns(subject: &mut Subject<'_>, query: &Query<'_>) {
    for reference in &query.shape.column_refs {
        let Some((name, source)) =
            reference.relation.and_then(|relation| query.sources.get(relation).copied().flatten())
        else {
            continue;
        };
        let Some(columns) = of_source(source) else { continue };
        // A query that groups by a window has a column of this name.
        let window = ["window", "session_window"].iter().any(|it| it.eq_ignore_ascii_case(&reference.name));
        if window && !query.shape.windows.is_empty() {
            continue;
        }
        if columns.data_type(&reference.name).is_none() {
            let at = subject.sql_at(&reference.at);
            columns.unknown(subject, name, &reference.name, at);
        }
    }
}

fn check_written_columns(subject: &mut Subject<'_>, query: &Query<'_>) {
    let columns = &query.shape.columns;
    if columns.is_empty() || columns.iter().any(|column| column.name.is_none()) {
        return; // The columns of `*`, and Spark's names of columns without a name, are unknown here.
    }
    let names: Vec<&str> = columns.iter().filter_map(|column| column.name.as_deref()).collect();
    for (at, column) in columns.iter().enumerate() {
        let again = names[..at].iter().any(|other| other.eq_ignore_ascii_case(names[at]));
        // Spark writes such files, and rejects such tables. dcp's program can't distinguish the columns of a message.
        let code = match query.stream.sink {
            Sink::Console(_) => continue,
            Sink::Files(_) => Code::SAME_COLUMN,
            Sink::Kafka(_) | Sink::Table(_) | Sink::Merge(_) | Sink::Jdbc(_) => Code::SINK_COLUMN_MISMATCH,
        };
        if again {
            let place = subject.sql_at(&column.at);
            let message = format!("the query gives two columns `{}`", names[at]);
            subject.problem(code, message, place, "again here", "give one of them another name by `AS`");
        }
    }
    for (name, field) in sink_columns(&query.stream.sink) {
        if names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            continue;
        }
        let field: Vec<&str> = field.iter().map(String::as_str).collect();
        let place = subject.at(&path(&field));
        let diagnostic =
            Diagnostic::new(Code::SINK_COLUMN_MISMATCH, format!("the query gives no column `{name}`"));
        subject.report(match nearest(name, names.iter().copied()) {
            Some(meant) => diagnostic.at(place, format!("did you mean `{meant}`?")),
            None => diagnostic
                .at(place, "needed here")
                .help(format!("it gives {}", crate::diag::list(names.iter().copied(), "and"))),
        });
    }
}

/// Returns the columns that a sink names, each with its field.
fn sink_columns<'s>(sink: &'s Sink) -> Vec<(&'s str, Vec<String>)> {
    let field = |path: &[&str]| path.iter().map(|&name| name.to_owned()).collect();
    let partitions = |kind: &str, columns: &'s [String]| -> Vec<(&'s str, Vec<String>)> {
        let entry = |index: usize| field(&["sink", kind, "partitionBy", &index.to_string()]);
        columns.iter().enumerate().map(|(index, column)| (column.as_str(), entry(index))).collect()
    };
    let by_keys = |kind: &str, keys: &'s [String], others: [(&str, &'s Option<String>); 2]| {
        let key = |index: usize| field(&["sink", kind, "keys", &index.to_string()]);
        let keys = keys.iter().enumerate().map(|(index, name)| (name.as_str(), key(index)));
        let others =
            others.into_iter().filter_map(|(name, it)| Some((it.as_deref()?, field(&["sink", kind, name]))));
        keys.chain(others).collect()
    };
    match sink {
        Sink::Kafka(kafka) => {
            let value =
                (kafka.format == KafkaFormat::Raw).then(|| ("value", field(&["sink", "kafka", "format"])));
            let key = kafka.key.as_deref().map(|key| (key, field(&["sink", "kafka", "key"])));
            value.into_iter().chain(key).collect()
        }
        Sink::Files(files) => partitions("files", &files.partition_by),
        Sink::Jdbc(jdbc) => by_keys("jdbc", &jdbc.keys, [("orderBy", &jdbc.order_by), ("delete", &None)]),
        Sink::Merge(merge) => {
            by_keys("merge", &merge.keys, [("orderBy", &merge.order_by), ("delete", &merge.delete)])
        }
        Sink::Table(ScalarOr::Map(table)) => partitions("table", &table.partition_by),
        Sink::Table(ScalarOr::Scalar(_)) | Sink::Console(_) => Vec::new(),
    }
}

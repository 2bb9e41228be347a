//! Checks that a stream has a streaming source, and that the columns of sources are known.

use std::collections::BTreeMap;

use dcp_model::manifest::{FileSource, KafkaFormat, KafkaSource, Source, Stream};

use super::path;
use crate::check::Subject;
use crate::diag::Code;

pub(super) fn check(subject: &mut Subject<'_>, stream: &Stream) {
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
        let place = path(&["sources", name.as_str(), source.kind()]);
        match source {
            Source::Kafka(kafka) => check_kafka(subject, kafka, &place),
            Source::Files(files) => check_files(subject, files, &place),
            Source::Table(_) | Source::Rate(_) => {}
        }
        duplicate_columns(subject, source, name.as_str(), &place);
    }
}

fn check_files(subject: &mut Subject<'_>, files: &FileSource, place: &[&str]) {
    if files.schema.is_none() && files.is_streaming() && !files.format.is_self_describing() {
        let help = "Spark does not guess the columns of a stream: add `schema: {column: type}`";
        missing(subject, "schema", "files", place, help);
    }
}

fn check_kafka(subject: &mut Subject<'_>, kafka: &KafkaSource, place: &[&str]) {
    // If both are omitted, the columns are Kafka's own.
    let is_explicit = subject.root.find([place, &["format"]].concat()).is_some();
    match kafka.format {
        KafkaFormat::Avro if kafka.avro_schema.is_none() => {
            let help = "Avro can't be read without the schema it was written by: add `avroSchema: <file>`";
            missing(subject, "avroSchema", "kafka", place, help);
        }
        KafkaFormat::Json | KafkaFormat::Csv if is_explicit && kafka.schema.is_none() => {
            let help =
                "add `schema: {column: type}`; to take `key` and `value` as they are, leave out `format`";
            missing(subject, "schema", "kafka", place, help);
        }
        KafkaFormat::Json | KafkaFormat::Csv | KafkaFormat::Avro | KafkaFormat::Text | KafkaFormat::Raw => {}
    }
}

fn missing(subject: &mut Subject<'_>, field: &str, of: &str, place: &[&str], help: &str) {
    let at = subject.key(place);
    let message = format!("`{field}` is missing from `{of}`");
    subject.problem(Code::MISSING_FIELD, message, at, format!("needs `{field}`"), help);
}

/// Reports columns that differ in case only. Spark ignores case by default.
fn duplicate_columns(subject: &mut Subject<'_>, source: &Source, name: &str, place: &[&str]) {
    let Some(columns) = source.columns() else { return };
    let sensitive = subject.manifest.spec.spark.conf.get("spark.sql.caseSensitive");
    if sensitive.is_some_and(|value| value.as_str().eq_ignore_ascii_case("true")) {
        return;
    }
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (column, _) in &columns.0 {
        let Some(first) = seen.insert(column.to_lowercase(), column) else { continue };
        let at = subject.key(&[place, &["schema", column.as_str()]].concat());
        let message = format!("`{name}` has two columns that differ by case alone, `{first}` and `{column}`");
        let help = "give one of them another name, or remove it";
        subject.problem(Code::DUPLICATE_KEY, message, at, "the same to Spark", help);
    }
}

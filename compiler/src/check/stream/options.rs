//! Reports options of sources and sinks that have a field in the manifest.

use std::collections::BTreeMap;

use dcp_model::manifest::{Scalar, ScalarOr, Sink, Source, Stream};

use super::path;
use crate::check::Subject;
use crate::diag::Code;

const KAFKA_SOURCE: &[(&str, &str)] = &[
    ("kafka.bootstrap.servers", "servers"),
    ("subscribe", "topic` or `topics"),
    ("subscribePattern", "topicPattern"),
    ("startingOffsets", "startingOffsets"),
    ("maxOffsetsPerTrigger", "maxOffsetsPerTrigger"),
    ("minOffsetsPerTrigger", "minOffsetsPerTrigger"),
    ("failOnDataLoss", "failOnDataLoss"),
];
const FILE_SOURCE: &[(&str, &str)] = &[
    ("path", "path"),
    ("maxFilesPerTrigger", "maxFilesPerTrigger"),
    ("latestFirst", "latestFirst"),
    ("cleanSource", "cleanSource"),
    ("sourceArchiveDir", "cleanSource"),
];
const KAFKA_SINK: &[(&str, &str)] = &[("kafka.bootstrap.servers", "servers"), ("topic", "topic")];
const JDBC_SINK: &[(&str, &str)] =
    &[("url", "url"), ("dbtable", "table"), ("user", "user"), ("password", "password")];
const OTHER_SINK: &[(&str, &str)] = &[("path", "path")];

pub(super) fn check(subject: &mut Subject<'_>, stream: &Stream) {
    for (name, source) in &stream.sources {
        let (kind, options, fields) = match source {
            Source::Kafka(kafka) => ("kafka", &kafka.options, KAFKA_SOURCE),
            Source::Files(files) => ("files", &files.options, FILE_SOURCE),
            Source::Table(ScalarOr::Map(table)) => ("table", &table.options, [].as_slice()),
            Source::Table(ScalarOr::Scalar(_)) | Source::Rate(_) => continue,
        };
        compare(subject, &path(&["sources", name.as_str(), kind, "options"]), options, fields);
    }
    let (kind, options, fields) = match &stream.sink {
        Sink::Kafka(kafka) => ("kafka", &kafka.options, KAFKA_SINK),
        Sink::Files(files) => ("files", &files.options, OTHER_SINK),
        Sink::Table(ScalarOr::Map(table)) => ("table", &table.options, OTHER_SINK),
        Sink::Jdbc(jdbc) => ("jdbc", &jdbc.options, JDBC_SINK),
        Sink::Table(ScalarOr::Scalar(_)) | Sink::Merge(_) | Sink::Console(_) => return,
    };
    compare(subject, &path(&["sink", kind, "options"]), options, fields);
}

fn compare(
    subject: &mut Subject<'_>,
    place: &[&str],
    options: &BTreeMap<String, Scalar>,
    fields: &[(&str, &str)],
) {
    for key in options.keys() {
        let at = || [place, &[key.as_str()]].concat();
        if key.eq_ignore_ascii_case("checkpointLocation") {
            let at = subject.key(&at());
            let help =
                "set `run.continuous.checkpoint`, or the stream's `checkpoint` where it is not continuous";
            subject.problem(
                Code::RESERVED_CONF,
                "`checkpointLocation` belongs to the platform",
                at,
                "can't be set here",
                help,
            );
        } else if let Some((_, field)) = fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)) {
            let at = subject.key(&at());
            let message = format!("`{key}` has a field of its own: `{field}`");
            subject.problem(
                Code::CONTRADICTING_CONF,
                message,
                at,
                "set here",
                format!("set `{field}`, and remove this"),
            );
        }
    }
}

//! Changes of a stream's sink.

use dcp_model::manifest::{ScalarOr, Sink, TableSink};

use super::Finding;
use crate::plan::class::Class;

/// Reports a change of the location. Returns whether the sink needs no further comparison.
pub(super) fn compare(old: &Sink, new: &Sink, findings: &mut Vec<Finding>) -> bool {
    if old.kind() != new.kind() {
        let (class, why) = cost_of_kind(old, new);
        let (old, new) = (old.kind().to_owned(), new.kind().to_owned());
        findings.push(Finding::new(&["sink"], class, why).of("kind of sink", old, new));
        return true;
    }
    let Some((field, class, why)) = cost_of_destination(new) else { return false };
    let (old, new) = (destination(old), destination(new));
    if old != new {
        findings.push(Finding::new(&field, class, why).of("where it writes", old, new));
    }
    false
}

/// Returns the cost of another kind of sink.
fn cost_of_kind(old: &Sink, new: &Sink) -> (Class, &'static str) {
    match (old, new) {
        (Sink::Files(_), Sink::Kafka(_)) => {
            (Class::Restart, "Spark's guide allows Kafka after files; it gets what comes from now on")
        }
        (Sink::Kafka(_), Sink::Files(_)) => {
            (Class::Reset, "Spark fails after some batches: files have no record of those that went to Kafka")
        }
        (Sink::Merge(_) | Sink::Jdbc(_), Sink::Files(_)) => (
            Class::Reset,
            "Spark fails after some batches: files have no record of those that were written elsewhere",
        ),
        (
            Sink::Files(_) | Sink::Kafka(_) | Sink::Merge(_) | Sink::Jdbc(_),
            Sink::Merge(_) | Sink::Jdbc(_),
        )
        | (Sink::Merge(_) | Sink::Jdbc(_), Sink::Kafka(_)) => (
            Class::Restart,
            "neither has a record of batches that it needs; the new sink gets what comes from now on",
        ),
        _ => (Class::Unknown, "Spark's guide says nothing of this sink on the other's checkpoint"),
    }
}

/// Returns the field with the destination of a sink, and the cost of another one.
fn cost_of_destination(sink: &Sink) -> Option<(Vec<&'static str>, Class, &'static str)> {
    Some(match sink {
        Sink::Files(_) => (
            vec!["sink", "files", "path"],
            Class::Reset,
            "Spark fails after some batches: the record of those before is kept at the old path",
        ),
        Sink::Kafka(_) => (
            vec!["sink", "kafka", "topic"],
            Class::Restart,
            "Spark's guide allows another topic; it gets what comes from now on",
        ),
        Sink::Table(_) => (
            vec!["sink", "table"],
            Class::Unknown,
            "Spark's guide says nothing of another table on an old checkpoint; it would get what comes from now on",
        ),
        Sink::Merge(_) | Sink::Jdbc(_) => (
            vec!["sink", sink.kind(), "table"],
            Class::Restart,
            "the checkpoint knows nothing of the table; the new one gets what comes from now on",
        ),
        Sink::Console(_) => return None,
    })
}

fn destination(sink: &Sink) -> Option<String> {
    match sink {
        Sink::Kafka(kafka) => Some(kafka.topic.as_str().to_owned()),
        Sink::Files(files) => Some(files.path.as_str().to_owned()),
        Sink::Table(table) => Some(table_name(table)),
        Sink::Merge(merge) => Some(merge.table.as_str().to_owned()),
        Sink::Jdbc(jdbc) => Some(format!("{} of {}", jdbc.table.as_str(), jdbc.url)),
        Sink::Console(_) => None,
    }
}

fn table_name(sink: &ScalarOr<TableSink>) -> String {
    match sink {
        ScalarOr::Scalar(name) => name.as_str().to_owned(),
        ScalarOr::Map(table) => table.name.as_str().to_owned(),
    }
}

//! The signs of each cause, as tables. Within a table, the first matching row decides.

use super::Cause;
use super::error::Exception;

/// Words in Spark's message about a lost executor.
const EXECUTOR_WORDS: &[(Cause, &[&str])] = &[
    (
        Cause::ExecutorContainer,
        &["OOMKilled", "for exceeding memory limits", "for exceeding physical memory limits"],
    ),
    (Cause::ExecutorHeap, &["exit code 52", "exited with code 52"]),
    (
        Cause::NodeLost,
        &[
            "decommission",
            "heartbeat timed out",
            "no recent heartbeats",
            "node was lost",
            "Evicted",
            "Preempted",
        ],
    ),
    (Cause::ExecutorLost, &[""]),
];

struct Rule {
    cause: Cause,
    /// The end of the exception's class; empty for any class of Spark's own.
    class: &'static str,
    /// A part of the exception's first line.
    text: &'static str,
}

const fn rule(cause: Cause, class: &'static str, text: &'static str) -> Rule {
    Rule { cause, class, text }
}

/// Words of Kubernetes before the right that an account lacks.
pub(super) const FORBIDDEN: &str = " is forbidden: ";

/// Exceptions that the JVM or PySpark raised.
const EXCEPTIONS: &[Rule] = &[
    rule(Cause::DriverHeap, "java.lang.OutOfMemoryError", ": Java heap space"),
    rule(Cause::DriverHeap, "java.lang.OutOfMemoryError", ": GC overhead limit exceeded"),
    rule(Cause::DriverHeap, "", "Not enough memory to build and broadcast"),
    rule(Cause::ResultTooLarge, "", "bigger than spark.driver.maxResultSize"),
    rule(Cause::IncompatibleCheckpoint, "", "[STATE_STORE_KEY_SCHEMA_NOT_COMPATIBLE]"),
    rule(Cause::IncompatibleCheckpoint, "", "[STATE_STORE_VALUE_SCHEMA_NOT_COMPATIBLE]"),
    rule(Cause::IncompatibleCheckpoint, "SchemaNotCompatible", ""),
    rule(Cause::IncompatibleCheckpoint, "", "[STREAMING_STATEFUL_OPERATOR_NOT_MATCH_IN_STATE_METADATA]"),
    rule(Cause::IncompatibleCheckpoint, "", "sources in the checkpoint offsets"),
    rule(Cause::LostOffsets, "", "[KAFKA_DATA_LOSS"),
    rule(
        Cause::LostOffsets,
        "",
        "Some data may have been lost because they are not available in Kafka any more",
    ),
    rule(Cause::LostOffsets, "OffsetOutOfRangeException", ""),
    rule(Cause::ClusterRights, "KubernetesClientException", FORBIDDEN),
    rule(Cause::AccessDenied, "AccessControlException", ""),
    rule(Cause::AccessDenied, "AccessDeniedException", ""),
    rule(Cause::AccessDenied, "S3Exception", "Status Code: 403"),
    rule(Cause::AccessDenied, "", "[INSUFFICIENT_PERMISSIONS]"),
    rule(Cause::LocationExists, "", "[LOCATION_ALREADY_EXISTS]"),
    rule(Cause::MissingData, "", "[PATH_NOT_FOUND]"),
    rule(Cause::MissingData, "", "[TABLE_OR_VIEW_NOT_FOUND]"),
    rule(Cause::MissingData, "", "[SCHEMA_NOT_FOUND]"),
    rule(Cause::MissingData, "InvalidInputException", "Input path does not exist"),
    rule(Cause::MissingData, "java.nio.file.NoSuchFileException", ""),
];

/// Returns the cause of the loss of an executor.
pub(super) fn cause_of_executor_loss(text: &str) -> Option<Cause> {
    cause_of_words(EXECUTOR_WORDS, text)
}

fn cause_of_words(table: &[(Cause, &[&str])], text: &str) -> Option<Cause> {
    table.iter().find(|(_, words)| words.iter().any(|word| text.contains(word))).map(|(cause, _)| *cause)
}

/// Returns the cause that an exception of the JVM or of PySpark names.
pub(super) fn cause_of_exception(exception: &Exception<'_>) -> Option<Cause> {
    if !exception.is_from_spark {
        return None;
    }
    if exception.in_resolution {
        return Some(Cause::Dependencies);
    }
    let class = exception.class();
    let is_spark = class.starts_with("org.apache.spark.") || class.starts_with("pyspark.errors.");
    let matches = |rule: &&Rule| {
        let of_class = if rule.class.is_empty() { is_spark } else { class.ends_with(rule.class) };
        of_class && exception.head.contains(rule.text)
    };
    EXCEPTIONS.iter().find(matches).map(|rule| rule.cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_matches_its_own_words() {
        for rule in EXCEPTIONS {
            let class = if rule.class.is_empty() { "org.apache.spark.SparkException" } else { rule.class };
            let class = if class.contains('.') { class.to_owned() } else { format!("org.apache.{class}") };
            let head = match rule.text.strip_prefix(": ") {
                Some(text) => format!("{class}: {text}"),
                None => format!("{class}: {}", rule.text),
            };
            let exception =
                Exception { head: &head, own_frame: Vec::new(), is_from_spark: true, in_resolution: false };
            assert_eq!(cause_of_exception(&exception), Some(rule.cause), "{head}");
            let of_program = Exception { is_from_spark: false, ..exception };
            assert_eq!(cause_of_exception(&of_program), None, "{head}");
        }
        for (cause, word) in
            EXECUTOR_WORDS.iter().flat_map(|(cause, words)| words.iter().map(move |it| (cause, it)))
        {
            let text = if word.is_empty() { "exited with code 1" } else { word };
            assert_eq!(cause_of_executor_loss(text), Some(*cause), "{text}");
        }
    }
}

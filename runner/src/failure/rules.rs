//! What each cause looks like. Rules are tried in their order, on all lines, and the first that fits is the cause: what
//! says more stands before what says less, and what is a consequence of many things stands last.

use super::{Cause, Evidence};

struct Rule {
    cause: Cause,
    looks: Look,
}

enum Look {
    /// A line that has all of these.
    Line(&'static [&'static str]),
    /// A line that has all of the first, and none of the second.
    LineBut(&'static [&'static str], &'static [&'static str]),
    /// How the driver itself ended.
    Exit(i32),
    Signal(i32),
}

const fn line(cause: Cause, has: &'static [&'static str]) -> Rule {
    Rule { cause, looks: Look::Line(has) }
}

/// An executor that is the driver itself is none.
const RULES: &[Rule] = &[
    line(Cause::ExecutorContainer, &["executor", "exit code 137"]),
    line(Cause::ExecutorContainer, &["exited with exit code 137", "Executor"]),
    line(Cause::ExecutorContainer, &["OOMKilled", "exec"]),
    line(Cause::ExecutorContainer, &["Lost executor", "exited with code 137"]),
    line(Cause::ExecutorHeap, &["Lost executor", "exited with code 52"]),
    line(Cause::ExecutorHeap, &["executor", "exit code 52"]),
    Rule {
        cause: Cause::ExecutorHeap,
        looks: Look::LineBut(&["Lost task", "java.lang.OutOfMemoryError"], &["executor driver"]),
    },
    line(Cause::DriverHeap, &["java.lang.OutOfMemoryError: Java heap space"]),
    line(Cause::DriverHeap, &["java.lang.OutOfMemoryError: GC overhead limit exceeded"]),
    line(Cause::ResultTooLarge, &["bigger than spark.driver.maxResultSize"]),
    Rule { cause: Cause::DriverHeap, looks: Look::Exit(52) },
    line(Cause::DriverContainer, &["OOMKilled"]),
    line(Cause::IncompatibleCheckpoint, &["STATE_STORE_", "SCHEMA_NOT_COMPATIBLE"]),
    line(Cause::IncompatibleCheckpoint, &["StateSchemaNotCompatible"]),
    line(Cause::IncompatibleCheckpoint, &["STREAMING_STATEFUL_OPERATOR_NOT_MATCH_IN_STATE_METADATA"]),
    line(Cause::IncompatibleCheckpoint, &["There are", "sources in the checkpoint offsets"]),
    line(Cause::LostOffsets, &["KAFKA_DATA_LOSS"]),
    line(
        Cause::LostOffsets,
        &["Some data may have been lost because they are not available in Kafka any more"],
    ),
    line(Cause::LostOffsets, &["OffsetOutOfRangeException"]),
    line(Cause::Dependencies, &["unresolved dependency:"]),
    line(Cause::Dependencies, &["java.lang.RuntimeException: problem during retrieve of"]),
    line(Cause::ImagePull, &["ImagePullBackOff"]),
    line(Cause::ImagePull, &["ErrImagePull"]),
    line(Cause::Scheduling, &["exceeded quota"]),
    line(Cause::Scheduling, &["FailedScheduling"]),
    line(Cause::Scheduling, &["Insufficient", "nodes are available"]),
    line(Cause::AccessDenied, &["AccessControlException"]),
    line(Cause::AccessDenied, &["AccessDeniedException"]),
    line(Cause::AccessDenied, &["Status Code: 403"]),
    line(Cause::AccessDenied, &["INSUFFICIENT_PERMISSIONS"]),
    line(Cause::MissingData, &["[PATH_NOT_FOUND]"]),
    line(Cause::MissingData, &["[TABLE_OR_VIEW_NOT_FOUND]"]),
    line(Cause::MissingData, &["[SCHEMA_NOT_FOUND]"]),
    line(Cause::MissingData, &["InvalidInputException: Input path does not exist"]),
    line(Cause::MissingData, &["The primary resource", "does not exist"]),
    line(Cause::MissingData, &["can't open file", "[Errno 2] No such file or directory"]),
    line(Cause::MissingData, &["java.nio.file.NoSuchFileException"]),
    line(Cause::ShuffleLost, &["MetadataFetchFailedException"]),
    line(Cause::ShuffleLost, &["FetchFailedException"]),
    line(Cause::NodeLost, &["Executor decommission"]),
    line(Cause::NodeLost, &["ExecutorLostFailure", "decommission"]),
    line(Cause::NodeLost, &["node was lost"]),
    line(Cause::NodeLost, &["Evicted"]),
    line(Cause::NodeLost, &["Executor heartbeat timed out"]),
    line(Cause::UserCodePython, &["Traceback (most recent call last):"]),
    line(Cause::UserCodeJvm, &["Failed to load class"]),
    line(Cause::UserCodeJvm, &["Exception in thread \"main\""]),
    Rule { cause: Cause::DriverContainer, looks: Look::Exit(137) },
    Rule { cause: Cause::DriverKilled, looks: Look::Exit(143) },
    Rule { cause: Cause::DriverKilled, looks: Look::Signal(9) },
    Rule { cause: Cause::DriverKilled, looks: Look::Signal(15) },
];

/// The first rule's cause that fits, with the lines that it fits.
pub(super) fn first(evidence: Evidence<'_>) -> Option<(Cause, Vec<&str>)> {
    RULES.iter().find_map(|rule| {
        let lines: Vec<&str> = match &rule.looks {
            Look::Line(has) => matching(evidence.log, has, &[]),
            Look::LineBut(has, lacks) => matching(evidence.log, has, lacks),
            Look::Exit(code) => {
                return (evidence.end.exit_code == Some(*code)).then(|| (rule.cause, Vec::new()));
            }
            Look::Signal(signal) => {
                return (evidence.end.signal == Some(*signal)).then(|| (rule.cause, Vec::new()));
            }
        };
        (!lines.is_empty()).then_some((rule.cause, lines))
    })
}

/// The first line that has all of some texts and none of others; more of them say nothing more.
fn matching<'a>(log: &'a str, has: &[&str], lacks: &[&str]) -> Vec<&'a str> {
    let fits =
        |line: &&str| has.iter().all(|it| line.contains(it)) && !lacks.iter().any(|it| line.contains(it));
    log.lines().filter(fits).take(1).collect()
}

#[cfg(test)]
mod tests {
    use dcp_gateway::End;
    use jiff::Timestamp;

    use super::*;

    /// A rule that another one is always before would never be anybody's cause.
    #[test]
    fn each_rule_is_the_first_for_something() {
        for rule in RULES {
            let (mut exit_code, mut signal) = (Some(1), None);
            let log = match &rule.looks {
                Look::Line(has) | Look::LineBut(has, _) => has.join(" "),
                Look::Exit(code) => {
                    exit_code = Some(*code);
                    String::new()
                }
                Look::Signal(number) => {
                    (exit_code, signal) = (None, Some(*number));
                    String::new()
                }
            };
            let at = Timestamp::UNIX_EPOCH;
            let end = End { at, succeeded: false, stopped: false, exit_code, signal, message: String::new() };
            let found = first(Evidence { end: &end, log: &log }).map(|(cause, _)| cause);
            assert_eq!(found, Some(rule.cause), "{log:?}");
        }
    }
}

//! Tests of failures and their causes: logs of a real Spark on this machine, and logs as documented by other software.

use std::collections::BTreeMap;
use std::path::Path;

use dcp_gateway::{End, Evidence};
use dcp_runner::driver_log::{Source, Splitter};
use dcp_runner::failure::{self, Cause, Remedy, diagnose};
use jiff::Timestamp;
use proptest::prelude::*;
use serde::de::DeserializeOwned;

#[derive(Debug, Clone)]
struct Case {
    name: String,
    cause: String,
    real: bool,
    end: End,
    log: String,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/failures");
    let paths =
        std::fs::read_dir(folder).expect("it exists").map(|entry| entry.expect("it can be listed").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    paths.sort();
    paths.iter().map(|path| case(path)).collect()
}

/// Reads a word of a closed list.
fn word<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_value(text.into()).expect("the word is in the list")
}

fn case(path: &Path) -> Case {
    let text = std::fs::read_to_string(path).expect("it is UTF-8 text");
    let mut lines = text.lines();
    let mut head = |name: &str| {
        let line = lines.next().expect("a case begins with what is expected");
        line.strip_prefix(&format!("# {name}: ")).expect("in this order").to_owned()
    };
    let (cause, ended, from) = (head("cause"), head("ended"), head("from"));
    let (exit_code, signal) = match ended.split_once(' ') {
        Some(("exit", code)) => (code.parse().ok(), None),
        Some(("signal", signal)) => (None, signal.parse().ok()),
        _ => (None, None),
    };
    let mut lines = lines.peekable();
    let mut optional = |name: &str| {
        let prefix = format!("# {name}: ");
        lines.next_if(|line| line.starts_with(&prefix)).map(|line| line[prefix.len()..].to_owned())
    };
    let reason = optional("reason").unwrap_or_else(|| "exited".to_owned());
    let evidence = optional("evidence").into_iter().map(|line| {
        let (source, text) = line.split_once(": ").expect("evidence has a source");
        let (source, reason) = source.split_once('/').map_or((source, None), |(a, b)| (a, Some(word(b))));
        Evidence { source: word(source), reason, text: text.to_owned() }
    });
    let evidence = evidence.collect();
    let end =
        End { reason: word(&reason), evidence, ..End::exited(Timestamp::UNIX_EPOCH, exit_code, signal) };
    let log: Vec<&str> = lines.collect();
    let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
    Case { name, cause, real: from.starts_with("Spark "), end, log: log.join("\n") }
}

#[test]
fn failures_have_the_expected_causes() {
    let mut wrong = Vec::new();
    let mut right = BTreeMap::from([(true, 0), (false, 0)]);
    let all = cases();
    for Case { name, cause, real, end, log } in &all {
        let (found, diagnosis) = diagnose(failure::Evidence { end, log });
        if found.name() == cause {
            *right.entry(*real).or_default() += 1;
        } else {
            wrong.push(format!("{name} is {cause}, and was taken for {diagnosis:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    assert!(right[&true] >= 23, "{right:?}");
}

/// Compares the reports on all failures with the stored ones.
#[test]
fn reports_on_failures_match_the_stored_ones() {
    let mut reports = Vec::new();
    for Case { name, end, log, .. } in cases() {
        let (_, diagnosis) = diagnose(failure::Evidence { end: &end, log: &log });
        reports.push(format!("{name}\n  {}", diagnosis.summary));
        reports.extend(diagnosis.evidence.iter().map(|line| format!("    {}", line.trim())));
    }
    let reports = reports.join("\n") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/failures/reports.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &reports).expect("it can be written");
    }
    assert_eq!(reports, std::fs::read_to_string(path).unwrap_or_default());
}

#[test]
fn every_cause_has_a_case() {
    let known: Vec<String> = cases().into_iter().map(|case| case.cause).collect();
    for cause in Cause::ALL {
        // The state machine reports this cause itself.
        let elsewhere = cause == Cause::Timeout;
        assert_eq!(known.iter().any(|it| it == cause.name()), !elsewhere, "{cause:?}");
        assert_eq!(
            matches!(cause.remedy(), Remedy::MoreMemory(_)),
            cause.class() == Some(dcp_model::manifest::Cause::OutOfMemory)
        );
    }
}

/// Lines that a program may print: each has the words of a cause, and none has the pattern of Spark's log.
const PRINTED: &[&str] = &[
    "Evicted 3 entries from the cache",
    "OOMKilled",
    "The executor with id 3 exited with exit code 137(SIGKILL, possible container OOM).",
    "ERROR TaskSchedulerImpl: Lost executor 4 on 10.0.0.1: Executor heartbeat timed out after 124000 ms",
    "Lost executor 4: Executor decommission: node was lost",
    "26/01/31 ERROR TaskSetManager: Task 3 in stage 4.0 failed 4 times; aborting job",
    "Caused by: java.lang.OutOfMemoryError: Java heap space",
    "java.lang.OutOfMemoryError: Java heap space",
    ": java.lang.OutOfMemoryError: Java heap space",
    "org.apache.spark.shuffle.MetadataFetchFailedException: Missing an output location for shuffle 1 partition 3",
    "ExecutorLostFailure (executor 3 exited) Reason: Command exited with code 137",
    "org.apache.spark.SparkException: Job aborted due to stage failure: exited with code 52",
    "Traceback (most recent call last):",
    "  File \"/work/main.py\", line 4, in total",
    "KeyError: 'amount'",
    "The above exception was the direct cause of the following exception:",
    "An exception was thrown from the Python worker. Please see the stack trace below.",
    "Exception in thread \"main\" java.lang.IllegalStateException: FailedScheduling",
    "ImagePullBackOff, exceeded quota, Insufficient memory, nodes are available",
    "\tat com.example.Main.main(Main.java:3)",
    "[PATH_NOT_FOUND] KAFKA_DATA_LOSS",
    "{",
    "progress:",
    "",
];

/// Returns whether a cause is outside of the program. Such failures are retried, some with more memory.
fn is_infrastructure(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::ExecutorHeap
            | Cause::DriverContainer
            | Cause::ExecutorContainer
            | Cause::ShuffleLost
            | Cause::NodeLost
            | Cause::ExecutorLost
            | Cause::DriverKilled
            | Cause::ImagePull
            | Cause::Scheduling
            | Cause::Backend
    )
}

#[test]
fn a_killed_executor_decides_over_an_exception_that_the_program_prints() {
    let all = cases();
    let case = all.iter().find(|case| case.name == "executor-python-worker-killed").expect("a known case");
    let printed = "Caused by: java.lang.OutOfMemoryError: Java heap space\nTraceback";
    let log = case.log.replacen("Traceback", printed, 1);
    let (found, _) = diagnose(failure::Evidence { end: &case.end, log: &log });
    assert_eq!(found, Cause::ExecutorContainer);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Programs may print anything between two events of Spark.
    #[test]
    fn printed_lines_never_make_an_infrastructure_failure(
        case in prop::sample::select(cases()),
        printed in prop::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![prop::sample::select(PRINTED).prop_map(str::to_owned), "\\PC{0,40}"]),
            0..12,
        ),
    ) {
        let (before, _) = diagnose(failure::Evidence { end: &case.end, log: &case.log });
        let lines: Vec<&str> = case.log.lines().collect();
        // Spark writes an event at once, so that no line comes between its lines.
        let mut splitter = Splitter::default();
        let starts = lines.iter().enumerate().filter(|(_, line)| !matches!(splitter.next(line), Source::Continued(_)));
        let places: Vec<usize> = starts.map(|(at, _)| at).chain([lines.len()]).collect();
        let mut log: Vec<(usize, &str)> = lines.iter().copied().enumerate().map(|(at, line)| (2 * at + 1, line)).collect();
        log.extend(printed.iter().map(|(at, line)| (2 * places[at.index(places.len())], line.as_str())));
        log.sort_by_key(|(at, _)| *at);
        // A printed `Caused by: …` directly after an exception of Spark has the form of that exception's own cause. Such lines are
        // left out.
        let mut splitter = Splitter::default();
        log.retain(|(at, line)| {
            let mut next = splitter.clone();
            let continues = matches!(next.next(line), Source::Continued(_)) && line.starts_with("Caused by: ");
            let is_kept = at % 2 == 1 || !continues;
            if is_kept {
                splitter = next;
            }
            is_kept
        });
        let log: Vec<&str> = log.into_iter().map(|(_, line)| line).collect();
        let (after, _) = diagnose(failure::Evidence { end: &case.end, log: &log.join("\n") });
        prop_assert!(before == after || !is_infrastructure(after), "{} became {after:?}", case.name);
    }

    #[test]
    fn any_text_has_a_cause(log in "(?s).{0,400}", code in prop::option::of(0..256), signal in prop::option::of(1..32)) {
        let at = Timestamp::UNIX_EPOCH;
        let end = End::exited(at, code, signal);
        diagnose(failure::Evidence { end: &end, log: &log });
    }
}

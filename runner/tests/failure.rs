//! Failures and their causes: what a real Spark wrote on this machine, and what documentation says that others write.

use std::collections::BTreeMap;
use std::path::Path;

use dcp_gateway::End;
use dcp_runner::failure::{Cause, Evidence, Mend, diagnose};
use jiff::Timestamp;

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
        std::fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("it can be listed").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    paths.sort();
    paths.iter().map(|path| case(path)).collect()
}

fn case(path: &Path) -> Case {
    let text = std::fs::read_to_string(path).expect("it is text");
    let mut lines = text.lines();
    let mut head = |name: &str| {
        let line = lines.next().expect("a case begins with what is expected");
        line.strip_prefix(&format!("# {name}: ")).expect("in this order").to_owned()
    };
    let (cause, ended, from) = (head("cause"), head("ended"), head("from"));
    let (how, number) = ended.split_once(' ').expect("how, and by what");
    let number: i32 = number.parse().expect("a number");
    let (exit_code, signal) = if how == "exit" { (Some(number), None) } else { (None, Some(number)) };
    let end = End {
        at: Timestamp::UNIX_EPOCH,
        succeeded: false,
        stopped: false,
        exit_code,
        signal,
        message: String::new(),
    };
    let log: Vec<&str> = lines.collect();
    let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
    Case { name, cause, real: from.starts_with("Spark "), end, log: log.join("\n") }
}

#[test]
fn failures_have_the_causes_that_they_have() {
    let mut wrong = Vec::new();
    let mut right = BTreeMap::from([(true, 0), (false, 0)]);
    let all = cases();
    for Case { name, cause, real, end, log } in &all {
        let (found, diagnosis) = diagnose(Evidence { end, log });
        if found.name() == cause {
            *right.entry(*real).or_default() += 1;
        } else {
            wrong.push(format!("{name} is {cause}, and was taken for {diagnosis:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    assert!(right[&true] >= 14, "{right:?}");
}

/// What is told of each, as people read it.
#[test]
fn what_is_said_of_a_failure() {
    let mut said = Vec::new();
    for Case { name, end, log, .. } in cases() {
        let (_, diagnosis) = diagnose(Evidence { end: &end, log: &log });
        said.push(format!("{name}\n  {}", diagnosis.summary));
        said.extend(diagnosis.evidence.iter().map(|line| format!("    {}", line.trim())));
    }
    let said = said.join("\n") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/failures/said.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &said).expect("it can be written");
    }
    assert_eq!(said, std::fs::read_to_string(path).unwrap_or_default());
}

#[test]
fn every_cause_has_a_case_or_is_found_elsewhere() {
    let known: Vec<String> = cases().into_iter().map(|case| case.cause).collect();
    for cause in Cause::ALL {
        // The machine knows of these by itself.
        let elsewhere = matches!(cause, Cause::Timeout | Cause::Backend);
        assert_eq!(known.iter().any(|it| it == cause.name()), !elsewhere, "{cause:?}");
        assert_eq!(
            matches!(cause.mend(), Mend::More(_)),
            cause.class() == Some(dcp_compiler::model::Cause::OutOfMemory)
        );
    }
}

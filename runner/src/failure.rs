//! AR: from what a failed attempt left behind to its cause, and from that to what another attempt needs.
//!
//! Causes are a closed list, rules are data (`failure/rules.rs`), and a remedy changes one setting or none.

mod cause;
mod remedy;
mod rules;
mod user_code;

use dcp_compiler::primitive::CoreEtlJob;
use dcp_compiler::secrets;
use dcp_gateway::End;

pub use cause::{Cause, Mend};

use crate::execution::{Attempt, Diagnosis};
use crate::machine::Verdict;

/// What a failed attempt left behind.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    pub end: &'a End,
    /// What the driver wrote; the end of it, where it is long.
    pub log: &'a str,
}

/// More lines than this prove nothing more.
const LINES: usize = 8;
/// A line is cut here, for people to read.
const WIDTH: usize = 400;

/// The cause of a failure, with the lines that say so.
pub fn diagnose(evidence: Evidence<'_>) -> (Cause, Diagnosis) {
    // A private key has several lines, so secrets are hidden before lines are chosen.
    let log = secrets::redact(evidence.log);
    let evidence = Evidence { log: &log, ..evidence };
    let found = rules::first(evidence);
    let (cause, mut lines) = found.unwrap_or_else(|| (Cause::Unknown, last_words(evidence.log)));
    if matches!(cause, Cause::UserCodePython | Cause::UserCodeJvm) {
        lines = user_code::lines(cause, evidence.log).unwrap_or(lines);
    }
    let detail = lines.last().filter(|_| cause.is_told_by_its_last_line()).map(|line| line.trim());
    let summary = match detail {
        Some(detail) => format!("{}: {}", cause.says(), cut(detail, 200)),
        None if lines.is_empty() || cause == Cause::Unknown => {
            format!("{}{}", cause.says(), how(evidence.end))
        }
        None => cause.says().to_owned(),
    };
    let evidence = lines.iter().take(LINES).map(|line| cut(line, WIDTH)).collect();
    (cause, Diagnosis { class: cause.class(), cause: cause.name().to_owned(), summary, evidence })
}

/// The cause, and what another attempt is to be given.
pub fn judge(evidence: Evidence<'_>, job: &CoreEtlJob, attempt: &Attempt) -> Verdict {
    let (cause, diagnosis) = diagnose(evidence);
    match remedy::remedy(cause, job, attempt) {
        Ok(remedy) => Verdict { diagnosis, remedy, hopeless: None },
        Err(why) => Verdict { diagnosis, remedy: std::collections::BTreeMap::new(), hopeless: Some(why) },
    }
}

fn how(end: &End) -> String {
    match (end.exit_code, end.signal) {
        (Some(code), _) => format!(", with exit code {code}"),
        (None, Some(signal)) => format!(", by signal {signal}"),
        (None, None) => String::new(),
    }
}

/// The last lines that are not a part of an ordinary shutdown.
fn last_words(log: &str) -> Vec<&str> {
    let told = |line: &&str| !line.trim().is_empty() && !line.contains(" INFO ");
    let mut lines: Vec<&str> = log.lines().rev().filter(told).take(LINES).collect();
    lines.reverse();
    lines
}

fn cut(line: &str, width: usize) -> String {
    match line.char_indices().nth(width) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

//! The last line of a report.

use std::io::{self, Write};

use dcp_compiler::diag::Severity;

use super::{Report, format_count, format_thousands};
use crate::out::{ERROR, GOOD, Look, WARNING};

pub(super) fn write(report: &Report<'_>, look: Look, out: &mut impl Write) -> io::Result<()> {
    let fine = report.count(Severity::Error) + report.count(Severity::Warning) == 0;
    if fine && report.quiet {
        return Ok(());
    }
    let line = if fine { good(report, look) } else { bad(report, look) };
    // The time differs from run to run, so only terminals show it.
    let time = match report.timings().total().as_secs_f64() {
        seconds if look.terminal && !report.outcome.stopped => format!(" ({seconds:.2} s)"),
        _ => String::new(),
    };
    writeln!(out, "{line}{time}")
}

fn good(report: &Report<'_>, look: Look) -> String {
    match report.outcome.compilation.manifests.count() {
        0 => look.paint(WARNING, "no manifests were found"),
        1 => look.paint(GOOD, "1 manifest is valid"),
        many => look.paint(GOOD, format!("{} manifests are valid", format_thousands(many))),
    }
}

fn bad(report: &Report<'_>, look: Look) -> String {
    let kinds = [(Severity::Error, ERROR), (Severity::Warning, WARNING)];
    let counts = kinds.into_iter().filter_map(|(severity, style)| {
        let count = report.count(severity);
        (count > 0).then(|| look.paint(style, format_count(count, severity.name())))
    });
    let counts = counts.collect::<Vec<_>>().join(", ");
    let manifests = report.outcome.compilation.manifests.count();
    let place = match report.manifests_with_problems() {
        _ if report.outcome.stopped => "; no manifest was checked".to_owned(),
        0 => format!("; {} checked", format_count(manifests, "manifest")),
        1 if manifests == 1 => " in 1 manifest".to_owned(),
        bad => format!(" in {} of {} manifests", format_thousands(bad), format_thousands(manifests)),
    };
    let denied = report.deny_warnings && report.count(Severity::Error) == 0;
    format!("{counts}{place}{}", if denied { "; warnings are denied" } else { "" })
}

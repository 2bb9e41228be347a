//! A report as JSON.

use std::io::{self, Write};

use dcp_compiler::diag::{Diagnostic, Severity};
use serde::Serialize;

use super::{Places, Position, Report};

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    summary: Summary,
    diagnostics: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Summary {
    manifests: usize,
    files: usize,
    errors: usize,
    warnings: usize,
    notes: usize,
    failed: bool,
}

#[derive(Serialize)]
struct Entry<'a> {
    code: String,
    severity: &'static str,
    title: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    labels: Vec<Label<'a>>,
    explain: String,
}

#[derive(Serialize)]
struct Label<'a> {
    path: &'a str,
    start: Position,
    end: Position,
    text: &'a str,
}

pub(super) fn write(report: &Report<'_>, out: &mut impl Write) -> io::Result<()> {
    let places = report.places();
    let document = Document {
        version: 1,
        summary: Summary {
            manifests: report.outcome.compilation.manifests.count(),
            files: report.outcome.files,
            errors: report.count(Severity::Error),
            warnings: report.count(Severity::Warning),
            notes: report.count(Severity::Note),
            failed: report.failed(),
        },
        diagnostics: report.diagnostics().map(|diagnostic| entry(diagnostic, &places)).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn entry<'a>(diagnostic: &'a Diagnostic, places: &Places<'a>) -> Entry<'a> {
    let Diagnostic { code, severity, message, labels, help } = diagnostic;
    let labels = labels.iter().map(|label| Label {
        path: places.path(label.span),
        start: places.start(label.span),
        end: places.end(label.span),
        text: &label.text,
    });
    Entry {
        code: code.to_string(),
        severity: severity.name(),
        title: code.info().title,
        message,
        help: help.as_deref(),
        labels: labels.collect(),
        explain: format!("dcp explain {code}"),
    }
}

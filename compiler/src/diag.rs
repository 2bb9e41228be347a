//! Diagnostics as plain data. Rendering is left to the callers.

pub use dcp_model::diag::{Code, CodeInfo, DottedNames, Severity, list, nearest};

use crate::source::Span;

/// A problem: its code, message, places and remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    /// The problem, in one sentence without a full stop. Names are in backticks.
    pub message: String,
    /// The first label is the place of the problem; the others are related places.
    pub labels: Vec<Label>,
    /// The remedy.
    pub help: Option<String>,
}

/// A place in a source, with an explanation, which may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub span: Span,
    pub text: String,
}

impl Diagnostic {
    /// Creates a diagnostic with the severity of its code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, severity: code.info().severity, message: message.into(), labels: Vec::new(), help: None }
    }

    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Returns the place of the problem, if it is in a source.
    pub fn primary(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Sorts diagnostics for display: by file, by position, then by code.
    pub fn sort(diagnostics: &mut [Diagnostic]) {
        diagnostics.sort_by(|a, b| {
            let key = |d: &Diagnostic| d.primary().map(|s| (s.file, s.start, s.end));
            key(a).cmp(&key(b)).then(a.code.cmp(&b.code)).then_with(|| a.message.cmp(&b.message))
        });
    }
}

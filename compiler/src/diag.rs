//! Diagnostics as plain data. Nothing here renders: the edges do, each in its own way, from these values.

pub use dcp_model::diag::{Code, CodeInfo, Dotted, Severity, list, nearest};

use crate::source::Span;

/// One problem: what is wrong, where, what was expected, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop. Names are in backticks.
    pub message: String,
    /// The first label is where the problem is; the others say what it has to do with.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
}

/// A place in a source, with what is to be said of it (which may be nothing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub span: Span,
    pub text: String,
}

impl Diagnostic {
    /// A diagnostic of the code's own severity.
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

    /// Where the problem is, if it is anywhere in a source.
    pub fn primary(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The order in which diagnostics are shown: by file, by place, then by code.
    pub fn sort(diagnostics: &mut [Diagnostic]) {
        diagnostics.sort_by(|a, b| {
            let key = |d: &Diagnostic| d.primary().map(|s| (s.file, s.start, s.end));
            key(a).cmp(&key(b)).then(a.code.cmp(&b.code)).then_with(|| a.message.cmp(&b.message))
        });
    }
}

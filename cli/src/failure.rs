//! Failures of commands, apart from diagnostics of manifests.

use std::io;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use dcp_workspace::error::reason;

use crate::out::{Console, ERROR, HELP};
use crate::render::titled;

/// The result of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    /// There are errors, or a check found a difference.
    Errors,
    /// The arguments are wrong.
    Usage,
    /// There are changes, and the exit code was requested to show that.
    Changes,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Success => ExitCode::SUCCESS,
            Verdict::Errors => ExitCode::from(1),
            Verdict::Usage | Verdict::Changes => ExitCode::from(2),
        }
    }
}

/// The failure of a command, with a remedy.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    help: Option<String>,
    pub(crate) code: Verdict,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, code: Verdict::Errors }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the message with the remedy, for a place that has one text.
    pub(crate) fn with_help(&self) -> String {
        match &self.help {
            Some(help) => format!("{}; {help}", self.message),
            None => self.message.clone(),
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: Verdict::Usage, ..Self::new(message) }
    }

    /// Creates the failure of an operation on a file.
    pub(crate) fn at(path: &Path, what: &str, error: &io::Error) -> Self {
        Self::new(format!("`{}` can't be {what}: {}", path.display(), reason(error)))
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Prints the failure. An error of that is ignored, as it can't be reported.
    pub(crate) fn print(&self, console: &mut Console) {
        let look = console.err.look;
        let _ = writeln!(console.err, "{}", titled(0, "error:", ERROR, &self.message, look));
        if let Some(help) = &self.help {
            let _ = writeln!(console.err, "{}", titled(2, "help:", HELP, help, look));
        }
        let _ = console.flush();
    }
}

impl From<dcp_workspace::Error> for Failure {
    fn from(error: dcp_workspace::Error) -> Self {
        let dcp_workspace::Error { message, help, is_usage } = error;
        Self { message, help, code: if is_usage { Verdict::Usage } else { Verdict::Errors } }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(format!("the output can't be written: {}", reason(&error)))
    }
}

//! Errors of projects on disk.

use std::io;
use std::path::Path;

/// A project or a file that can't be used, with a remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub message: String,
    pub help: Option<String>,
    /// Set if the caller named something that does not exist.
    pub is_usage: bool,
}

impl Error {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, is_usage: false }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self { is_usage: true, ..Self::new(message) }
    }

    /// Creates the error of a file operation, such as `read`.
    pub fn at(path: &Path, operation: &str, error: &io::Error) -> Self {
        Self::new(format!("`{}` can't be {operation}: {}", path.display(), reason(error)))
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Returns the error of the operating system at the end of a chain of sources.
fn innermost(error: &io::Error) -> &io::Error {
    let below = error.get_ref().and_then(|inner| inner.source()?.downcast_ref::<io::Error>());
    below.map_or(error, innermost)
}

/// Returns the text of the operating system, as part of a sentence.
pub fn reason(error: &io::Error) -> String {
    let text = innermost(error).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "for no known reason".to_owned(),
    }
}

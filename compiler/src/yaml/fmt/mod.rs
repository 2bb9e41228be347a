//! Formats YAML and preserves its comments.
//!
//! The scanner's tokens become lexemes, which contain the whole file except its white space, and the printer writes
//! new white space between them. The output therefore has no text that the source doesn't have: line breaks stay, and
//! scalars preserve their text and style. Only indentation, spacing and blank lines change.
//!
//! To guarantee that no file is damaged, the output is parsed again. If its content differs from the source, the
//! source is returned unchanged.

mod block;
mod comment;
mod level;
mod lex;
mod print;
mod same;
mod text;

use std::borrow::Cow;

use crate::diag::{Code, Diagnostic};
use crate::source::FileId;

/// The result of formatting a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Formatted {
    Text(String),
    /// The formatted text would differ from the source in content, and was discarded.
    Discarded,
}

/// Returns the formatted text of a file, or the errors that prevent parsing it.
pub fn format(file: FileId, source: &str) -> Result<String, Vec<Diagnostic>> {
    Ok(match try_format(file, source)? {
        Formatted::Text(text) => text,
        Formatted::Discarded => source.to_owned(),
    })
}

/// Formats like [`format`]. The result shows whether the formatted text was discarded.
pub fn try_format(file: FileId, source: &str) -> Result<Formatted, Vec<Diagnostic>> {
    let mut diagnostics = super::parse(file, source).diagnostics;
    if diagnostics.iter().any(stops_reading) {
        diagnostics.retain(Diagnostic::is_error);
        return Err(diagnostics);
    }
    let source = unix(source.strip_prefix('\u{feff}').unwrap_or(source));
    let text = lex::lex(&source).map(|lexemes| print::print(&lexemes, source.len()));
    Ok(match text {
        Some(text) if same::same(&source, &text) => Formatted::Text(text),
        _ => Formatted::Discarded,
    })
}

/// Returns whether an error prevents building a tree. Other diagnostics are about the content of the tree.
fn stops_reading(diagnostic: &Diagnostic) -> bool {
    diagnostic.is_error() && !matches!(diagnostic.code, Code::DUPLICATE_KEY | Code::AMBIGUOUS_SCALAR)
}

/// Converts all line breaks to line feeds. To YAML, all kinds of line breaks are equal, in scalars too.
fn unix(source: &str) -> Cow<'_, str> {
    if source.contains('\r') {
        return Cow::Owned(source.replace("\r\n", "\n").replace('\r', "\n"));
    }
    Cow::Borrowed(source)
}

//! Formats YAML and keeps its comments.
//!
//! The scanner's tokens become lexemes, which together hold all of a file but its white space, and the printer puts
//! new white space between them. So nothing is ever written that does not stand in the source: lines are broken where
//! they were, and scalars keep their text and style. What changes is indentation, spacing and blank lines.
//!
//! A formatter that damages a file is worse than none. So what is printed is read again, and where it does not say
//! the same as the source, the source is kept as it is.

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

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Formatted {
    Text(String),
    /// The formatted text would not have said the same as the source, so there is none.
    Kept,
}

/// The text of a file as it should look, or what keeps it from being read.
pub fn format(file: FileId, source: &str) -> Result<String, Vec<Diagnostic>> {
    Ok(match attempt(file, source)? {
        Formatted::Text(text) => text,
        Formatted::Kept => source.to_owned(),
    })
}

/// As [`format`], for those who want to know whether the source had to be kept.
pub fn attempt(file: FileId, source: &str) -> Result<Formatted, Vec<Diagnostic>> {
    let mut diagnostics = super::parse(file, source).diagnostics;
    if diagnostics.iter().any(stops_reading) {
        diagnostics.retain(Diagnostic::is_error);
        return Err(diagnostics);
    }
    let source = unix(source.strip_prefix('\u{feff}').unwrap_or(source));
    let text = lex::lex(&source).map(|lexemes| print::print(&lexemes, source.len()));
    Ok(match text {
        Some(text) if same::same(&source, &text) => Formatted::Text(text),
        _ => Formatted::Kept,
    })
}

/// Whether a tree can't be made from the file; the other diagnostics are about what the tree says.
fn stops_reading(diagnostic: &Diagnostic) -> bool {
    diagnostic.is_error() && !matches!(diagnostic.code, Code::DUPLICATE_KEY | Code::AMBIGUOUS_SCALAR)
}

/// With line feeds only. YAML reads every kind of line break as one, in scalars too.
fn unix(source: &str) -> Cow<'_, str> {
    match source.contains('\r') {
        true => Cow::Owned(source.replace("\r\n", "\n").replace('\r', "\n")),
        false => Cow::Borrowed(source),
    }
}

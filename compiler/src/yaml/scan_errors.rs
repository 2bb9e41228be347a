//! Diagnostics for errors of the parser.

use granit_parser::{ErrorKind, ScanError};

use super::{index, messages};
use crate::diag::{Code, Diagnostic};
use crate::source::{FileId, Span};

pub(super) fn scan_error(file: FileId, text: &str, error: &ScanError) -> Diagnostic {
    let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    let span = |range: std::ops::Range<usize>| Span::new(file, index(range.start), index(range.end));
    let rest = text[at..].chars().next();
    let next = span(at..at + rest.filter(|c| *c != '\n').map_or(0, char::len_utf8));
    let kind = error.kind();
    let about_tabs = matches!(
        kind,
        ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInPlainScalar
            | ErrorKind::TabNotAllowed
    );
    if let Some(tabs) = indented_by_tabs(text, at, about_tabs) {
        return tab(span(tabs));
    }
    if about_tabs {
        return tab(next);
    }
    let (message, help) = messages::describe(kind);
    let (code, label) = match kind {
        ErrorKind::RecursionLimitExceeded => (Code::TOO_COMPLEX, ""),
        _ => (Code::SYNTAX, "the YAML can't be read from here on"),
    };
    Diagnostic::new(code, message).at(next, label).help(help)
}

fn tab(at: Span) -> Diagnostic {
    Diagnostic::new(Code::TAB_INDENTATION, "a tab is used for indentation")
        .at(at, "YAML is indented by spaces")
        .help("replace the tab by spaces; most editors do it for a whole file")
}

/// Returns the tabs in the indentation of the line of an error. Errors about tabs may be reported before their line
/// is reached, at the end of the previous token.
fn indented_by_tabs(text: &str, at: usize, look_ahead: bool) -> Option<std::ops::Range<usize>> {
    let mut start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    for line in text[start..].split_inclusive('\n').take(if look_ahead { usize::MAX } else { 1 }) {
        let indentation = line.len() - line.trim_start_matches([' ', '\t']).len();
        let blank = line.trim().is_empty();
        if let Some(first) = line[..indentation].find('\t').filter(|_| !blank) {
            let tabs = line[first..indentation].bytes().take_while(|byte| *byte == b'\t').count();
            return Some(start + first..start + first + tabs);
        }
        start += line.len();
    }
    None
}

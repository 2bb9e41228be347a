//! Errors that are certain for all versions of Spark. They are searched only in texts that could not be parsed.

mod brackets;
mod clauses;
mod keywords;

use std::ops::Range;

use super::Reading;
use super::scan::{Kind, Piece, Unterminated, scan};
use crate::diag::nearest;

/// Returns the certain error of a text that could not be parsed at a place, if there is one.
pub(super) fn find(sql: &str, at: &Range<u32>) -> Option<Reading> {
    // Spark replaces variables by arbitrary text.
    if sql.contains("${") {
        return None;
    }
    let pieces = match scan(sql) {
        Ok(pieces) => pieces,
        Err(unterminated) => return unterminated_error(&unterminated),
    };
    if pieces.iter().all(|piece| piece.is_symbol(";")) {
        return Some(malformed(0..length(sql), "the SQL is empty", None));
    }
    if let Some(found) = brackets::find(&pieces) {
        return Some(found);
    }
    let scripting = pieces.iter().any(|piece| piece.is("BEGIN"));
    let mut statements = pieces
        .split(|piece| piece.is_symbol(";"))
        .filter(|statement| !statement.is_empty())
        .enumerate()
        .peekable();
    while let Some((index, statement)) = statements.next() {
        // Inside a compound statement, other words can begin a statement.
        let nested = scripting && index > 0;
        let next = statements.peek().and_then(|(_, next)| next.first());
        let failed = next.is_none_or(|next| at.start < next.at.start);
        let found = (!nested).then(|| start(statement)).flatten();
        let found = found.or_else(|| clauses::find(statement));
        let misspelt = || failed.then(|| clauses::misspelt(statement, at)).flatten();
        if let Some(found) = found.or_else(misspelt) {
            return Some(found);
        }
        if failed {
            return None;
        }
    }
    None
}

/// Returns whether a quote, a comment or a bracket is not closed.
pub(super) fn is_open(sql: &str) -> bool {
    scan(sql).map_or(true, |pieces| brackets::find(&pieces).is_some())
}

fn unterminated_error(unterminated: &Unterminated) -> Option<Reading> {
    let (at, what, end) = match unterminated {
        Unterminated::String(at) => (at, "string", "quote"),
        Unterminated::Name(at) => (at, "back-quoted name", "backtick"),
        Unterminated::Comment(at) => (at, "comment", "`*/`"),
        Unterminated::Uncertain => return None,
    };
    let message = format!("the {what} that begins here never ends");
    let help = format!("close it with a matching {end}");
    Some(malformed(at.clone(), &message, Some(help)))
}

/// Reports a word that can't begin a statement.
fn start(statement: &[Piece<'_>]) -> Option<Reading> {
    let first = statement.iter().find(|piece| piece.text != "(")?;
    let label = statement.get(1).is_some_and(|second| second.is_symbol(":"));
    if first.kind != Kind::Word || label || first.is_any(keywords::STATEMENT_STARTS) {
        return None;
    }
    let help = nearest(first.text, keywords::STATEMENT_STARTS.iter().copied())
        .map(|near| format!("did you mean `{near}`?"));
    let message = format!("`{}` does not begin a statement", first.text);
    Some(malformed(first.at.clone(), &message, help))
}

fn malformed(at: Range<u32>, message: &str, help: Option<String>) -> Reading {
    Reading::Malformed { at, message: message.to_owned(), help }
}

fn length(sql: &str) -> u32 {
    u32::try_from(sql.len()).unwrap_or(u32::MAX)
}

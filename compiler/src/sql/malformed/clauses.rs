//! Finds clauses that are truncated, duplicated or misspelt.

use std::ops::Range;

use super::super::Reading;
use super::super::scan::{Kind, Piece};
use super::{keywords, malformed};

/// Operators that need a right operand.
const OPERATORS: &[&str] = &[
    "+", "-", "/", "%", "=", "==", "<", ">", "<=", ">=", "<>", "!=", "<=>", "||", "&", "|", "^", "~", "->",
    "=>", "::", ":", ".", ",", "|>",
];

pub(super) fn find(statement: &[Piece<'_>]) -> Option<Reading> {
    truncated(statement).or_else(|| lone_comma(statement)).or_else(|| consecutive_clauses(statement))
}

/// Reports the end of the text, or a closing bracket, where something must follow.
fn truncated(statement: &[Piece<'_>]) -> Option<Reading> {
    let (last, before) = statement.split_last()?;
    let need = match last.kind {
        Kind::Symbol if OPERATORS.contains(&last.text) => "something after it",
        Kind::Word if is_keyword(last, before.last(), None) => {
            keywords::NEEDS.iter().find(|(word, _)| last.is(word)).map(|(_, need)| *need)?
        }
        _ => return None,
    };
    let message = format!("unexpected end of the SQL: `{}` needs {need}", last.text);
    Some(malformed(last.at.clone(), &message, None))
}

fn lone_comma(statement: &[Piece<'_>]) -> Option<Reading> {
    statement.iter().enumerate().find_map(|(index, comma)| {
        let next = statement.get(index + 1)?;
        let stray = next.kind == Kind::Close
            || next.is_symbol(",")
            || next.is_any(keywords::AFTER_LIST) && begins_clause(next, statement.get(index + 2));
        if !comma.is_symbol(",") || !stray {
            return None;
        }
        let message = format!("there is nothing between this `,` and `{}`", next.text);
        let help = "remove the comma, or write what is missing after it".to_owned();
        Some(malformed(comma.at.clone(), &message, Some(help)))
    })
}

fn consecutive_clauses(statement: &[Piece<'_>]) -> Option<Reading> {
    statement.windows(2).enumerate().find_map(|(index, pair)| {
        let [first, second] = pair else { return None };
        let (_, never) = keywords::FORBIDDEN_NEXT.iter().find(|(word, _)| first.is(word))?;
        let before = index.checked_sub(1).and_then(|it| statement.get(it));
        let after = statement.get(index + 2);
        let wrong =
            second.is_any(never) && is_keyword(first, before, Some(second)) && begins_clause(second, after);
        if !wrong {
            return None;
        }
        let need = keywords::NEEDS.iter().find(|(word, _)| first.is(word));
        let message = format!(
            "`{}` needs {} before `{}`",
            first.text,
            need.map_or("something", |(_, need)| need),
            second.text
        );
        Some(malformed(first.at.start..second.at.end, &message, None))
    })
}

/// Returns whether a word that could be a name is a keyword in its place.
fn is_keyword(piece: &Piece<'_>, before: Option<&Piece<'_>>, after: Option<&Piece<'_>>) -> bool {
    let named = before.is_some_and(|it| it.is("AS") || it.is_symbol(".") || it.is_symbol(":"));
    let used = after.is_some_and(|it| it.kind == Kind::Symbol || it.text == "[");
    piece.kind == Kind::Word && !named && !used
}

/// Returns whether this word begins a clause, and is not a name.
fn begins_clause(piece: &Piece<'_>, after: Option<&Piece<'_>>) -> bool {
    let Some(after) = after else { return true };
    if piece.is_any(&["GROUP", "ORDER"]) {
        return after.is("BY");
    }
    let operand = matches!(after.kind, Kind::Number | Kind::Quoted)
        || after.text == "("
        || after.kind == Kind::Word
            && !after.is_any(&["AS", "IS", "IN", "LIKE", "BETWEEN", "NOT", "AND", "OR"]);
    operand && !(after.kind == Kind::Word && keywords::is_clause(after.text))
        || piece.is_any(&["AND", "OR", "THEN", "ELSE"]) && after.kind != Kind::Symbol
}

/// Reports a misspelt clause in a place where it would be parsed as an alias.
pub(super) fn misspelt(statement: &[Piece<'_>], failed: &Range<u32>) -> Option<Reading> {
    let index = statement.iter().position(|piece| piece.at.start >= failed.start).unwrap_or(statement.len());
    let before = index.checked_sub(1);
    before
        .into_iter()
        .chain([index])
        .chain(index.checked_sub(2))
        .find_map(|index| clause(statement, index).or_else(|| select(statement, index)))
}

fn clause(statement: &[Piece<'_>], index: usize) -> Option<Reading> {
    let word = statement.get(index)?;
    let before = statement.get(index.checked_sub(1)?)?;
    let after = statement.get(index + 1)?;
    if word.kind != Kind::Word || keywords::is_known(word.text) || !ends_operand(before) {
        return None;
    }
    let (meant, _) = keywords::CLAUSES
        .iter()
        .filter(|(clause, _)| is_similar(word.text, clause))
        .filter(|(clause, by)| fits(statement, index, clause) && *by == after.is("BY"))
        .filter(|(_, by)| *by || begins_operand(after))
        .min_by_key(|(clause, _)| distance(word.text, clause))?;
    Some(did_you_mean(word, meant))
}

/// Reports `(SELCT a`: two consecutive words after a bracket.
fn select(statement: &[Piece<'_>], index: usize) -> Option<Reading> {
    let word = statement.get(index)?;
    let before = statement.get(index.checked_sub(1)?)?;
    let after = statement.get(index + 1)?;
    let wrong = before.text == "("
        && word.kind == Kind::Word
        && !word.is("SELECT")
        && is_similar(word.text, "SELECT")
        && after.kind == Kind::Word
        && !keywords::is_known(after.text);
    wrong.then(|| did_you_mean(word, "SELECT"))
}

fn did_you_mean(word: &Piece<'_>, meant: &str) -> Reading {
    let message = format!("`{}` is not known at this place", word.text);
    let help = format!("did you mean `{meant}`?");
    malformed(word.at.clone(), &message, Some(help))
}

/// Returns whether the clause is still missing at this level of brackets. If so, a similar name is not just an alias.
fn fits(statement: &[Piece<'_>], index: usize, clause: &str) -> bool {
    let Some(word) = statement.get(index) else {
        return false;
    };
    let level = |piece: &&Piece<'_>| piece.depth == word.depth;
    let mut so_far = statement
        .iter()
        .take(index)
        .rev()
        .take_while(|piece| piece.depth >= word.depth)
        .filter(level)
        .take_while(|piece| !piece.is("SELECT"));
    let selected = statement.iter().take(index).any(|piece| level(&piece) && piece.is("SELECT"));
    match clause {
        "JOIN" => so_far.any(|piece| piece.is("FROM")),
        "FROM" => selected && !so_far.any(|piece| piece.is("FROM")),
        // These clauses need a table before them.
        _ => {
            let words: Vec<&Piece<'_>> = so_far.collect();
            words.iter().any(|piece| piece.is("FROM")) && !words.iter().any(|it| it.is(clause))
        }
    }
}

fn ends_operand(piece: &Piece<'_>) -> bool {
    match piece.kind {
        Kind::Word => !keywords::is_known(piece.text),
        Kind::Number | Kind::Quoted | Kind::Close => true,
        Kind::Symbol => piece.text == "*",
        Kind::Open => false,
    }
}

fn begins_operand(piece: &Piece<'_>) -> bool {
    match piece.kind {
        Kind::Word => !keywords::is_known(piece.text),
        Kind::Number | Kind::Quoted => true,
        Kind::Open => piece.text == "(",
        Kind::Close | Kind::Symbol => false,
    }
}

fn is_similar(word: &str, clause: &str) -> bool {
    // In a word of four letters, two edits leave too little.
    let limit = if clause.len() < 5 { 1 } else { 2 };
    distance(word, clause) <= limit
}

fn distance(word: &str, clause: &str) -> usize {
    if word.len() > 2 * clause.len() {
        return usize::MAX;
    }
    strsim::osa_distance(&word.to_uppercase(), clause)
}

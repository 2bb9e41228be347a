//! Facts of a Spark SQL text as plain data: the tables that it reads and writes, and the shape of its queries as far
//! as it matters to Structured Streaming.
//!
//! The module does not depend on manifests or diagnostics. All places are ranges of bytes of the text.

mod bounds;
mod canonical;
mod children;
mod clauses;
mod columns;
mod dialect;
mod execute;
mod facts;
mod functions;
mod grouping;
mod item;
mod join;
mod layout;
mod literals;
mod malformed;
mod names;
mod pipes;
mod pivot;
mod relations;
mod rewrite;
mod scan;
mod script;
mod select;
mod tokens;
mod uses;
mod walk;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub use facts::{
    Alias, Bound, Call, Clause, ClauseKind, Column, ColumnRef, EventWindow, Facts, Form, Join, JoinKind,
    Level, Operand, Parameter, Pivot, QueryShape, Relation, SetOperation, Side, StatementFacts,
    StatementKind, TableRef, TableUse, Text, UnsupportedForm, WindowKind,
};

pub use uses::{Statement as StatementUses, Unsupported, uses};

use sqlparser::ast::Statement;
use sqlparser::parser::{Parser, ParserError};

use dialect::Spark;
use layout::Layout;

/// Maximum nesting. It is deep enough for realistic queries, and limits the stack of the parser.
const MAX_NESTING: usize = 50;

/// The result of reading a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The text was understood.
    Known(Box<Facts>),
    /// The text is invalid in all versions of Spark.
    Malformed { at: Range<u32>, message: String, help: Option<String> },
    /// The text could not be parsed here, but Spark may accept it. Lineage and state are unknown.
    Unknown { at: Range<u32>, reason: String },
}

/// The requested detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The statements, and the tables that they read and write.
    Lineage,
    /// The shapes of the queries, too.
    Shape,
}

/// The reason why a text could not be parsed. It is not decided yet whether the text is invalid.
struct Failure {
    at: Range<u32>,
    reason: String,
}

impl Failure {
    fn new(at: Range<u32>, reason: &str) -> Self {
        let reason = reason.to_owned();
        Self { at, reason }
    }
}

/// Reads a script of one or more statements.
pub fn read(sql: &str, detail: Detail) -> Reading {
    match facts(sql, detail) {
        Ok(facts) => Reading::Known(Box::new(facts)),
        Err(Failure { at, reason }) => malformed::find(sql, &at).unwrap_or(Reading::Unknown { at, reason }),
    }
}

/// Returns the ranges of a script's statements, without their semicolons.
///
/// A block of `BEGIN` and `END`, which Spark runs as a whole, is one statement. A text without tokens is one
/// statement, too.
pub fn statements(sql: &str) -> Vec<Range<usize>> {
    let whole = || vec![range_in(sql, sql.trim())];
    let Some(tokens) = tokens::of(sql, &Spark { versions: false }) else { return whole() };
    let statements = Layout::of(&tokens).statements;
    let mut ranges: Vec<Range<usize>> =
        statements.iter().map(|at| at.start as usize..at.end as usize).collect();
    if ranges.iter().any(|range| sql.get(range.clone()).is_none()) {
        return whole();
    }
    let block = ranges.iter().position(|range| {
        let text = &sql[range.clone()];
        let first = text.split(|it: char| !it.is_ascii_alphanumeric()).next().unwrap_or_default();
        first.eq_ignore_ascii_case("begin")
    });
    if let Some(block) = block {
        let begin = ranges[block].start;
        ranges.truncate(block);
        ranges.push(range_in(sql, sql[begin..].trim_end().trim_end_matches(';')));
    }
    ranges
}

/// Returns the range of a part of a text.
fn range_in(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

fn facts(sql: &str, detail: Detail) -> Result<Facts, Failure> {
    let parsed = parse(sql, &Spark { versions: false }).or_else(|failure| {
        let versions = sql.to_ascii_lowercase().contains(" as of ");
        let again = versions.then(|| parse(sql, &Spark { versions }).ok());
        again.flatten().ok_or(failure)
    })?;
    if parsed.statements.is_empty() && parsed.block.is_none() {
        return Err(Failure::new(whole(sql), "there is no statement in it"));
    }
    let mut facts = script::facts(parsed, detail)
        .ok_or_else(|| Failure::new(whole(sql), "it joins too many tables to be followed here"))?;
    for unsupported in facts.unsupported_forms.iter_mut().filter(|unsupported| unsupported.at.is_empty()) {
        unsupported.at = string_from(sql, unsupported.at.start as usize);
    }
    // A script can change the setting by which these texts are names.
    if sql.to_ascii_lowercase().contains("doublequotedidentifiers") {
        facts.unsupported_forms.retain(|unsupported| unsupported.form != Form::DoubleQuotedName);
    }
    Ok(facts)
}

/// A parsed text.
struct Parsed {
    statements: Vec<Statement>,
    layout: Layout,
    /// The index of the first statement in a block of `BEGIN` and `END`, if there is one. All further statements are
    /// in it.
    block: Option<usize>,
}

fn parse(sql: &str, dialect: &Spark) -> Result<Parsed, Failure> {
    if u32::try_from(sql.len()).is_err() {
        return Err(Failure::new(0..0, "the text is larger than 4 GiB"));
    }
    let unknown = || Failure::new(whole(sql), "the text has a character that is not known here");
    let tokens = tokens::of(sql, dialect).ok_or_else(unknown)?;
    let layout = Layout::of(&tokens);
    if let Some(at) = &layout.too_deep {
        return Err(Failure::new(
            at.clone(),
            "the expression is too long or too deeply nested to be read here",
        ));
    }
    let parsed = |tokens| {
        Parser::new(dialect)
            .with_recursion_limit(MAX_NESTING)
            .with_tokens_with_locations(tokens)
            .parse_statements()
    };
    let first = match rewrite::is_needed(&tokens, &layout) {
        true => None,
        false => match parsed(tokens) {
            Ok(statements) => return Ok(Parsed { statements, layout, block: None }),
            Err(error) => Some(error),
        },
    };
    let tokens = tokens::of(sql, dialect).ok_or_else(unknown)?;
    let expressions = rewrite::expressions(&tokens);
    let script = rewrite::flattened(&expressions);
    let (expressions, block) = match script {
        Some(script) => (script.tokens, Some(script.before)),
        None => (expressions, None),
    };
    let commands = rewrite::commands(&expressions);
    let statements = parsed(expressions).or_else(|error| {
        // Only a part of a command is parsed, so brackets and quotes in the rest are checked separately.
        parsed(commands).ok().filter(|_| !malformed::is_open(sql)).ok_or(error)
    });
    match statements {
        Ok(statements) => Ok(Parsed { statements, layout, block }),
        Err(error) => Err(failure(sql, &first.unwrap_or(error))),
    }
}

/// Returns the first string at or after an offset.
fn string_from(sql: &str, offset: usize) -> Range<u32> {
    let rest = sql.get(offset..).unwrap_or_default();
    let found = rest.find(['"', '\'']).and_then(|start| {
        let quote = rest[start..].chars().next()?;
        let length = rest[start + 1..].find(quote)? + 2;
        Some(offset + start..offset + start + length)
    });
    let found = found.unwrap_or(offset..offset);
    let index = |it| u32::try_from(it).unwrap_or(u32::MAX);
    index(found.start)..index(found.end)
}

fn failure(sql: &str, error: &ParserError) -> Failure {
    match error {
        ParserError::RecursionLimitExceeded => {
            Failure { at: whole(sql), reason: "the text is too deeply nested to be read here".to_owned() }
        }
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => located(sql, text),
    }
}

/// Returns the failure for an error of the parser. Its place is only in the message, as a line and a column, and the
/// columns are offsets, like those of all [tokens].
fn located(sql: &str, text: &str) -> Failure {
    let (what, place) = text.rsplit_once(" at Line: ").unwrap_or((text, ""));
    let offset = place
        .rsplit_once("Column: ")
        .and_then(|(_, column)| column.trim().parse::<usize>().ok())
        .and_then(|column| column.checked_sub(1))
        .unwrap_or(sql.len());
    let at = scan::word_at(sql, offset);
    let found = sql.get(at.start as usize..at.end as usize).filter(|found| !found.is_empty());
    let reason = match (what.strip_prefix("Expected: "), found) {
        (Some(_), None) => "the reader expects more before the end of the text".to_owned(),
        (Some(_), Some(found)) => format!("the reader does not know `{found}` at this place"),
        // Other messages of the parser are about its internals.
        (None, Some(found)) => format!("the reader can't go on from `{found}`"),
        (None, None) => "the reader can't make sense of the end of the text".to_owned(),
    };
    Failure { at, reason }
}

fn whole(sql: &str) -> Range<u32> {
    0..u32::try_from(sql.len()).unwrap_or(u32::MAX)
}

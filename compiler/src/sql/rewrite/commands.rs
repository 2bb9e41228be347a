//! Rewrites statements of which only the names of tables and the query matter.

use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{is_word, keyword};

/// A statement that neither reads nor writes rows.
struct CommandForm {
    first: &'static str,
    /// The possible second words. If empty, any word.
    second: &'static [&'static str],
    /// A statement of the same kind that the parser supports.
    like: &'static str,
}

const fn form(first: &'static str, second: &'static [&'static str], like: &'static str) -> CommandForm {
    CommandForm { first, second, like }
}

const SETTING: &str = "SET x = 1";
const LISTING: &str = "SHOW TABLES";
const DEFINITION: &str = "DROP TABLE x";
/// Objects that can be created or changed, except tables and views.
const DEFINED: &[&str] = &["CATALOG", "DATABASE", "FUNCTION", "INDEX", "NAMESPACE", "SCHEMA", "VARIABLE"];

const COMMANDS: &[CommandForm] = &[
    form("ADD", &["ARCHIVE", "ARCHIVES", "FILE", "FILES", "JAR", "JARS"], LISTING),
    form("ALTER", &["DATABASE", "NAMESPACE", "SCHEMA", "TABLE", "VIEW"], DEFINITION),
    form("ANALYZE", &["TABLE", "TABLES"], LISTING),
    form("CLEAR", &["CACHE"], LISTING),
    form("COMMENT", &["ON"], DEFINITION),
    form("DECLARE", &[], LISTING),
    form("DESC", &[], LISTING),
    form("DESCRIBE", &[], LISTING),
    form(
        "DROP",
        &[
            "CATALOG",
            "DATABASE",
            "FUNCTION",
            "INDEX",
            "NAMESPACE",
            "SCHEMA",
            "TABLE",
            "TEMP",
            "TEMPORARY",
            "VARIABLE",
            "VIEW",
        ],
        DEFINITION,
    ),
    form("LIST", &["ARCHIVE", "ARCHIVES", "FILE", "FILES", "JAR", "JARS"], LISTING),
    form("MSCK", &["REPAIR"], DEFINITION),
    form("REFRESH", &[], LISTING),
    form("REPAIR", &["TABLE"], DEFINITION),
    form("RESET", &[], SETTING),
    form("SET", &[], SETTING),
    form("SHOW", &[], LISTING),
    form("UNCACHE", &["TABLE"], LISTING),
    form("USE", &[], LISTING),
];

/// Rewrites all statements that are commands. A block of `BEGIN` and `END` that could not be flattened stays
/// unchanged.
pub(in crate::sql) fn commands(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    if tokens.iter().any(|token| keyword(token) == Keyword::BEGIN) {
        return tokens.to_vec();
    }
    let statements = tokens.split_inclusive(|token| token.token == Token::SemiColon);
    statements.flat_map(|statement| command(statement).unwrap_or_else(|| statement.to_vec())).collect()
}

fn command(statement: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    let (first, rest) = statement.split_first()?;
    let end = rest.last().filter(|last| last.token == Token::SemiColon).cloned();
    let mut rewritten = match keyword(first) {
        Keyword::CREATE | Keyword::REPLACE => created(statement)?,
        Keyword::INSERT => inserted(statement)?,
        Keyword::EXPLAIN => explained(statement)?,
        Keyword::FROM | Keyword::WITH => multi_insert(statement)?,
        _ => {
            let form = COMMANDS.iter().find(|it| is_word(first, it.first))?;
            let second = |token: &TokenWithSpan| form.second.iter().any(|word| is_word(token, word));
            if !form.second.is_empty() && !rest.first().is_some_and(second) {
                return None;
            }
            // The lineage of a query in the command would be lost.
            let described = form.first.starts_with("DESC");
            let query = |token: &TokenWithSpan| keyword(token) == Keyword::SELECT;
            match form.first {
                "SET" | "DECLARE" if rest.iter().any(is_query) => computed(statement)?,
                _ if !described && rest.iter().any(query) => return None,
                _ => word_tokens(form.like, first),
            }
        }
    };
    rewritten.extend(end);
    Some(rewritten)
}

fn is_query(token: &TokenWithSpan) -> bool {
    matches!(keyword(token), Keyword::SELECT | Keyword::FROM)
}

/// Rewrites `SET VAR (x, y) = (SELECT …)` and `DECLARE x INT DEFAULT (SELECT …)` to `EXPLAIN`, which reads and
/// returns no rows.
fn computed(statement: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    let value = statement.iter().position(|it| it.token == Token::Eq || keyword(it) == Keyword::DEFAULT)? + 1;
    let end = statement.iter().position(|it| it.token == Token::SemiColon).unwrap_or(statement.len());
    let mut rewritten = word_tokens("EXPLAIN SELECT", statement.first()?);
    rewritten.extend_from_slice(statement.get(value..end)?);
    Some(rewritten)
}

/// Returns tokens of plain words, all at the place of one token.
pub(super) fn word_tokens(text: &str, at: &TokenWithSpan) -> Vec<TokenWithSpan> {
    let token = |word: &str| match word {
        "=" => Token::Eq,
        "1" => Token::Number(word.to_owned(), false),
        _ => Token::make_keyword(word),
    };
    text.split(' ').map(|word| TokenWithSpan { token: token(word), span: at.span }).collect()
}

/// Rewrites `CREATE TABLE t … AS SELECT …` without the clauses between the name and the query.
fn created(statement: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    let first = statement.first()?;
    let head = statement.iter().take_while(|token| {
        matches!(keyword(token), Keyword::CREATE | Keyword::OR | Keyword::REPLACE | Keyword::EXTERNAL)
            || is_temporary(token)
    });
    let kind = head.count();
    let temporary = statement.iter().take(kind).any(is_temporary);
    let what = match keyword(statement.get(kind)?) {
        Keyword::TABLE if temporary => return None,
        Keyword::TABLE => "CREATE TABLE",
        Keyword::VIEW if temporary => "CREATE TEMPORARY VIEW",
        Keyword::VIEW => "CREATE VIEW",
        _ => {
            let defined = DEFINED.iter().any(|word| statement.get(kind).is_some_and(|it| is_word(it, word)));
            return defined.then(|| word_tokens(DEFINITION, first));
        }
    };
    let name = name(statement, kind + 1)?;
    let query = query(statement, name.end);
    // It reads the table after `LIKE`.
    if query.is_none() && statement.iter().any(|token| keyword(token) == Keyword::LIKE) {
        return None;
    }
    let mut rewritten = word_tokens(what, first);
    rewritten.extend_from_slice(&statement[name]);
    match query {
        Some(query) => {
            rewritten.extend(word_tokens("AS", first));
            rewritten.extend_from_slice(&statement[query]);
        }
        // The view is not defined by SQL, but for example by a path.
        None if temporary => rewritten.extend(word_tokens("AS SELECT 1", first)),
        None => return Some(word_tokens(DEFINITION, first)),
    }
    Some(rewritten)
}

/// Rewrites `EXPLAIN FORMATTED …` without the mode.
fn explained(statement: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    let modes = ["CODEGEN", "COST", "EXTENDED", "FORMATTED"];
    let mode = statement.get(1).is_some_and(|it| modes.iter().any(|mode| is_word(it, mode)));
    let inner = statement.get(1 + usize::from(mode)..)?;
    // Spark can't explain `EXPLAIN`, and this function must not recurse.
    if keyword(inner.first()?) == Keyword::EXPLAIN {
        return None;
    }
    let end = inner.iter().position(|it| it.token == Token::SemiColon).unwrap_or(inner.len());
    let inner = &inner[..end];
    let mut rewritten = vec![statement.first()?.clone()];
    rewritten.extend(command(inner).unwrap_or_else(|| inner.to_vec()));
    Some(rewritten)
}

/// Rewrites `INSERT INTO t … SELECT …` without the clauses between the name and the query.
fn inserted(statement: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    let into = statement.iter().position(|it| matches!(keyword(it), Keyword::INTO | Keyword::OVERWRITE))?;
    let table = statement.get(into + 1).is_some_and(|it| keyword(it) == Keyword::TABLE);
    let name = name(statement, into + 1 + usize::from(table))?;
    let query = query(statement, name.end)?;
    let between = statement.get(name.end..query.start).unwrap_or_default();
    if between.iter().any(|token| keyword(token) == Keyword::SELECT) {
        return None;
    }
    let mut rewritten = word_tokens("INSERT INTO", statement.first()?);
    rewritten.extend_from_slice(&statement[name]);
    rewritten.extend_from_slice(&statement[query]);
    Some(rewritten)
}

/// Rewrites `FROM t INSERT INTO a SELECT … INSERT INTO b SELECT …` to an `EXPLAIN` of the source and one statement
/// per insert.
fn multi_insert(statement: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    let end = statement.iter().position(|it| it.token == Token::SemiColon).unwrap_or(statement.len());
    let statement = &statement[..end];
    let mut depth = 0_usize;
    let mut outside = Vec::new();
    for (index, token) in statement.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            _ if depth == 0 => outside.push((index, keyword(token))),
            _ => {}
        }
    }
    let at = |wanted| outside.iter().filter(move |(_, word)| *word == wanted).map(|(index, _)| *index);
    let from = at(Keyword::FROM).next()?;
    let inserts: Vec<usize> = at(Keyword::INSERT).collect();
    let first = inserts.first().copied().filter(|first| from < *first)?;
    let ends = inserts.iter().skip(1).copied().chain([end]);
    let mut rewritten = word_tokens("EXPLAIN", &statement[0]);
    rewritten.extend_from_slice(&statement[..from]);
    rewritten.extend(
        [Token::make_keyword("SELECT"), Token::Mul]
            .map(|token| TokenWithSpan { token, span: statement[from].span }),
    );
    rewritten.extend_from_slice(&statement[from..first]);
    for (start, end) in inserts.iter().zip(ends) {
        let insert = &statement[*start..end];
        // A table in it may be a CTE of `WITH`.
        if from > 0 && insert.iter().any(|token| keyword(token) == Keyword::FROM) {
            return None;
        }
        rewritten.push(TokenWithSpan { token: Token::SemiColon, span: insert[0].span });
        rewritten.extend(inserted(insert).unwrap_or_else(|| insert.to_vec()));
    }
    Some(rewritten)
}

fn is_temporary(token: &TokenWithSpan) -> bool {
    matches!(keyword(token), Keyword::TEMPORARY | Keyword::TEMP | Keyword::GLOBAL)
}

/// Returns the range of the name at an index, after `IF NOT EXISTS`.
pub(in crate::sql) fn name(statement: &[TokenWithSpan], from: usize) -> Option<Range<usize>> {
    let guard = statement.iter().skip(from);
    let guard = guard.take_while(|it| matches!(keyword(it), Keyword::IF | Keyword::NOT | Keyword::EXISTS));
    let start = from + guard.count();
    let mut end = start;
    loop {
        matches!(statement.get(end)?.token, Token::Word(_)).then_some(())?;
        end += 1;
        match statement.get(end).map(|it| &it.token) {
            Some(Token::Period) => end += 1,
            // The name is an expression.
            Some(Token::LParen) if is_identifier(&statement[start]) => return None,
            _ => return Some(start..end),
        }
    }
}

fn is_identifier(token: &TokenWithSpan) -> bool {
    is_word(token, "IDENTIFIER")
}

/// Returns the range from the first word of a query outside of brackets to the end of the statement.
fn query(statement: &[TokenWithSpan], from: usize) -> Option<Range<usize>> {
    let mut depth = 0_usize;
    for (index, token) in statement.iter().enumerate().skip(from) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let begins = match keyword(token) {
            Keyword::SELECT | Keyword::FROM | Keyword::VALUES | Keyword::TABLE => true,
            Keyword::WITH => statement.get(index + 1).is_some_and(|next| keyword(next) != Keyword::SCHEMA),
            _ => false,
        };
        let bracketed =
            token.token == Token::LParen && depth == 1 && keyword(&statement[index - 1]) == Keyword::AS;
        if bracketed || (begins && depth == 0) {
            let end = statement.iter().rposition(|it| it.token != Token::SemiColon)? + 1;
            return Some(index..end);
        }
    }
    None
}

//! Rewrites forms of Spark that `sqlparser` can't parse into forms with the same meaning for the walk.
//!
//! Tokens retain their places, so that every span of the tree is still a range of the text. A text is rewritten only
//! if it can't be parsed, or if the parser misreads a form of Spark ([`is_needed`]).

mod brackets;
mod commands;
mod identifiers;
mod pipes;
mod removals;
mod scripts;
mod tables;
mod values;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

pub(super) use commands::{commands, name};
pub(super) use scripts::flattened;

use super::layout::{self, Layout};

/// Suffixes of numbers.
const SUFFIXES: [&str; 6] = ["BD", "D", "F", "L", "S", "Y"];

/// Returns whether the parser misreads a form in a text.
pub(super) fn is_needed(tokens: &[TokenWithSpan], layout: &Layout) -> bool {
    let misread = |index| identifiers::begins(tokens, index) || tables::begins(tokens, index);
    layout.has_distinct_pipe() || (0..tokens.len()).any(misread) || scripts::block(tokens).is_some()
}

/// Rewrites parts of expressions and queries.
pub(super) fn expressions(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        // After a colon, white space distinguishes a parameter from a path into a variant.
        let colon = matches!(out.last(), Some(TokenWithSpan { token: Token::Colon, .. }));
        if matches!(token.token, Token::Whitespace(_)) && !colon {
            continue;
        }
        let replaced = match out.last_mut() {
            Some(last) => replace_last(last, token),
            None => false,
        };
        if !replaced {
            out.push(token.clone());
        }
    }
    let mut out = tables::rewritten(&identifiers::rewritten(&out));
    named_tables(&mut out);
    values::rewritten(&units(&removals::rewritten(&pipes::rewritten(&out))))
}

/// Merges the last token with the next one, or replaces the last one because of the next one. Returns whether the
/// next one was merged.
fn replace_last(last: &mut TokenWithSpan, next: &TokenWithSpan) -> bool {
    let adjacent = last.span.end == next.span.start;
    match (&last.token, &next.token) {
        (Token::Number(digits, false), Token::Word(suffix)) if adjacent && is_suffix(suffix) => {
            last.token = Token::Number(format!("{digits}{}", suffix.value), false);
            last.span = Span::new(last.span.start, next.span.end);
            true
        }
        // A path into null.
        (Token::Word(null), Token::Colon) if null.keyword == Keyword::NULL => {
            last.token = Token::SingleQuotedString(String::new());
            false
        }
        _ => false,
    }
}

fn is_suffix(word: &Word) -> bool {
    word.quote_style.is_none() && SUFFIXES.iter().any(|suffix| suffix.eq_ignore_ascii_case(&word.value))
}

/// Replaces `TABLE t` by `FROM t`, for which the parser has a place, and which it accepts before a pipe.
fn named_tables(tokens: &mut [TokenWithSpan]) {
    for index in 0..tokens.len() {
        let before = index.checked_sub(1).and_then(|before| tokens.get(before)).map(|it| &it.token);
        let starts = match before {
            None | Some(Token::SemiColon | Token::LParen) => true,
            Some(Token::Word(word)) => matches!(
                word.keyword,
                Keyword::UNION
                    | Keyword::ALL
                    | Keyword::DISTINCT
                    | Keyword::EXCEPT
                    | Keyword::MINUS
                    | Keyword::INTERSECT
                    | Keyword::EXPLAIN
            ),
            Some(_) => false,
        };
        let names = matches!(tokens.get(index + 1).map(|it| &it.token), Some(Token::Word(_)));
        if starts && names && keyword(&tokens[index]) == Keyword::TABLE {
            tokens[index].token = Token::make_keyword("FROM");
        }
    }
}

fn is_word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

fn keyword(token: &TokenWithSpan) -> Keyword {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Removes ranges of interval units, and further parts of intervals, and replaces the unit of `EXTRACT`.
fn units(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        out.push(token.clone());
        index += 1;
        let before = out.len().checked_sub(2).and_then(|before| out.get(before));
        match keyword(token) {
            // As a type, an interval may have a range of units.
            Keyword::INTERVAL if before.is_some_and(is_cast) => index += unit_range(tokens, index),
            // The first number and its unit may be followed by others.
            Keyword::INTERVAL => {
                let first = parts(tokens, index);
                out.extend(tokens.iter().skip(index).take(first).cloned());
                index += first;
                while first > 0 && parts(tokens, index) > 0 {
                    index += parts(tokens, index);
                }
            }
            // Spark has more names of units than the parser.
            Keyword::EXTRACT if is_extract(tokens, index) => {
                out.push(tokens[index].clone());
                let part = &tokens[index + 1];
                out.push(TokenWithSpan { token: Token::make_keyword("YEAR"), span: part.span });
                index += 2;
            }
            _ => {}
        }
    }
    out
}

fn is_cast(token: &TokenWithSpan) -> bool {
    keyword(token) == Keyword::AS || token.token == Token::DoubleColon
}

fn is_extract(tokens: &[TokenWithSpan], at: usize) -> bool {
    let mut next = tokens.iter().skip(at);
    let open = next.next().is_some_and(|it| it.token == Token::LParen);
    let part = next.next().is_some_and(|it| matches!(it.token, Token::Word(_)));
    open && part && next.next().is_some_and(|it| keyword(it) == Keyword::FROM)
}

/// Returns the number of tokens at an index that are a number and its unit.
fn parts(tokens: &[TokenWithSpan], at: usize) -> usize {
    let sign = usize::from(matches!(tokens.get(at).map(|it| &it.token), Some(Token::Minus | Token::Plus)));
    let number = tokens.get(at + sign).map(|it| &it.token);
    let is_number = matches!(
        number,
        Some(Token::Number(..) | Token::SingleQuotedString(_) | Token::DoubleQuotedString(_))
    );
    let unit = tokens.get(at + sign + 1).is_some_and(is_unit);
    if is_number && unit { sign + 2 } else { 0 }
}

/// Returns the number of tokens at an index that are a unit, or a range of units with `TO`.
fn unit_range(tokens: &[TokenWithSpan], at: usize) -> usize {
    match (tokens.get(at).is_some_and(is_unit), tokens.get(at + 1).map(keyword)) {
        (true, Some(Keyword::TO)) => 3,
        (true, _) => 1,
        (false, _) => 0,
    }
}

fn is_unit(token: &TokenWithSpan) -> bool {
    matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && layout::is_unit(&word.value) && word.keyword != Keyword::TO)
}

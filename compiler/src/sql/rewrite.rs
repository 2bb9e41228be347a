//! Rewrites forms of Spark that `sqlparser` does not read into forms that mean the same to the walk.
//!
//! Tokens keep their places, so that every span of the tree is still a range of the text. A text is only rewritten if it
//! can't be parsed as it is, or if the parser takes a form of Spark for something else ([`is_needed`]).

mod brackets;
mod commands;
mod identifiers;
mod left_out;
mod pipes;
mod scripts;
mod tables;
mod values;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

pub(super) use commands::commands;
pub(super) use scripts::flattened;

use super::layout::{self, Layout};

/// Suffixes of numbers.
const SUFFIXES: [&str; 6] = ["BD", "D", "F", "L", "S", "Y"];

/// Returns whether the parser reads a text as something that it is not.
pub(super) fn is_needed(tokens: &[TokenWithSpan], layout: &Layout) -> bool {
    let misread = |index| identifiers::begins(tokens, index) || tables::begins(tokens, index);
    layout.has_distinct_pipe() || (0..tokens.len()).any(misread) || scripts::block(tokens).is_some()
}

/// Rewrites parts of expressions and queries.
pub(super) fn expressions(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        // Behind a colon, white space tells a parameter from a path into a variant.
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
    values::rewritten(&units(&left_out::rewritten(&pipes::rewritten(&out))))
}

/// Replaces the last token by what it is together with the next one, or because of it. Returns whether the next one is
/// taken up.
fn replace_last(last: &mut TokenWithSpan, next: &TokenWithSpan) -> bool {
    let adjacent = last.span.end == next.span.start;
    match (&last.token, &next.token) {
        (Token::Number(digits, false), Token::Word(suffix)) if adjacent && is_suffix(suffix) => {
            last.token = Token::Number(format!("{digits}{}", suffix.value), false);
            last.span = Span::new(last.span.start, next.span.end);
            true
        }
        // A path into nothing.
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

/// `TABLE t` is `FROM t`, of which the parser knows the place, and which it reads before a pipe.
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

/// Leaves out what only says how long an interval is, or which part of a time is taken.
fn units(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        out.push(token.clone());
        index += 1;
        let before = out.len().checked_sub(2).and_then(|before| out.get(before));
        match keyword(token) {
            // As a type, it may have the units that it has.
            Keyword::INTERVAL if before.is_some_and(is_cast) => index += unit_range(tokens, index),
            // Beside a first number and its unit there may be others.
            Keyword::INTERVAL => {
                let first = parts(tokens, index);
                out.extend(tokens.iter().skip(index).take(first).cloned());
                index += first;
                while first > 0 && parts(tokens, index) > 0 {
                    index += parts(tokens, index);
                }
            }
            // A part of a time, of which Spark has more names than the parser.
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

/// How many tokens at an index are a number and its unit.
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

/// How many tokens at an index are a unit, or one unit `TO` another.
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

//! Replaces `IDENTIFIER(…)`: a constant by its name, other expressions by a name that
//! [`names::is_dynamic`](super::super::names::is_dynamic) recognizes.

use std::fmt::Write as _;

use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::super::literals::unescaped;
use super::super::names::DYNAMIC_PREFIX;
use super::brackets::Brackets;
use super::is_word;

pub(super) fn rewritten(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let brackets = Brackets::of(tokens);
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let end = begins(tokens, index).then(|| brackets.closed(index + 1)).flatten();
        let Some(end) = end else {
            out.push(token.clone());
            index += 1;
            continue;
        };
        let inner = &tokens[index + 2..end - 1];
        let span = Span::new(token.span.start, tokens[end - 1].span.end);
        let parts =
            constant(inner).and_then(|name| parts(&name)).unwrap_or_else(|| vec![dynamic_name(inner)]);
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                out.push(TokenWithSpan { token: Token::Period, span });
            }
            out.push(TokenWithSpan { token: Token::make_word(part, Some('`')), span });
        }
        index = end;
    }
    out
}

/// Returns whether `IDENTIFIER(` is at an index.
pub(super) fn begins(tokens: &[TokenWithSpan], at: usize) -> bool {
    is_word(&tokens[at], "IDENTIFIER") && tokens.get(at + 1).is_some_and(|next| next.token == Token::LParen)
}

/// Returns the value of strings that are consecutive or joined by `||`.
fn constant(tokens: &[TokenWithSpan]) -> Option<String> {
    let mut value = String::new();
    let mut operand = true;
    for token in tokens {
        match &token.token {
            Token::SingleQuotedString(raw) => value.push_str(&unescaped(raw, '\'')),
            Token::DoubleQuotedString(raw) => value.push_str(&unescaped(raw, '"')),
            Token::StringConcat if !operand => {
                operand = true;
                continue;
            }
            _ => return None,
        }
        operand = false;
    }
    (!operand).then_some(value)
}

/// Returns the parts of a name, without backticks.
fn parts(name: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = name.trim();
    loop {
        let (part, behind) = match rest.strip_prefix('`') {
            Some(quoted) => quoted.split_once('`')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        let plain = part.chars().all(|ch| ch == '_' || ch.is_alphanumeric());
        if part.is_empty() || !(plain || rest.starts_with('`')) {
            return None;
        }
        parts.push(part.to_owned());
        if behind.is_empty() {
            return Some(parts);
        }
        rest = behind.strip_prefix('.')?;
    }
}

/// Returns a name that is only known at run time. Equal expressions have equal names.
fn dynamic_name(tokens: &[TokenWithSpan]) -> String {
    let mut name = DYNAMIC_PREFIX.to_owned();
    for token in tokens {
        // Writing to a `String` can't fail.
        let _ = write!(name, "{} ", token.token);
    }
    name.push(')');
    name
}

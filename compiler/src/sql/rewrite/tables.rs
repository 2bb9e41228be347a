//! Tables that are arguments of functions: `f(TABLE(t) PARTITION BY a ORDER BY b)`.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::brackets::Brackets;
use super::keyword;

/// Replaces these tables by subqueries, without the clauses about the distribution of their rows.
pub(super) fn rewritten(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let brackets = Brackets::of(tokens);
    // The ends of the open tables.
    let mut ends: Vec<usize> = Vec::new();
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        if ends.last() == Some(&index) {
            ends.pop();
            index = distributed(tokens, index, &brackets);
            continue;
        }
        let close = begins(tokens, index).then(|| brackets.closed(index + 1)).flatten();
        let Some(close) = close else {
            out.push(token.clone());
            index += 1;
            continue;
        };
        out.push(tokens[index + 1].clone());
        if !is_query(&tokens[index + 2]) {
            let all = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
            out.extend(all.map(|it| TokenWithSpan { token: it, span: token.span }));
        }
        ends.push(close);
        index += 2;
    }
    out
}

/// Returns whether an argument `TABLE(` is at an index.
pub(super) fn begins(tokens: &[TokenWithSpan], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before)).map(|it| &it.token);
    keyword(&tokens[at]) == Keyword::TABLE
        && matches!(before, Some(Token::LParen | Token::Comma | Token::RArrow))
        && tokens.get(at + 1).is_some_and(|next| next.token == Token::LParen)
}

fn is_query(token: &TokenWithSpan) -> bool {
    let begins = [Keyword::SELECT, Keyword::WITH, Keyword::FROM, Keyword::VALUES, Keyword::TABLE];
    token.token == Token::LParen || begins.contains(&keyword(token))
}

/// Returns the index after the clauses about the distribution of a table's rows.
fn distributed(tokens: &[TokenWithSpan], from: usize, brackets: &Brackets) -> usize {
    let clauses = [Keyword::WITH, Keyword::PARTITION, Keyword::DISTRIBUTE, Keyword::ORDER, Keyword::SORT];
    let mut index = from;
    if tokens.get(from).is_some_and(|token| clauses.contains(&keyword(token))) {
        while let Some(token) = tokens.get(index) {
            if matches!(token.token, Token::RParen | Token::Comma | Token::SemiColon) {
                break;
            }
            index = brackets.closed(index).unwrap_or(index + 1);
        }
    }
    index
}

//! Rewrites `VALUES` without brackets around each row, and with an alias.

use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::keyword;

/// Puts each row of `VALUES` in brackets, and removes the alias after a query of them.
pub(super) fn rewritten(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let query = out.last().is_none_or(begins_query);
        out.push(token.clone());
        index += 1;
        if keyword(token) != Keyword::VALUES {
            continue;
        }
        loop {
            let row = row(tokens, index);
            if row.is_empty() {
                break;
            }
            let bracketed = is_in_brackets(tokens, &row);
            if !bracketed {
                out.push(TokenWithSpan { token: Token::LParen, span: token.span });
            }
            out.extend_from_slice(&tokens[row.clone()]);
            if !bracketed {
                out.push(TokenWithSpan { token: Token::RParen, span: token.span });
            }
            index = row.end;
            match tokens.get(index) {
                Some(comma) if comma.token == Token::Comma => out.push(comma.clone()),
                _ => break,
            }
            index += 1;
        }
        if query {
            index += alias(tokens, index);
        }
    }
    out
}

/// Returns whether a query may begin after a token, and not a table in its `FROM` clause.
fn begins_query(token: &TokenWithSpan) -> bool {
    match keyword(token) {
        Keyword::AS
        | Keyword::UNION
        | Keyword::ALL
        | Keyword::EXCEPT
        | Keyword::INTERSECT
        | Keyword::DISTINCT => true,
        _ => matches!(token.token, Token::LParen | Token::SemiColon | Token::RParen),
    }
}

/// Returns the tokens of a row, up to the first one that can't belong to it.
fn row(tokens: &[TokenWithSpan], from: usize) -> Range<usize> {
    let mut depth = 0_usize;
    let mut operand = false;
    for (index, token) in tokens.iter().enumerate().skip(from) {
        match token.token {
            Token::LParen | Token::LBracket if depth == 0 && operand && closes(&tokens[index - 1]) => {
                return from..index;
            }
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket if depth == 0 => return from..index,
            Token::RParen | Token::RBracket => depth -= 1,
            Token::Comma | Token::SemiColon | Token::VerticalBarRightAngleBracket if depth == 0 => {
                return from..index;
            }
            Token::Word(_) if depth == 0 && (operand || ends_rows(token)) => return from..index,
            _ => {}
        }
        operand = matches!(
            token.token,
            Token::Word(_)
                | Token::Number(..)
                | Token::RParen
                | Token::RBracket
                | Token::SingleQuotedString(_)
        );
    }
    from..tokens.len()
}

fn closes(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::RParen | Token::RBracket)
}

fn ends_rows(token: &TokenWithSpan) -> bool {
    matches!(
        keyword(token),
        Keyword::AS
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::WHERE
            | Keyword::JOIN
            | Keyword::ON
            | Keyword::WHEN
    )
}

/// Returns whether the row is in brackets.
fn is_in_brackets(tokens: &[TokenWithSpan], row: &Range<usize>) -> bool {
    tokens.get(row.start).is_some_and(|first| first.token == Token::LParen)
}

/// Returns the number of tokens at an index that are an alias with its columns, or after `AS` the columns alone.
fn alias(tokens: &[TokenWithSpan], from: usize) -> usize {
    let explicit = usize::from(tokens.get(from).is_some_and(|it| keyword(it) == Keyword::AS));
    let opens = |index: usize| tokens.get(index).is_some_and(|it| it.token == Token::LParen);
    let name = tokens.get(from + explicit);
    let named = name.is_some_and(|it| matches!(it.token, Token::Word(_)) && !ends_rows(it));
    let columns_only = explicit == 1 && opens(from + 1);
    if !named && !columns_only {
        return 0;
    }
    let open = from + explicit + usize::from(named);
    if !opens(open) {
        return explicit + 1;
    }
    let columns = tokens.iter().skip(open).take_while(|it| it.token != Token::RParen).count();
    open - from + columns + 1
}

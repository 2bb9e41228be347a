//! Rewrites pipe operators in forms that the parser doesn't support.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::brackets::Brackets;
use super::{is_word, keyword};

pub(super) fn rewritten(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let brackets = Brackets::of(tokens);
    // For the text and each open bracket: set inside a `SELECT` or `EXTEND` after a pipe.
    let mut projects = vec![false];
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        follow_brackets(&mut projects, &token.token);
        if projects.last() == Some(&true) && keyword(token) == Keyword::WINDOW {
            let windows = windows(tokens, index, &brackets);
            if windows > 0 {
                index += windows;
                continue;
            }
        }
        out.push(token.clone());
        index += 1;
        if token.token == Token::LParen && from_without_select(tokens, index, &brackets) {
            let all = [Token::make_keyword("SELECT"), Token::Mul];
            out.extend(all.map(|it| TokenWithSpan { token: it, span: token.span }));
        }
        if token.token != Token::VerticalBarRightAngleBracket {
            continue;
        }
        let operator = tokens.get(index).map_or(Keyword::NoKeyword, keyword);
        if let Some(inside) = projects.last_mut() {
            *inside = matches!(operator, Keyword::SELECT | Keyword::EXTEND);
        }
        index += match operator {
            Keyword::SELECT => distinct(tokens, index, &mut out),
            Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS => {
                set_operation(tokens, index, &mut out)
            }
            Keyword::UNPIVOT => unpivot(tokens, index, &brackets, &mut out),
            _ => 0,
        };
    }
    out
}

fn follow_brackets(projects: &mut Vec<bool>, token: &Token) {
    match token {
        Token::LParen => projects.push(false),
        Token::RParen if projects.len() > 1 => {
            projects.pop();
        }
        Token::SemiColon => *projects = vec![false],
        _ => {}
    }
}

/// Returns whether a bracketed query begins with `FROM` at an index, and has no `SELECT`.
fn from_without_select(tokens: &[TokenWithSpan], at: usize, brackets: &Brackets) -> bool {
    tokens.get(at).is_some_and(|token| keyword(token) == Keyword::FROM) && !brackets.selects(at - 1)
}

/// Removes the `DISTINCT` of `SELECT DISTINCT`, which the [layout](super::layout::Layout::is_distinct_pipe) records.
fn distinct(tokens: &[TokenWithSpan], at: usize, out: &mut Vec<TokenWithSpan>) -> usize {
    out.push(tokens[at].clone());
    1 + usize::from(tokens.get(at + 1).is_some_and(|next| keyword(next) == Keyword::DISTINCT))
}

/// Rewrites `UNION TABLE t`: the parser needs brackets around the query, and `DISTINCT` after the other operators.
/// `TABLE` has already been replaced by `FROM`.
fn set_operation(tokens: &[TokenWithSpan], at: usize, out: &mut Vec<TokenWithSpan>) -> usize {
    let word = |text: &str| TokenWithSpan { token: Token::make_keyword(text), span: tokens[at].span };
    let operator = keyword(&tokens[at]);
    out.push(if operator == Keyword::MINUS { word("EXCEPT") } else { tokens[at].clone() });
    let mut next = at + 1;
    let word_behind = tokens.get(next).map_or(Keyword::NoKeyword, keyword);
    let quantified = matches!(word_behind, Keyword::ALL | Keyword::DISTINCT);
    if operator != Keyword::UNION {
        out.push(word("DISTINCT"));
    } else if quantified {
        out.push(tokens[next].clone());
    }
    next += usize::from(quantified);
    if tokens.get(next).is_some_and(|from| keyword(from) == Keyword::FROM) {
        let name = tokens.iter().skip(next + 1);
        let length = name.take_while(|it| matches!(it.token, Token::Word(_) | Token::Period)).count();
        let bracket = |token| TokenWithSpan { token, span: tokens[next].span };
        out.push(bracket(Token::LParen));
        out.extend(tokens.iter().skip(next).take(length + 1).cloned());
        out.push(bracket(Token::RParen));
        next += length + 1;
    }
    next - at
}

/// Replaces `UNPIVOT INCLUDE NULLS (…)` by a constant one. Only the change of the columns matters.
fn unpivot(tokens: &[TokenWithSpan], at: usize, brackets: &Brackets, out: &mut Vec<TokenWithSpan>) -> usize {
    let is = |offset: usize, text: &str| tokens.get(at + offset).is_some_and(|it| is_word(it, text));
    let nulls = if (is(1, "INCLUDE") || is(1, "EXCLUDE")) && is(2, "NULLS") { 2 } else { 0 };
    let open = at + 1 + nulls;
    let Some(end) = brackets.closed(open) else { return 0 };
    let span = tokens[at].span;
    let plain = ["UNPIVOT", "(", "v", "FOR", "n", "IN", "(", "c", ")", ")"];
    out.extend(plain.into_iter().map(|text| {
        let token = match text {
            "(" => Token::LParen,
            ")" => Token::RParen,
            _ => Token::make_keyword(text),
        };
        TokenWithSpan { token, span }
    }));
    end - at
}

/// Returns the number of tokens at an index that are `WINDOW w AS (…), …` without a query.
fn windows(tokens: &[TokenWithSpan], at: usize, brackets: &Brackets) -> usize {
    let mut next = at;
    loop {
        let named = tokens.get(next + 1).is_some_and(|name| matches!(name.token, Token::Word(_)));
        let defined = tokens.get(next + 2).is_some_and(|it| keyword(it) == Keyword::AS);
        let Some(end) = (named && defined).then(|| brackets.closed(next + 3)).flatten() else { return 0 };
        let query = |token: &TokenWithSpan| matches!(keyword(token), Keyword::SELECT | Keyword::FROM);
        if tokens[next..end].iter().any(query) {
            return 0;
        }
        next = end;
        if tokens.get(next).is_none_or(|token| token.token != Token::Comma) {
            return next - at;
        }
    }
}

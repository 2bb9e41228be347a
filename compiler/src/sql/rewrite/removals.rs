//! Removes parts of queries that are irrelevant for lineage and grouping, and that the parser doesn't support.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::brackets::Brackets;
use super::{is_word, keyword};

pub(super) fn rewritten(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let brackets = Brackets::of(tokens);
    let mut sets = Sets::default();
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let before = out.last();
        let skipped = sets
            .nested(tokens, index, &brackets)
            .or_else(|| recursion_limit(tokens, index))
            .or_else(|| before.and_then(|before| exception(before, tokens, index, &brackets)))
            .unwrap_or(0);
        if skipped > 0 {
            index += skipped;
            continue;
        }
        let trimmed = trimmed(tokens, index);
        let mut token = token.clone();
        if negates(tokens, index) {
            token.token = Token::make_keyword("NOT");
        } else if let Some(name) = trimmed {
            token.token = Token::make_word(name, None);
        } else if let (true, Token::Word(word)) = (is_function(tokens, index, &brackets), &mut token.token) {
            // Handle it like an ordinary function.
            word.keyword = Keyword::NoKeyword;
        }
        out.push(token);
        index += 1;
        if trimmed.is_some() {
            out.push(tokens[index].clone());
            index += 3;
        }
        index += collation(tokens, index);
        if is_word(&tokens[index - 1], "TRANSFORM") && before_is_select(&out) {
            let end = brackets.end(index);
            out.extend(tokens.iter().take(end).skip(index).cloned());
            index = script_end(tokens, end);
        }
    }
    out
}

/// Returns whether a keyword is the name of a function.
fn is_function(tokens: &[TokenWithSpan], at: usize, brackets: &Brackets) -> bool {
    match keyword(&tokens[at]) {
        Keyword::TRIM => brackets.are_arguments(at + 1),
        // `EXISTS` of an array and a condition, and not of a query.
        Keyword::EXISTS => begins_argument(tokens, at + 1),
        _ => false,
    }
}

/// The open `GROUPING SETS`. Spark adds nested sets to the outer ones, so nesting is removed.
#[derive(Default)]
struct Sets {
    /// The indices after their ends, and whether they are nested.
    ends: Vec<(usize, bool)>,
}

impl Sets {
    /// Returns the number of tokens at an index that only mark nested sets.
    fn nested(&mut self, tokens: &[TokenWithSpan], at: usize, brackets: &Brackets) -> Option<usize> {
        if let Some((end, nested)) = self.ends.last().copied()
            && end == at + 1
        {
            self.ends.pop();
            return nested.then_some(1);
        }
        let is_sets = keyword(&tokens[at]) == Keyword::GROUPING
            && tokens.get(at + 1).is_some_and(|next| keyword(next) == Keyword::SETS);
        let end = brackets.closed(at + 2).filter(|_| is_sets)?;
        let nested = !self.ends.is_empty();
        self.ends.push((end, nested));
        nested.then_some(3)
    }
}

/// Returns the number of tokens of `MAX RECURSION LEVEL 10`.
fn recursion_limit(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let is = |offset: usize, word: &str| tokens.get(at + offset).is_some_and(|it| is_word(it, word));
    (is(0, "MAX") && is(1, "RECURSION") && is(2, "LEVEL")).then_some(4)
}

/// Returns the number of tokens of `EXCEPT (a, b.c)` after a star.
fn exception(
    before: &TokenWithSpan,
    tokens: &[TokenWithSpan],
    at: usize,
    brackets: &Brackets,
) -> Option<usize> {
    let open = tokens.get(at + 1)?.token == Token::LParen;
    let first = keyword(tokens.get(at + 2)?);
    let query =
        [Keyword::SELECT, Keyword::FROM, Keyword::VALUES, Keyword::TABLE, Keyword::WITH].contains(&first);
    let excepts = before.token == Token::Mul && keyword(&tokens[at]) == Keyword::EXCEPT;
    (excepts && open && !query && tokens[at + 2].token != Token::LParen).then(|| brackets.end(at + 1) - at)
}

/// Returns the function that is equivalent to `TRIM(LEADING FROM …)` and similar forms.
fn trimmed(tokens: &[TokenWithSpan], at: usize) -> Option<&'static str> {
    let next = |offset: usize| tokens.get(at + offset).map_or(Keyword::NoKeyword, keyword);
    let open = tokens.get(at + 1)?.token == Token::LParen;
    if keyword(&tokens[at]) != Keyword::TRIM || !open || next(3) != Keyword::FROM {
        return None;
    }
    match next(2) {
        Keyword::BOTH => Some("btrim"),
        Keyword::LEADING => Some("ltrim"),
        Keyword::TRAILING => Some("rtrim"),
        _ => None,
    }
}

/// Returns whether the content of a bracket at an index is not a query.
fn begins_argument(tokens: &[TokenWithSpan], at: usize) -> bool {
    let open = tokens.get(at).is_some_and(|it| it.token == Token::LParen);
    let queries = [Keyword::SELECT, Keyword::FROM, Keyword::VALUES, Keyword::TABLE, Keyword::WITH];
    let argument = |it: &TokenWithSpan| it.token != Token::LParen && !queries.contains(&keyword(it));
    open && tokens.get(at + 1).is_some_and(argument)
}

/// Returns the number of tokens at an index that are the collation of a type: `STRING COLLATE UNICODE`.
fn collation(tokens: &[TokenWithSpan], at: usize) -> usize {
    let typed = at.checked_sub(1).is_some_and(|before| keyword(&tokens[before]) == Keyword::STRING);
    let collated = tokens.get(at).is_some_and(|it| keyword(it) == Keyword::COLLATE);
    if typed && collated { 2 } else { 0 }
}

/// Returns whether `!` stands for `NOT` before a predicate.
fn negates(tokens: &[TokenWithSpan], at: usize) -> bool {
    tokens[at].token == Token::ExclamationMark
        && tokens.get(at + 1).is_some_and(|next| {
            let predicates = [
                Keyword::BETWEEN,
                Keyword::FALSE,
                Keyword::IN,
                Keyword::LIKE,
                Keyword::ILIKE,
                Keyword::NULL,
                Keyword::RLIKE,
                Keyword::TRUE,
            ];
            predicates.contains(&keyword(next))
        })
}

fn before_is_select(out: &[TokenWithSpan]) -> bool {
    out.len().checked_sub(2).is_some_and(|before| keyword(&out[before]) == Keyword::SELECT)
}

/// Returns the end of the description of a script: the table that it reads, or the end of the query.
fn script_end(tokens: &[TokenWithSpan], from: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(from) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen | Token::SemiColon if depth == 0 => return index,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(keyword(token), Keyword::FROM | Keyword::WHERE | Keyword::CLUSTER) {
            return index;
        }
    }
    tokens.len()
}

//! Parts of queries that say nothing of what is read or grouped, and that the parser does not know.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{is_word, keyword};

pub(super) fn rewritten(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let brackets = Brackets::of(tokens);
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let before = out.last();
        let skipped = recursion_limit(tokens, index)
            .or_else(|| before.and_then(|before| exception(before, tokens, index, &brackets)))
            .unwrap_or(0);
        if skipped > 0 {
            index += skipped;
            continue;
        }
        let mut token = token.clone();
        if negates(tokens, index) {
            token.token = Token::make_keyword("NOT");
        }
        if keyword(&token) == Keyword::TRIM && brackets.are_arguments(index + 1) {
            // A function like any other.
            if let Token::Word(word) = &mut token.token {
                word.keyword = Keyword::NoKeyword;
            }
        }
        out.push(token);
        index += 1;
        if is_word(&tokens[index - 1], "TRANSFORM") && before_is_select(&out) {
            let end = brackets.end(index);
            out.extend(tokens.iter().take(end).skip(index).cloned());
            index = script_end(tokens, end);
        }
    }
    out
}

/// `MAX RECURSION LEVEL 10`.
fn recursion_limit(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let is = |offset: usize, word: &str| tokens.get(at + offset).is_some_and(|it| is_word(it, word));
    (is(0, "MAX") && is(1, "RECURSION") && is(2, "LEVEL")).then_some(4)
}

/// `EXCEPT (a, b.c)` behind a star.
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

/// Whether `!` stands for `NOT` in front of a predicate.
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

/// The brackets of a text, found in one pass: they may be nested as deeply as the text is long.
struct Brackets {
    /// For each token that opens a bracket, the index behind the one that closes it; for others, their own.
    ends: Vec<usize>,
    /// How many `FROM` stand before each token.
    froms: Vec<usize>,
}

impl Brackets {
    fn of(tokens: &[TokenWithSpan]) -> Self {
        let mut ends: Vec<usize> = (0..tokens.len()).collect();
        let mut froms = Vec::with_capacity(tokens.len() + 1);
        let (mut open, mut from) = (Vec::new(), 0);
        for (index, token) in tokens.iter().enumerate() {
            froms.push(from);
            from += usize::from(keyword(token) == Keyword::FROM);
            match token.token {
                Token::LParen => open.push(index),
                Token::RParen => {
                    if let Some(start) = open.pop() {
                        ends[start] = index + 1;
                    }
                }
                _ => {}
            }
        }
        froms.push(from);
        Self { ends, froms }
    }

    fn end(&self, at: usize) -> usize {
        self.ends.get(at).copied().unwrap_or(at)
    }

    /// Whether the brackets at an index are closed and have no `FROM` in them.
    fn are_arguments(&self, at: usize) -> bool {
        let end = self.end(at);
        end > at && self.froms.get(at) == self.froms.get(end)
    }
}

/// Where the description of a script ends: before the table that it reads, or the end of the query.
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

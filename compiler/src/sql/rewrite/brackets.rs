//! Which brackets of a text belong together.

use std::collections::HashSet;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::keyword;

/// The brackets of a text, found in one pass: they may be nested as deeply as the text is long.
pub(super) struct Brackets {
    /// For each token that opens a bracket, the index behind the one that closes it; for others, their own.
    ends: Vec<usize>,
    /// The number of `FROM` before each token.
    froms: Vec<usize>,
    /// The tokens that open a bracket which has a `SELECT` of its own, before any pipe.
    selecting: HashSet<usize>,
}

impl Brackets {
    pub(super) fn of(tokens: &[TokenWithSpan]) -> Self {
        let mut ends: Vec<usize> = (0..tokens.len()).collect();
        let mut froms = Vec::with_capacity(tokens.len() + 1);
        let (mut open, mut from) = (Vec::new(), 0);
        let (mut selecting, mut piped) = (HashSet::new(), HashSet::new());
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
                Token::VerticalBarRightAngleBracket => piped.extend(open.last().copied()),
                _ if keyword(token) == Keyword::SELECT => {
                    selecting.extend(open.last().copied().filter(|around| !piped.contains(around)));
                }
                _ => {}
            }
        }
        froms.push(from);
        Self { ends, froms, selecting }
    }

    pub(super) fn end(&self, at: usize) -> usize {
        self.ends.get(at).copied().unwrap_or(at)
    }

    /// Returns whether the bracket that opens at an index has a `SELECT` of its own, before any pipe.
    pub(super) fn selects(&self, at: usize) -> bool {
        self.selecting.contains(&at)
    }

    /// The index behind the bracket that closes the one at an index, if there are both.
    pub(super) fn closed(&self, at: usize) -> Option<usize> {
        Some(self.end(at)).filter(|end| *end > at)
    }

    /// Returns whether the brackets at an index are closed and have no `FROM` in them.
    pub(super) fn are_arguments(&self, at: usize) -> bool {
        let end = self.end(at);
        end > at && self.froms.get(at) == self.froms.get(end)
    }
}

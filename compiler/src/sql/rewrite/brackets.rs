//! Pairs of brackets of a text.

use std::collections::HashSet;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::keyword;

/// The brackets of a text. They are found in a single pass, because their nesting is not limited.
pub(super) struct Brackets {
    /// The index after the closing bracket, for each token that opens one. Other tokens have their own index.
    ends: Vec<usize>,
    /// The number of `FROM` before each token.
    froms: Vec<usize>,
    /// The tokens that open a bracket with a `SELECT` of its own, before any pipe.
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

    /// Returns the index after the bracket that closes the one at an index, if there are both.
    pub(super) fn closed(&self, at: usize) -> Option<usize> {
        Some(self.end(at)).filter(|end| *end > at)
    }

    /// Returns whether the bracket at an index is closed and contains no `FROM`.
    pub(super) fn are_arguments(&self, at: usize) -> bool {
        let end = self.end(at);
        end > at && self.froms.get(at) == self.froms.get(end)
    }
}

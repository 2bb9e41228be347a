//! Flattens scripts with `BEGIN` and `END`.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::commands::word_tokens;
use super::{is_word, keyword};

/// A script as a sequence of statements. Conditions are explained, because they read and don't write.
pub(in crate::sql) struct Script {
    pub(in crate::sql) tokens: Vec<TokenWithSpan>,
    /// The number of statements before `BEGIN`.
    pub(in crate::sql) before: usize,
}

/// Returns `None` if there is no block, or if its keywords don't match.
pub(in crate::sql) fn flattened(tokens: &[TokenWithSpan]) -> Option<Script> {
    let (at, before) = block(tokens)?;
    let mut pass = Pass { tokens, at, out: tokens[..at].to_vec(), open: Vec::new() };
    while pass.at < tokens.len() {
        pass.next()?;
    }
    pass.open.is_empty().then_some(Script { tokens: pass.out, before })
}

/// Returns the index of the first statement that is a block, and the number of statements before it.
pub(super) fn block(tokens: &[TokenWithSpan]) -> Option<(usize, usize)> {
    let (mut before, mut first) = (0, true);
    for (index, token) in tokens.iter().enumerate() {
        match token.token {
            Token::SemiColon => {
                before += usize::from(!first);
                first = true;
            }
            Token::Whitespace(_) => {}
            _ => {
                let begins = first && keyword(&tokens[label_end(tokens, index)]) == Keyword::BEGIN;
                if begins {
                    return Some((index, before));
                }
                first = false;
            }
        }
    }
    None
}

/// Returns the index after the label of a block or loop, if there is one at an index.
fn label_end(tokens: &[TokenWithSpan], at: usize) -> usize {
    let labels = matches!(tokens[at].token, Token::Word(_));
    if !labels || tokens.get(at + 1).is_none_or(|next| next.token != Token::Colon) {
        return at;
    }
    let space = tokens.iter().skip(at + 2).take_while(|it| matches!(it.token, Token::Whitespace(_)));
    let next = at + 2 + space.count();
    let labelled = ["BEGIN", "FOR", "LOOP", "REPEAT", "WHILE"];
    let is_labelled = tokens.get(next).is_some_and(|it| labelled.iter().any(|word| is_word(it, word)));
    if is_labelled { next } else { at }
}

struct Pass<'a> {
    tokens: &'a [TokenWithSpan],
    /// The index of the next statement.
    at: usize,
    out: Vec<TokenWithSpan>,
    /// The keywords of the open blocks.
    open: Vec<&'static str>,
}

impl Pass<'_> {
    fn is(&self, index: usize, word: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| is_word(token, word))
    }

    /// Handles the next statement, or the next control keywords.
    fn next(&mut self) -> Option<()> {
        self.at = label_end(self.tokens, self.at);
        let token = &self.tokens[self.at];
        let opening = ["BEGIN", "CASE", "FOR", "IF", "LOOP", "REPEAT", "WHILE"];
        if let Some(word) = opening.into_iter().find(|word| is_word(token, word)) {
            self.open.push(word);
            self.at += 1;
            return match word {
                "IF" => self.condition("THEN", true),
                "WHILE" => self.condition("DO", true),
                "CASE" if !self.is(self.at, "WHEN") => self.condition("WHEN", false),
                "FOR" => self.query(),
                _ => Some(()),
            };
        }
        match () {
            () if matches!(token.token, Token::SemiColon | Token::Whitespace(_))
                || is_word(token, "ELSE") =>
            {
                self.at += 1;
            }
            () if is_word(token, "WHEN") || is_word(token, "ELSEIF") => {
                self.at += 1;
                return self.condition("THEN", true);
            }
            () if is_word(token, "UNTIL") => {
                self.at += 1;
                return self.condition("END", false);
            }
            () if is_word(token, "END") => return self.end(),
            () if self.is_handler() => self.handler(),
            () if is_word(token, "LEAVE") || is_word(token, "ITERATE") => self.at = self.statement_end(),
            () => {
                let end = self.statement_end();
                self.out.extend_from_slice(&self.tokens[self.at..end]);
                self.semicolon();
                self.at = end;
            }
        }
        Some(())
    }

    fn statement_end(&self) -> usize {
        let rest = self.tokens.iter().skip(self.at);
        self.at + rest.take_while(|token| token.token != Token::SemiColon).count()
    }

    fn semicolon(&mut self) {
        if let Some(last) = self.out.last() {
            let span = last.span;
            self.out.push(TokenWithSpan { token: Token::SemiColon, span });
        }
    }

    /// Handles `END IF`, `END name`, …
    fn end(&mut self) -> Option<()> {
        let opened = self.open.pop()?;
        self.at += 1;
        if opened != "BEGIN" {
            self.is(self.at, opened).then_some(())?;
            self.at += 1;
        }
        // The optional label.
        let end = self.statement_end();
        (end - self.at < 2).then_some(())?;
        self.at = end;
        Some(())
    }

    fn is_handler(&self) -> bool {
        let kind = self.is(self.at + 1, "CONTINUE") || self.is(self.at + 1, "EXIT");
        self.is(self.at, "DECLARE") && kind && self.is(self.at + 2, "HANDLER")
    }

    /// Skips `DECLARE EXIT HANDLER FOR SQLSTATE '22012', NOT FOUND`, up to the statement that handles these.
    fn handler(&mut self) {
        self.at += 4;
        loop {
            self.at += match () {
                () if self.is(self.at, "SQLSTATE") && self.is(self.at + 1, "VALUE") => 3,
                () if self.is(self.at, "SQLSTATE") || self.is(self.at, "NOT") => 2,
                () => 1,
            };
            if self.tokens.get(self.at).is_none_or(|it| it.token != Token::Comma) {
                return;
            }
            self.at += 1;
        }
    }

    /// Handles `FOR row AS SELECT … DO`.
    fn query(&mut self) -> Option<()> {
        if self.is(self.at + 1, "AS") {
            self.at += 2;
        }
        let end = self.find("DO")?;
        self.out.extend_from_slice(&self.tokens[self.at..end]);
        self.semicolon();
        self.at = end + 1;
        Some(())
    }

    /// Handles an expression up to a keyword. The keyword is skipped if `take` is set.
    fn condition(&mut self, last: &str, take: bool) -> Option<()> {
        let end = self.find(last)?;
        let first = self.tokens.get(self.at)?;
        self.out.extend(word_tokens("EXPLAIN SELECT", first));
        self.out.extend_from_slice(&self.tokens[self.at..end]);
        self.semicolon();
        self.at = end + usize::from(take);
        Some(())
    }

    /// Returns the index of a word outside of brackets and of `CASE … END`.
    fn find(&self, word: &str) -> Option<usize> {
        let (mut depth, mut cases) = (0_usize, 0_usize);
        for (index, token) in self.tokens.iter().enumerate().skip(self.at) {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.checked_sub(1)?,
                Token::SemiColon => return None,
                _ => {}
            }
            if depth == 0 && cases == 0 && is_word(token, word) {
                return Some(index);
            }
            match keyword(token) {
                Keyword::CASE => cases += 1,
                Keyword::END => cases = cases.checked_sub(1)?,
                _ => {}
            }
        }
        None
    }
}

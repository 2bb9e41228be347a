//! Splits a source into lexemes.

use granit_parser::{ScalarStyle, Scanner, Span, StrInput, Token, TokenType};

use super::block::Block;

/// A piece of the source other than white space, or the start or end of a structure, which has no text.
#[derive(Debug)]
pub(super) struct Lexeme<'s> {
    pub(super) kind: Kind<'s>,
    pub(super) text: &'s str,
    /// The number of line breaks between the previous lexeme and this one.
    pub(super) breaks: usize,
    /// The column of its first character, starting at 0.
    pub(super) column: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind<'s> {
    MapStart,
    SeqStart,
    BlockEnd,
    /// The start of a key without `?`.
    Key,

    /// `?`
    ExplicitKey,
    /// `:`
    Value,
    /// `-`
    Entry,
    /// `[` or `{`
    Open,
    /// `]` or `}`
    Close,
    /// `,`
    Comma,
    /// An anchor or a tag.
    Property,
    Alias,
    /// A plain or quoted scalar.
    Scalar,
    /// A scalar after `|` or `>`.
    Block(Block<'s>),
    Comment,
    Directive,
    /// `---`
    DocumentStart,
    /// `...`
    DocumentEnd,
    End,
}

/// Returns all lexemes of a valid source, or `None` if the scanner reports something unexpected.
pub(super) fn lex(source: &str) -> Option<Vec<Lexeme<'_>>> {
    let options = granit_parser::options! { emit_comments: true };
    let mut lexer = Lexer { source, at: 0, lexemes: Vec::with_capacity(source.len() / 6) };
    for token in Scanner::with_options(StrInput::new(source), options) {
        lexer.token(token.ok()?)?;
    }
    Some(lexer.lexemes)
}

/// Returns the comments of a source, unchanged.
pub(super) fn comments(source: &str) -> Option<Vec<String>> {
    let options = granit_parser::options! { emit_comments: true };
    let tokens = Scanner::with_options(StrInput::new(source), options);
    let texts = tokens.filter_map(|token| match token.map(Token::into_parts) {
        Ok((_, TokenType::Comment(comment))) => Some(Ok(comment.text().to_owned())),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    texts.collect::<Result<_, _>>().ok()
}

struct Lexer<'s> {
    source: &'s str,
    /// The end of the previous lexeme.
    at: usize,
    lexemes: Vec<Lexeme<'s>>,
}

impl<'s> Lexer<'s> {
    fn token(&mut self, token: Token<'s>) -> Option<()> {
        let (span, token) = token.into_parts();
        match token {
            TokenType::StreamStart => {}
            TokenType::BlockMappingStart => self.structure(Kind::MapStart, span),
            TokenType::BlockSequenceStart => self.structure(Kind::SeqStart, span),
            TokenType::BlockEnd => self.structure(Kind::BlockEnd, span),
            TokenType::Key if span.is_empty() => self.structure(Kind::Key, span),
            // The map of `[key: value]` has no braces.
            TokenType::FlowMappingStart | TokenType::FlowMappingEnd if span.is_empty() => {}
            // A comment after the header of a block scalar is part of the scalar. The scanner reports it afterwards.
            TokenType::Comment(_) if span.start.byte_offset()? < self.at => {}
            TokenType::Scalar(ScalarStyle::Literal | ScalarStyle::Folded, value) => {
                self.block(&value, span)?;
            }
            TokenType::Scalar(..) => self.text(Kind::Scalar, span)?,
            TokenType::Anchor(_) | TokenType::Tag(..) => self.text(Kind::Property, span)?,
            TokenType::Alias(_) => self.text(Kind::Alias, span)?,
            TokenType::Comment(_) => self.text(Kind::Comment, span)?,
            TokenType::VersionDirective(..)
            | TokenType::TagDirective(..)
            | TokenType::ReservedDirective(..) => self.text(Kind::Directive, span)?,
            TokenType::StreamEnd => self.text(Kind::End, span)?,
            token => {
                let (kind, sign) = sign(&token)?;
                self.sign(kind, sign)?;
            }
        }
        Some(())
    }

    fn structure(&mut self, kind: Kind<'s>, span: Span) {
        self.lexemes.push(Lexeme { kind, text: "", breaks: 0, column: span.start.col() });
    }

    /// Adds a token with a fixed text. The scanner's positions of these tokens are not exact.
    fn sign(&mut self, kind: Kind<'s>, sign: &str) -> Option<()> {
        let breaks = self.skip();
        let end = self.at + sign.len();
        let text = self.source.get(self.at..end).filter(|text| *text == sign)?;
        self.at = end;
        self.lexemes.push(Lexeme { kind, text, breaks, column: 0 });
        Some(())
    }

    fn text(&mut self, kind: Kind<'s>, span: Span) -> Option<()> {
        let breaks = self.skip();
        let range = span.start.byte_offset()?..span.end.byte_offset()?;
        if range.start != self.at {
            return None;
        }
        let text = self.source.get(range)?.trim_end_matches([' ', '\t', '\n']);
        self.at += text.len();
        self.lexemes.push(Lexeme { kind, text, breaks, column: span.start.col() });
        Some(())
    }

    fn block(&mut self, value: &str, span: Span) -> Option<()> {
        let breaks = self.skip();
        let source = self.source.get(self.at..span.end.byte_offset()?)?;
        let (block, len) = Block::new(source, value, span)?;
        self.at += len;
        self.lexemes.push(Lexeme { kind: Kind::Block(block), text: "", breaks, column: 0 });
        Some(())
    }

    /// Skips white space, and returns the number of line breaks in it.
    fn skip(&mut self) -> usize {
        let rest = self.source.get(self.at..).unwrap_or_default();
        let space = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\u{feff}']).len();
        let breaks = rest[..space].bytes().filter(|&b| b == b'\n').count();
        self.at += space;
        breaks
    }
}

/// Returns the text of tokens that have a fixed text.
fn sign(token: &TokenType<'_>) -> Option<(Kind<'static>, &'static str)> {
    Some(match token {
        TokenType::Key => (Kind::ExplicitKey, "?"),
        TokenType::Value => (Kind::Value, ":"),
        TokenType::BlockEntry => (Kind::Entry, "-"),
        TokenType::FlowEntry => (Kind::Comma, ","),
        TokenType::FlowSequenceStart => (Kind::Open, "["),
        TokenType::FlowSequenceEnd => (Kind::Close, "]"),
        TokenType::FlowMappingStart => (Kind::Open, "{"),
        TokenType::FlowMappingEnd => (Kind::Close, "}"),
        TokenType::DocumentStart => (Kind::DocumentStart, "---"),
        TokenType::DocumentEnd => (Kind::DocumentEnd, "..."),
        _ => return None,
    })
}

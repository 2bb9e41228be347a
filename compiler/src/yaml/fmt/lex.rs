//! From a source to its lexemes.

use granit_parser::{ScalarStyle, Scanner, Span, StrInput, Token, TokenType};

use super::block::Block;

/// A piece of the source that is not white space, or the beginning or end of something, which has no text.
#[derive(Debug)]
pub(super) struct Lexeme<'s> {
    pub(super) kind: Kind<'s>,
    pub(super) text: &'s str,
    /// How many lines end between the lexeme before and this one.
    pub(super) breaks: usize,
    /// Where it begins, in characters from 0.
    pub(super) column: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind<'s> {
    MapStart,
    SeqStart,
    BlockEnd,
    /// A key without a `?` follows.
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
    /// A scalar that is plain or in quotes.
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

/// All lexemes of a source that can be parsed. `None` if the scanner sees it in a way that this does not know.
pub(super) fn lex(source: &str) -> Option<Vec<Lexeme<'_>>> {
    let options = granit_parser::options! { emit_comments: true };
    let mut lexer = Lexer { source, at: 0, lexemes: Vec::with_capacity(source.len() / 6) };
    for token in Scanner::with_options(StrInput::new(source), options) {
        lexer.token(token.ok()?)?;
    }
    Some(lexer.lexemes)
}

/// The comments of a source as they stand there.
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
    /// The end of the lexeme before.
    at: usize,
    lexemes: Vec<Lexeme<'s>>,
}

impl<'s> Lexer<'s> {
    fn token(&mut self, token: Token<'s>) -> Option<()> {
        let (span, token) = token.into_parts();
        let kind = match token {
            TokenType::BlockMappingStart => return self.structure(Kind::MapStart, span),
            TokenType::BlockSequenceStart => return self.structure(Kind::SeqStart, span),
            TokenType::BlockEnd => return self.structure(Kind::BlockEnd, span),
            TokenType::Key if span.is_empty() => return self.structure(Kind::Key, span),
            TokenType::Key => return self.sign(Kind::ExplicitKey, "?"),
            TokenType::Value => return self.sign(Kind::Value, ":"),
            TokenType::BlockEntry => return self.sign(Kind::Entry, "-"),
            TokenType::FlowEntry => return self.sign(Kind::Comma, ","),
            TokenType::FlowSequenceStart => return self.sign(Kind::Open, "["),
            TokenType::FlowSequenceEnd => return self.sign(Kind::Close, "]"),
            // The map of `[key: value]` has no braces.
            TokenType::FlowMappingStart | TokenType::FlowMappingEnd if span.is_empty() => return Some(()),
            TokenType::FlowMappingStart => return self.sign(Kind::Open, "{"),
            TokenType::FlowMappingEnd => return self.sign(Kind::Close, "}"),
            TokenType::DocumentStart => return self.sign(Kind::DocumentStart, "---"),
            TokenType::DocumentEnd => return self.sign(Kind::DocumentEnd, "..."),
            TokenType::Scalar(ScalarStyle::Literal | ScalarStyle::Folded, value) => {
                return self.block(&value, span);
            }
            TokenType::Scalar(..) => Kind::Scalar,
            TokenType::Anchor(_) | TokenType::Tag(..) => Kind::Property,
            TokenType::Alias(_) => Kind::Alias,
            // What stands behind the header of a block scalar is part of it, and the scanner gives it afterwards.
            TokenType::Comment(_) if span.start.byte_offset()? < self.at => return Some(()),
            TokenType::Comment(_) => Kind::Comment,
            TokenType::VersionDirective(..)
            | TokenType::TagDirective(..)
            | TokenType::ReservedDirective(..) => Kind::Directive,
            TokenType::StreamStart => return Some(()),
            TokenType::StreamEnd => Kind::End,
            _ => return None,
        };
        self.text(kind, span)
    }

    fn structure(&mut self, kind: Kind<'s>, span: Span) -> Option<()> {
        self.lexemes.push(Lexeme { kind, text: "", breaks: 0, column: span.start.col() });
        Some(())
    }

    /// Something whose spelling is known; the scanner is not exact about where it stands.
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

    /// Goes to the next lexeme, past so many ends of lines.
    fn skip(&mut self) -> usize {
        let rest = self.source.get(self.at..).unwrap_or_default();
        let space = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\u{feff}']).len();
        let breaks = rest[..space].bytes().filter(|&b| b == b'\n').count();
        self.at += space;
        breaks
    }
}

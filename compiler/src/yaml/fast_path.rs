//! A fast parser for the YAML of most manifests: block and flow collections, single-line texts, plain or quoted
//! without escapes, and literal blocks.
//!
//! The meaning of such YAML is unambiguous, and this parser takes a fraction of the time of a full parser. Files with
//! other features and files with errors are left to `granit-parser` as a whole, so this module has no diagnostics.
//! Tests and a fuzz target compare every tree with the tree of `granit-parser`.

mod literal;

use std::borrow::Cow;
use std::ops::Range;

use super::Parsed;
use super::build::{Builder, Properties, Shape, Style};
use crate::source::{FileId, Span};

/// Maximum depth. Errors about deeper files are reported by the full parser.
const MAX_DEPTH: usize = 32;
/// Maximum length of keys. The rules for longer keys are not implemented here.
const MAX_KEY: usize = 256;

/// Parses a text. Returns `None` if it has a feature that is not supported here.
pub(super) fn parse(file: FileId, text: &str) -> Option<Parsed<'_>> {
    if !has_supported_characters(text) {
        return None;
    }
    let mut reader = Reader { file, text, at: 0, column: None, depth: 0, builder: Builder::new(text) };
    reader.documents()?;
    Some(reader.builder.finish())
}

/// Returns whether the text has only characters that mean the same in all contexts: no tabs, no other line breaks,
/// and no invisible characters.
fn has_supported_characters(text: &str) -> bool {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
    // Without a branch for each byte, the compiler can vectorize the loop.
    let ascii = |chunk: &[u8]| chunk.iter().fold(true, |all, byte| all & plain(byte));
    text.as_bytes().chunks(64).all(ascii)
        || text.chars().all(|c| match c {
            '\u{a1}'..='\u{1fff}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{d7ff}' => !c.is_whitespace(),
            _ => matches!(c, ' '..='~' | '\n'),
        })
}

struct Reader<'s> {
    file: FileId,
    text: &'s str,
    /// The current offset.
    at: usize,
    /// The indentation of the current line, or `None` at the end of a document.
    column: Option<usize>,
    depth: usize,
    builder: Builder<'s>,
}

/// The end of a plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The colon of a key.
    Colon,
    Comment,
    Line,
    /// A comma or a bracket of a flow collection.
    Flow,
}

/// The context of a single-line text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    Block,
    Flow,
}

impl<'s> Reader<'s> {
    fn documents(&mut self) -> Option<()> {
        self.line()?;
        if self.marker() {
            self.next_document()?;
        }
        loop {
            (self.column? == 0).then_some(())?;
            self.builder.begin_document(super::index(self.at));
            self.block(0)?;
            if self.column.is_some() {
                return None;
            }
            self.builder.end_document(super::index(self.at)).ok()?;
            if !self.marker() {
                return Some(());
            }
            self.next_document()?;
        }
    }

    /// Returns whether the document ended because another one begins.
    fn marker(&self) -> bool {
        self.column.is_none() && self.at < self.text.len()
    }

    /// Skips `---`.
    fn next_document(&mut self) -> Option<()> {
        self.at += "---".len();
        self.rest_of_line()
    }

    fn peek(&self) -> Option<u8> {
        self.byte(self.at)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Returns whether there is white space at an offset, or the end of the text.
    fn is_blank(&self, at: usize) -> bool {
        matches!(self.byte(at), None | Some(b' ' | b'\n'))
    }

    fn spaces(&mut self) -> usize {
        let start = self.at;
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        self.at - start
    }

    fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.file, super::index(range.start), super::index(range.end))
    }

    /// Goes from the start of a line to the next content that is not a comment.
    fn line(&mut self) -> Option<()> {
        loop {
            let column = self.spaces();
            match self.peek() {
                None => {
                    self.column = None;
                    return Some(());
                }
                Some(b'\n') => self.at += 1,
                Some(b'#') => self.skip_line(),
                Some(b'-' | b'.') if column == 0 && self.document_ends()? => {
                    self.column = None;
                    return Some(());
                }
                Some(_) => {
                    self.column = Some(column);
                    return Some(());
                }
            }
        }
    }

    /// Returns whether another document begins here. The end marker `...` is not supported.
    fn document_ends(&self) -> Option<bool> {
        match self.text.as_bytes().get(self.at..self.at + 3) {
            Some(b"---") => Some(self.is_blank(self.at + 3)),
            Some(b"...") => None,
            _ => Some(false),
        }
    }

    fn skip_line(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
    }

    /// Skips the rest of a line. After a value, only a comment is supported.
    fn rest_of_line(&mut self) -> Option<()> {
        self.spaces();
        match self.peek() {
            None => {}
            Some(b'\n') => self.at += 1,
            Some(b'#') if self.text[..self.at].ends_with(' ') => self.skip_line(),
            Some(_) => return None,
        }
        self.line()
    }

    /// Returns whether an item of a list begins here.
    fn is_dash(&self) -> bool {
        self.peek() == Some(b'-') && self.is_blank(self.at + 1)
    }

    /// Reads a map or a list whose lines are indented by `column`.
    fn block(&mut self, column: usize) -> Option<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        if self.is_dash() {
            self.list(column)?;
        } else {
            self.map(column)?;
        }
        self.depth -= 1;
        Some(())
    }

    fn open(&mut self, shape: Shape<'s>) -> Option<()> {
        let span = self.span(self.at..self.at);
        self.builder.open(shape, Properties::default(), span).ok()
    }

    fn map(&mut self, column: usize) -> Option<()> {
        self.open(Shape::Map(None))?;
        loop {
            self.key(Context::Block)?;
            self.value(column)?;
            // Lines with a different indentation are rejected by the caller.
            if self.column != Some(column) || self.is_dash() {
                return self.builder.close().ok();
            }
        }
    }

    fn list(&mut self, column: usize) -> Option<()> {
        self.open(Shape::Seq)?;
        loop {
            self.item(column)?;
            if self.column != Some(column) || !self.is_dash() {
                return self.builder.close().ok();
            }
        }
    }

    /// Reads the content after a dash.
    fn item(&mut self, column: usize) -> Option<()> {
        let dash = self.at;
        self.at += 1;
        self.spaces();
        let inner = column + (self.at - dash);
        match self.peek() {
            None | Some(b'\n' | b'#') => {
                self.rest_of_line()?;
                self.block(self.column.filter(|next| *next > column)?)
            }
            Some(b'|') => self.literal(column),
            Some(_) if self.is_dash() || self.key_ahead() => self.block(inner),
            Some(_) => self.text_or_flow(column),
        }
    }

    /// Reads the content after the colon of a key.
    fn value(&mut self, column: usize) -> Option<()> {
        self.spaces();
        match self.peek() {
            None | Some(b'\n' | b'#') => {
                let end = self.at;
                self.rest_of_line()?;
                match self.column {
                    Some(next) if next > column || (next == column && self.is_dash()) => self.block(next),
                    _ => self.empty_value(end),
                }
            }
            Some(b'|') => self.literal(column),
            Some(_) => self.text_or_flow(column),
        }
    }

    fn empty_value(&mut self, at: usize) -> Option<()> {
        let span = self.span(at..at);
        self.builder.scalar(Cow::Borrowed("~"), Style::Plain, Properties::default(), span).ok()
    }

    fn text_or_flow(&mut self, column: usize) -> Option<()> {
        match self.peek()? {
            b'[' | b'{' => self.flow(column)?,
            _ => match self.text(Context::Block)? {
                End::Colon => return None,
                End::Comment | End::Line | End::Flow => {}
            },
        }
        self.rest_of_line()
    }

    /// Returns whether the text that begins here is a key.
    fn key_ahead(&self) -> bool {
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => {
                let end = self.quoted(quote).map(|inside| inside.end + 1);
                end.is_some_and(|end| self.ends_key(end))
            }
            _ => self.plain(Context::Block).is_some_and(|(_, end)| end == End::Colon),
        }
    }

    fn ends_key(&self, at: usize) -> bool {
        let mut at = at;
        while self.byte(at) == Some(b' ') {
            at += 1;
        }
        self.byte(at) == Some(b':') && self.is_blank(at + 1)
    }

    /// Reads a key and its colon.
    fn key(&mut self, within: Context) -> Option<()> {
        let start = self.at;
        match self.text(within)? {
            End::Colon => {}
            End::Comment | End::Line | End::Flow => return None,
        }
        self.spaces();
        (self.peek() == Some(b':') && self.at - start <= MAX_KEY).then_some(())?;
        self.at += 1;
        Some(())
    }

    /// Reads a single-line text, and returns its end.
    fn text(&mut self, within: Context) -> Option<End> {
        let start = self.at;
        let (inside, span, style, end) = match self.peek()? {
            quote @ (b'"' | b'\'') => {
                let inside = self.quoted(quote)?;
                let behind = inside.end + 1;
                let end = if self.ends_key(behind) { End::Colon } else { End::Line };
                (inside, start..behind, Style::Text, end)
            }
            _ => {
                let (inside, end) = self.plain(within)?;
                (inside.clone(), inside, Style::Plain, end)
            }
        };
        self.at = span.end;
        let span = self.span(span);
        let text = Cow::Borrowed(&self.text[inside]);
        self.builder.scalar(text, style, Properties::default(), span).ok()?;
        Some(end)
    }

    /// Returns the range in the quotes that begin here, if it has no escapes.
    fn quoted(&self, quote: u8) -> Option<Range<usize>> {
        let start = self.at + 1;
        let rest = &self.text.as_bytes()[start..];
        let end = start + rest.iter().position(|byte| matches!(byte, b'\n' | b'\\') || *byte == quote)?;
        (self.byte(end) == Some(quote)).then_some(start..end)
    }

    /// Returns the range and the end of the plain text that begins here.
    fn plain(&self, within: Context) -> Option<(Range<usize>, End)> {
        let bytes = self.text.as_bytes();
        let flow = within == Context::Flow;
        let first = self.peek()?;
        let begins = match first {
            b'-' => self.byte(self.at + 1).is_some_and(|next| next.is_ascii_alphanumeric() || next == b'-'),
            // These characters have other meanings, or are reserved.
            b' ' | b'\n' | b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>'
            | b'\'' | b'"' | b'%' | b'@' | b'`' | b'?' | b':' => false,
            _ => true,
        };
        if !begins {
            return None;
        }
        let mut at = self.at;
        let end = loop {
            match bytes.get(at) {
                None | Some(b'\n') => break End::Line,
                Some(b':') if self.is_blank(at + 1) => break End::Colon,
                Some(b':') if flow && matches!(bytes[at + 1], b',' | b'[' | b']' | b'{' | b'}') => {
                    return None;
                }
                Some(b'#') if bytes[at - 1] == b' ' => break End::Comment,
                Some(b',' | b']' | b'}') if flow => break End::Flow,
                Some(b'[' | b'{') if flow => return None,
                Some(_) => at += 1,
            }
        };
        let inside = self.text[self.at..at].trim_end_matches(' ');
        Some((self.at..self.at + inside.len(), end))
    }

    /// Reads a flow collection. Its further lines must be indented deeper than `column`.
    fn flow(&mut self, column: usize) -> Option<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let map = self.peek() == Some(b'{');
        let close = if map { b'}' } else { b']' };
        self.open(if map { Shape::Map(None) } else { Shape::Seq })?;
        self.at += 1;
        self.skip_white_space(column)?;
        let mut more = self.peek()? != close;
        while more {
            if map {
                self.key(Context::Flow)?;
                self.spaces();
            }
            match self.peek()? {
                b'[' | b'{' => self.flow(column)?,
                _ => match self.text(Context::Flow)? {
                    End::Colon | End::Comment => return None,
                    End::Line | End::Flow => {}
                },
            }
            self.skip_white_space(column)?;
            more = self.peek()? == b',';
            if more {
                self.at += 1;
                self.skip_white_space(column)?;
            }
        }
        (self.peek()? == close).then_some(())?;
        self.at += 1;
        self.depth -= 1;
        self.builder.close().ok()
    }

    /// Skips white space in a flow collection.
    fn skip_white_space(&mut self, column: usize) -> Option<()> {
        self.spaces();
        while self.peek() == Some(b'\n') {
            self.at += 1;
            let indent = self.spaces();
            (self.peek() == Some(b'\n') || indent > column).then_some(())?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;

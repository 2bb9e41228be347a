//! The value after a name: its range, and its quote.

use std::ops::Range;

use super::{MAX_EXAMINED, Scanner, is_word};

/// Maximum number of spaces between a name and its value.
const MAX_GAP: usize = 8;

/// The range of a value, and its quote.
pub(super) struct Value {
    pub(super) range: Range<usize>,
    /// The quote, and the number of backslashes before it.
    pub(super) quote: Option<(u8, usize)>,
}

impl Scanner<'_> {
    pub(super) fn after_spaces(&self, at: usize) -> usize {
        let spaces =
            self.bytes[at..].iter().take(MAX_GAP).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        at + spaces
    }

    /// Returns the whole range of a value, if only a prefix of it was examined.
    pub(super) fn full_range(&self, value: &Value) -> Range<usize> {
        let start = value.range.start;
        match value.quote {
            _ if value.range.len() + 4 < MAX_EXAMINED => value.range.clone(),
            Some((quote, escapes)) => start..self.closing(start, quote, escapes, usize::MAX),
            None => self.unquoted(start, usize::MAX),
        }
    }

    /// Returns the value at a position, after optional white space.
    pub(super) fn value(&self, from: usize) -> Option<Value> {
        let mut at = self.after_spaces(from);
        // A string prefix in Python.
        if matches!(self.byte(at), Some(b'b' | b'r' | b'f' | b'u'))
            && matches!(self.byte(at + 1), Some(b'"' | b'\''))
        {
            at += 1;
        }
        let escapes = self.bytes[at..].iter().take(3).take_while(|byte| **byte == b'\\').count();
        let quote = self.byte(at + escapes).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
        let Some(quote) = quote else {
            let range = self.unquoted(at, MAX_EXAMINED);
            return (!range.is_empty()).then_some(Value { range, quote: None });
        };
        let start = at + escapes + 1;
        let range = start..self.closing(start, quote, escapes, MAX_EXAMINED);
        (!range.is_empty()).then_some(Value { range, quote: Some((quote, escapes)) })
    }

    /// Returns the end of a literal: its quote with the same number of backslashes as the opening quote, or the end
    /// of the line.
    fn closing(&self, start: usize, quote: u8, escapes: usize, limit: usize) -> usize {
        let mut slashes = 0;
        for (index, byte) in self.bytes[start..].iter().enumerate() {
            match byte {
                _ if index == limit => return self.text.floor_char_boundary(start + index),
                b'\n' => return start + index,
                byte if *byte == quote && slashes <= escapes => return start + index - slashes,
                b'\\' => slashes += 1,
                _ => slashes = 0,
            }
        }
        self.bytes.len()
    }

    /// Returns the range of the unquoted word at a position.
    pub(super) fn unquoted(&self, start: usize, limit: usize) -> Range<usize> {
        let mut at = start;
        while let Some(byte) = self.byte(at) {
            if at - start >= limit {
                return start..self.text.floor_char_boundary(at);
            }
            let ends = match byte {
                b'"' | b'\'' | b';' | b'<' | b'`' => true,
                b'(' | b'[' if at > start => true,
                b',' | b'&' | b')' | b'}' | b']' | b'>' => at == start || self.begins_new_part(at + 1),
                byte => byte.is_ascii_whitespace() || byte.is_ascii_control(),
            };
            if ends {
                break;
            }
            at += 1;
        }
        start..at
    }

    /// Returns whether the text after a comma or a bracket doesn't belong to the value before it.
    fn begins_new_part(&self, at: usize) -> bool {
        const NAME: usize = 48;
        let Some(next) = self.byte(at) else { return true };
        if next.is_ascii_whitespace()
            || matches!(next, b',' | b';' | b')' | b'}' | b']' | b'"' | b'\'' | b'>' | b'.')
        {
            return true;
        }
        let name =
            self.bytes[at..].iter().take(NAME).take_while(|byte| is_word(**byte) || !byte.is_ascii()).count();
        name > 0 && matches!(self.byte(at + name), Some(b'=' | b':'))
    }
}

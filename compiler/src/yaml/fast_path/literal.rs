//! Literal blocks.

use std::borrow::Cow;

use super::Reader;
use crate::yaml::build::{Properties, Style};

impl Reader<'_> {
    /// Reads a literal block, whose lines are indented deeper than `column`.
    pub(super) fn literal(&mut self, column: usize) -> Option<()> {
        self.at += 1;
        let strip = self.peek() == Some(b'-');
        self.at += usize::from(strip);
        let spaces = self.spaces();
        match self.peek()? {
            b'\n' => self.at += 1,
            b'#' if spaces > 0 => self.skip_line(),
            _ => return None,
        }
        let indent = self.spaces();
        (indent > column && self.peek()? != b'\n').then_some(())?;
        let start = self.at;
        let mut text = String::new();
        let mut end;
        // Empty lines are added when another line follows.
        let mut empty = 0;
        loop {
            let line = self.at;
            self.skip_line();
            // Files without a line break at their end are left to the full parser.
            let content = self.text[line..self.at].strip_suffix('\n')?;
            text.extend(std::iter::repeat_n('\n', empty));
            text.push_str(content);
            text.push('\n');
            end = line + content.len();
            empty = 0;
            if !self.next_of_literal(indent, &mut empty)? {
                break;
            }
        }
        if strip {
            text.pop();
        }
        let span = self.span(start..end);
        self.builder.scalar(Cow::Owned(text), Style::Text, Properties::default(), span).ok()?;
        self.line()
    }

    /// Goes to the next line of a literal block, and counts the empty lines before it. Returns whether there is one.
    fn next_of_literal(&mut self, indent: usize, empty: &mut usize) -> Option<bool> {
        loop {
            let line = self.at;
            while self.at - line < indent && self.peek() == Some(b' ') {
                self.at += 1;
            }
            match self.peek() {
                Some(b'\n') => {
                    *empty += 1;
                    self.at += 1;
                }
                Some(_) if self.at - line == indent => return Some(true),
                _ => {
                    self.at = line;
                    return Some(false);
                }
            }
        }
    }
}

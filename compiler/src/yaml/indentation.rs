//! Refuses entries of flow collections that YAML requires to be indented deeper.
//!
//! By default, `granit-parser` accepts `key: [a,` with `b]` below `key`. Its option `strict_indentation` refuses that,
//! but it also refuses a closing bracket that stands alone below its key, which is common and which other readers accept.

use granit_parser::{Event, StructureStyle};

use super::build::Step;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;

/// The collections that are open around the current event.
pub(super) struct Indentation<'s> {
    text: &'s str,
    /// The column of each open block collection; nothing for a flow collection.
    open: Vec<Option<usize>>,
}

impl<'s> Indentation<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        Self { text, open: Vec::new() }
    }

    pub(super) fn check(&mut self, event: &Event<'_>, span: Span) -> Step {
        let (style, in_flow) = match event {
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
                return Ok(());
            }
            Event::SequenceStart(style, ..) | Event::MappingStart(style, ..) => (Some(style), self.in_flow()),
            Event::Scalar(..) | Event::Alias(_) => (None, self.in_flow()),
            _ => return Ok(()),
        };
        if in_flow {
            self.entry(span)?;
        }
        if let Some(style) = style {
            let block = *style == StructureStyle::Block;
            let is_sequence = matches!(event, Event::SequenceStart(..));
            self.open.push(block.then(|| self.column(span, is_sequence)));
        }
        Ok(())
    }

    fn in_flow(&self) -> bool {
        matches!(self.open.last(), Some(None))
    }

    /// The column of a block collection: of the dash of a list's first item, or of a map's first key.
    fn column(&self, span: Span, is_sequence: bool) -> usize {
        let text = self.text.get(..span.start as usize).unwrap_or_default();
        let line = &text[text.rfind('\n').map_or(0, |newline| newline + 1)..];
        // The place of a list may be its dash, or what stands behind it.
        let dash = || line.trim_end_matches(' ').strip_suffix('-').map(str::len);
        let at_dash = self.text.as_bytes().get(span.start as usize) == Some(&b'-');
        match is_sequence && !at_dash {
            true => dash().unwrap_or(line.len()),
            false => line.len(),
        }
    }

    fn entry(&self, span: Span) -> Step {
        let Some(column) = self.open.iter().rev().flatten().next() else { return Ok(()) };
        // A value that is left out has no text of its own.
        if span.start == span.end || !self.begins_line(span.start as usize, *column) {
            return Ok(());
        }
        let message = "the entries of a list or map in brackets are not indented";
        let diagnostic = Diagnostic::new(Code::SYNTAX, message)
            .at(span, "this must stand further to the right than the key above")
            .help("indent the lines between the brackets");
        Err(Box::new(diagnostic))
    }

    /// Whether a line begins with at most so many spaces before an offset.
    fn begins_line(&self, offset: usize, most: usize) -> bool {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let spaces = before.iter().rev().take(most + 1).take_while(|byte| **byte == b' ').count();
        spaces <= most
            && matches!(before.len().checked_sub(spaces + 1).map(|at| before[at]), None | Some(b'\n'))
    }
}

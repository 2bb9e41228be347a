//! Rejects entries of flow collections that YAML requires to be indented deeper.
//!
//! `granit-parser` accepts `key: [a,` with `b]` below `key` by default. Its option `strict_indentation` rejects that,
//! but it also rejects a closing bracket on its own line below its key, which is common and which other readers
//! accept.

use granit_parser::{Event, StructureStyle};

use super::build::BuildResult;
use crate::diag::{Code, Diagnostic};
use crate::source::Span;

/// The collections around the current event.
pub(super) struct Indentation<'s> {
    text: &'s str,
    open: Vec<Open>,
}

enum Open {
    Flow,
    /// A block map, with the indentation of the line of its first key.
    Map(usize),
    /// A block list. The parser doesn't report the column of its dashes, so entries are compared with the map around
    /// it.
    List,
}

impl<'s> Indentation<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        Self { text, open: Vec::new() }
    }

    pub(super) fn check(&mut self, event: &Event<'_>, span: Span) -> BuildResult {
        let opened = match event {
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
                return Ok(());
            }
            Event::SequenceStart(StructureStyle::Block, ..) => Some(Open::List),
            Event::MappingStart(StructureStyle::Block, ..) => Some(Open::Map(self.indentation(span))),
            Event::SequenceStart(..) | Event::MappingStart(..) => Some(Open::Flow),
            Event::Scalar(..) | Event::Alias(_) => None,
            _ => return Ok(()),
        };
        if matches!(self.open.last(), Some(Open::Flow)) {
            self.entry(span)?;
        }
        self.open.extend(opened);
        Ok(())
    }

    /// Returns the number of spaces at the start of a line.
    fn indentation(&self, span: Span) -> usize {
        let before = self.text.get(..span.start as usize).unwrap_or_default();
        let line = &before[before.rfind('\n').map_or(0, |newline| newline + 1)..];
        line.len() - line.trim_start_matches(' ').len()
    }

    fn entry(&self, span: Span) -> BuildResult {
        let innermost = self.open.iter().rev().find_map(|open| match open {
            Open::Map(indentation) => Some(*indentation),
            Open::Flow | Open::List => None,
        });
        let Some(indentation) = innermost else { return Ok(()) };
        // An omitted value has no text.
        if span.start == span.end || !self.begins_line(span.start as usize, indentation) {
            return Ok(());
        }
        let message = "the entries of a list or map in brackets are not indented";
        let diagnostic = Diagnostic::new(Code::SYNTAX, message)
            .at(span, "this must stand further to the right than the key above")
            .help("indent the lines between the brackets");
        Err(Box::new(diagnostic))
    }

    /// Returns whether an offset is preceded by at most `most` spaces and the start of a line.
    fn begins_line(&self, offset: usize, most: usize) -> bool {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let spaces = before.iter().rev().take(most + 1).take_while(|byte| **byte == b' ').count();
        spaces <= most
            && matches!(before.len().checked_sub(spaces + 1).map(|at| before[at]), None | Some(b'\n'))
    }
}

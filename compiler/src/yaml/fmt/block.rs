//! Block scalars, which are indented anew without a change to what they say.

use granit_parser::Span;

use super::comment;

/// A scalar after `|` or `>`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Block<'s> {
    /// `|`, `>` and what qualifies it.
    header: &'s str,
    /// Behind the header; empty where there is none.
    comment: &'s str,
    body: Body<'s>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Body<'s> {
    /// Nothing but so many empty lines.
    Empty(usize),
    /// Lines of which so many spaces are indentation.
    Lines { indent: usize, lines: &'s str },
}

impl<'s> Block<'s> {
    /// Reads a scalar from where it begins to where the scanner saw it end, and tells how long it really is.
    pub(super) fn new(source: &'s str, value: &str, span: Span) -> Option<(Self, usize)> {
        let first = source.find('\n').unwrap_or(source.len());
        let line = source.get(..first)?;
        let rest =
            line.trim_start_matches(['|', '>', '+', '-']).trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = rest.trim_start_matches(['+', '-']);
        let header = line.get(..line.len() - rest.len())?;
        let comment = rest.trim_matches([' ', '\t']);
        let keeps = header.contains('+');
        let (body, end) = if value.bytes().all(|b| b == b'\n') {
            let end = if keeps { source.rfind('\n').unwrap_or(source.len()) } else { first };
            (Body::Empty(value.len()), end)
        } else {
            let indent = span.indent.unwrap_or(span.start.col());
            let end = first + 1 + content(source.get(first + 1..)?, indent, keeps);
            (Body::Lines { indent, lines: source.get(first + 1..end)? }, end)
        };
        Some((Self { header, comment, body }, end))
    }

    /// Whether the empty lines below belong to it.
    pub(super) fn keeps(&self) -> bool {
        self.header.contains('+')
    }

    /// Writes the scalar behind what stands before it, with its lines `to` columns from the left.
    pub(super) fn write(&self, out: &mut String, to: usize, is_root: bool) {
        // The lines always stand two columns deeper than the collection that they are in.
        out.extend(self.header.chars().map(|c| if c.is_ascii_digit() { '2' } else { c }));
        if is_root
            && matches!(self.body, Body::Empty(_))
            && !self.header.contains(|c: char| c.is_ascii_digit())
        {
            // A comment below would be read as the text of a document that has nothing else.
            out.push('2');
        }
        if !self.comment.is_empty() {
            out.push_str("  ");
            comment::write(out, self.comment, false);
        }
        match self.body {
            Body::Empty(lines) => out.extend(std::iter::repeat_n('\n', lines)),
            Body::Lines { indent, lines } => {
                for line in lines.split('\n') {
                    out.push('\n');
                    let text = line.get(indent..).unwrap_or_default();
                    if !text.is_empty() {
                        out.extend(std::iter::repeat_n(' ', to));
                        out.push_str(text);
                    }
                }
            }
        }
    }
}

/// How much of what follows the header belongs to the scalar.
fn content(lines: &str, indent: usize, keeps: bool) -> usize {
    let empty = |line: &str| line.len() <= indent && line.bytes().all(|b| b == b' ');
    let (ended, last) = lines.rsplit_once('\n').map_or((None, lines), |(ended, last)| (Some(ended), last));
    // What the scanner read without the end of its line is the indentation of what follows, or the end of the file.
    let Some(mut rest) = ended.filter(|_| empty(last)) else { return lines.len() };
    while !keeps {
        let last = rest.rfind('\n').map_or(0, |at| at + 1);
        if last == 0 || !empty(&rest[last..]) {
            break;
        }
        rest = &rest[..last - 1];
    }
    rest.len()
}

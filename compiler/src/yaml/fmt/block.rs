//! Block scalars. They are indented differently, and their content is unchanged.

use granit_parser::Span;

use super::comment;

/// A scalar after `|` or `>`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Block<'s> {
    /// `|` or `>`, with its indicators.
    header: &'s str,
    /// The comment after the header, or an empty text.
    comment: &'s str,
    body: Body<'s>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Body<'s> {
    /// Only empty lines, with their number.
    Empty(usize),
    /// Lines, with the number of spaces of their indentation.
    Lines { indent: usize, lines: &'s str },
}

impl<'s> Block<'s> {
    /// Reads a scalar from its start to the end that the scanner reports. Returns its real length too.
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

    /// Returns whether the empty lines after the scalar belong to it.
    pub(super) fn keeps(&self) -> bool {
        self.header.contains('+')
    }

    /// Writes the scalar after the text before it. Its lines are indented by `to` columns.
    pub(super) fn write(&self, out: &mut String, to: usize, is_root: bool) {
        // The lines are always indented two columns deeper than their collection.
        out.extend(self.header.chars().map(|c| if c.is_ascii_digit() { '2' } else { c }));
        if is_root
            && matches!(self.body, Body::Empty(_))
            && !self.header.contains(|c: char| c.is_ascii_digit())
        {
            // Without an indicator, a comment below would be read as text of the otherwise empty document.
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

/// Returns the length of the text after the header that belongs to the scalar.
fn content(lines: &str, indent: usize, keeps: bool) -> usize {
    let empty = |line: &str| line.len() <= indent && line.bytes().all(|b| b == b' ');
    let (ended, last) = lines.rsplit_once('\n').map_or((None, lines), |(ended, last)| (Some(ended), last));
    // A last line without a line break is the indentation of the next token, or the end of the file.
    let Some(mut rest) = ended.filter(|_| empty(last)) else { return lines.len() };
    if keeps {
        return rest.len();
    }
    loop {
        let last = rest.rfind('\n').map_or(0, |at| at + 1);
        if last == 0 || !empty(&rest[last..]) {
            break;
        }
        rest = &rest[..last - 1];
    }
    rest.len()
}

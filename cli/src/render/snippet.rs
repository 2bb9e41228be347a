//! The source lines that a diagnostic shows, prepared for a terminal.
//!
//! Each line is cut to the terminal's width around its label, and has no control characters. Labels are moved
//! accordingly.

use std::ops::Range;

use dcp_compiler::diag::Label;
use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use unicode_width::UnicodeWidthChar as _;

use super::{Places, Position, boundary, sanitize, visible};

/// Maximum width of a tab.
pub(super) const TAB: usize = 4;

/// Consecutive lines.
#[derive(Debug)]
pub(super) struct Snippet {
    pub(super) path: String,
    /// The position in the header of the snippet.
    at: Position,
    /// The index of the first line.
    line: usize,
    text: String,
    pub(super) labels: Vec<LabeledSpan>,
}

impl SourceCode for Snippet {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.text.read_span(span, before, after)?;
        // `miette` reads the span without context to get the position for the header.
        let (line, column) = if before == 0 {
            (self.at.line - 1, self.at.column - 1)
        } else {
            (self.line + read.line(), read.column())
        };
        let path = sanitize(&self.path);
        Ok(Box::new(MietteSpanContents::new_named(
            path,
            read.data(),
            *read.span(),
            line,
            column,
            read.line_count(),
        )))
    }
}

/// Returns the snippets of a diagnostic. A snippet without labels is of a file without text.
pub(super) fn snippets(labels: &[Label], places: &Places<'_>, width: usize) -> Vec<Snippet> {
    let mut groups: Vec<Vec<&Label>> = Vec::new();
    for label in labels {
        let line = places.start(label.span).line;
        let near = |other: &&Label| {
            other.span.file == label.span.file && places.start(other.span).line.abs_diff(line) <= 3
        };
        match groups.iter_mut().find(|group| group.iter().any(near)) {
            Some(group) => group.push(label),
            None => groups.push(vec![label]),
        }
    }
    groups.iter().map(|group| snippet(group, places, width)).collect()
}

fn snippet(group: &[&Label], places: &Places<'_>, width: usize) -> Snippet {
    let first = group[0].span;
    let all = places.text(first);
    let at = places.start(first);
    let mut drawn =
        Snippet { path: places.path(first).to_owned(), at, line: 0, text: String::new(), labels: Vec::new() };
    if all.is_empty() {
        return drawn;
    }
    let offsets = || group.iter().map(|label| boundary(all, label.span.start as usize));
    let start = line_before(all, line_start(all, offsets().min().unwrap_or_default()));
    let last = offsets().max().unwrap_or_default();
    drawn.line = places.position(first.file, u32::try_from(start).unwrap_or(u32::MAX)).line - 1;
    let mut begin = start;
    loop {
        let end = all[begin..].find('\n').map_or(all.len(), |at| begin + at);
        let here: Vec<(&Label, Range<usize>)> =
            group.iter().filter_map(|label| Some((*label, within(all, label, begin, end)?))).collect();
        drawn.line(&all[begin..end], &here, width);
        let done = begin > last || end == all.len();
        begin = end + 1;
        // The text after the last line break is no line, unless a label is there.
        if done || (begin == all.len() && begin > last) {
            return drawn;
        }
    }
}

/// Returns the part of a label in the line where it begins, relative to that line.
fn within(all: &str, label: &Label, begin: usize, end: usize) -> Option<Range<usize>> {
    let from = boundary(all, label.span.start as usize);
    let to = boundary(all, label.span.end as usize).clamp(from, end.max(from));
    (begin..=end).contains(&from).then(|| from - begin..to - begin)
}

impl Snippet {
    /// Adds a line, and the labels that begin in it.
    fn line(&mut self, line: &str, labels: &[(&Label, Range<usize>)], width: usize) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let room = width.saturating_sub(10).max(30);
        let from = labels.iter().map(|(_, range)| range.start).min().unwrap_or_default();
        let kept = window(line, from, room);
        // The new position of each byte of the line.
        let mut moved = vec![self.text.len(); kept.start + 1];
        if kept.start > 0 {
            self.text.push('…');
            moved[kept.start] = self.text.len();
        }
        for c in line[kept.clone()].chars() {
            self.text.push(if c == '\t' { c } else { visible(c) });
            moved.resize(moved.len() + c.len_utf8(), self.text.len());
        }
        let end = self.text.len();
        let cut = kept.end < line.len();
        // A label at the end of a line needs a character to point at.
        let beyond = labels.iter().any(|(_, range)| range.start >= kept.end);
        if cut || beyond {
            self.text.push(if cut { '…' } else { ' ' });
        }
        for (label, range) in labels {
            let start = moved.get(range.start).copied().unwrap_or(end);
            let stop = moved.get(range.end).copied().unwrap_or(end);
            let next = self.text[start..].chars().next().map_or(1, char::len_utf8);
            let text = Some(sanitize(&label.text)).filter(|text| !text.is_empty());
            self.labels.push(LabeledSpan::new(text, start, stop.saturating_sub(start).max(next)));
        }
        self.text.push('\n');
    }
}

/// Returns the part of a line that fits: some text before a position, and the text that follows.
fn window(line: &str, from: usize, room: usize) -> Range<usize> {
    let from = boundary(line, from);
    if fit(line.char_indices(), room).is_none() {
        return 0..line.len();
    }
    let before = fit(line[..from].char_indices().rev(), room / 3);
    let start = match before {
        // All text before it fits.
        _ if fit(line[..from].char_indices(), room * 2 / 3).is_none() => 0,
        Some(at) => at + line[at..].chars().next().map_or(0, char::len_utf8),
        None => 0,
    };
    let end = fit(line[start..].char_indices(), room).map_or(line.len(), |more| start + more);
    start..end
}

/// Returns the position of the first character that does not fit, in columns of a terminal.
fn fit(chars: impl Iterator<Item = (usize, char)>, room: usize) -> Option<usize> {
    let mut used = 0;
    for (at, c) in chars {
        used += if c == '\t' { TAB } else { visible(c).width().unwrap_or(0) };
        if used > room {
            return Some(at);
        }
    }
    None
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

fn line_before(text: &str, start: usize) -> usize {
    if start == 0 { 0 } else { line_start(text, start - 1) }
}

#[cfg(test)]
mod tests {
    use super::window;

    #[test]
    fn a_short_line_is_shown_whole() {
        assert_eq!(window("abc", 2, 3), 0..3);
        assert_eq!(window("", 0, 3), 0..0);
    }

    #[test]
    fn a_long_line_is_cut_around_its_place() {
        let line = "0123456789".repeat(100);
        assert_eq!(window(&line, 5, 30), 0..30);
        assert_eq!(window(&line, 500, 30), 490..520);
        assert_eq!(window(&line, 1000, 30), 990..1000);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let line = "日本".repeat(100);
        assert_eq!(window(&line, 0, 30), 0..15 * 3);
        assert_eq!(window(&line, 300, 30), 285..330);
    }
}

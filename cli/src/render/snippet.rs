//! The lines of a source that a diagnostic shows, made fit to be seen.
//!
//! Each is cut to the width of the terminal around what it is shown for, and holds nothing that a terminal would
//! obey. Labels are moved along.

use std::ops::Range;

use dcp_compiler::diag::Label;
use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use unicode_width::UnicodeWidthChar as _;

use super::{Places, Position, boundary, harmless, visible};

/// How wide a tab is at most.
pub(super) const TAB: usize = 4;

/// Lines that follow each other.
#[derive(Debug)]
pub(super) struct Snippet {
    pub(super) path: String,
    /// The place that is named above it.
    at: Position,
    /// Of the first of the lines, from 0.
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
        // Without lines around it, the span is asked for to name its place.
        let (line, column) = if before == 0 {
            (self.at.line - 1, self.at.column - 1)
        } else {
            (self.line + read.line(), read.column())
        };
        let path = harmless(&self.path);
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

/// The snippets of a diagnostic. One with no labels is of a file that has no text to show.
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
        // Behind the last line break there is no line, unless that is what is to be shown.
        if done || (begin == all.len() && begin > last) {
            return drawn;
        }
    }
}

/// What of a label lies in the line in which it begins, from that line's beginning.
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
        // Where each byte of the line went to.
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
        // What is to be shown at the end of a line needs something to stand under.
        let beyond = labels.iter().any(|(_, range)| range.start >= kept.end);
        if cut || beyond {
            self.text.push(if cut { '…' } else { ' ' });
        }
        for (label, range) in labels {
            let start = moved.get(range.start).copied().unwrap_or(end);
            let stop = moved.get(range.end).copied().unwrap_or(end);
            let next = self.text[start..].chars().next().map_or(1, char::len_utf8);
            let text = Some(harmless(&label.text)).filter(|text| !text.is_empty());
            self.labels.push(LabeledSpan::new(text, start, stop.saturating_sub(start).max(next)));
        }
        self.text.push('\n');
    }
}

/// What of a line is shown where there is no room for all of it: some of what comes before a place, and what follows.
fn window(line: &str, from: usize, room: usize) -> Range<usize> {
    let from = boundary(line, from);
    if fit(line.char_indices(), room).is_none() {
        return 0..line.len();
    }
    let before = fit(line[..from].char_indices().rev(), room / 3);
    let start = match before {
        // There is room for all that comes before it.
        _ if fit(line[..from].char_indices(), room * 2 / 3).is_none() => 0,
        Some(at) => at + line[at..].chars().next().map_or(0, char::len_utf8),
        None => 0,
    };
    let end = fit(line[start..].char_indices(), room).map_or(line.len(), |more| start + more);
    start..end
}

/// The place of the first character for which there is no room, in columns of a terminal.
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

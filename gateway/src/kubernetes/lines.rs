//! Lines of a log, each with the timestamp that its node has written before it, and positions between them.
//!
//! The API of Kubernetes has no byte positions: it returns lines with timestamps, from a second on. So a cursor is the
//! timestamp of a line, the number of lines before it in that nanosecond, and the number of its bytes that were returned.

use std::str::FromStr;

use jiff::Timestamp;

use crate::compute::{Cursor, Log};
use crate::error::{Error, Result};

/// A position in a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// The timestamp of the next line, or of the last one that was returned.
    pub(super) at: Timestamp,
    /// The number of lines of this timestamp that were returned.
    pub(super) lines: u32,
    /// The number of bytes of the next line that were returned.
    pub(super) bytes: usize,
}

impl Position {
    pub(super) fn parse(cursor: &Cursor) -> Result<Self> {
        if cursor.is_start() {
            return Ok(Self::default());
        }
        let invalid = || Error::Invalid("the cursor is not one of this log".to_owned());
        let mut parts = cursor.as_str().split('/');
        let mut next = || parts.next().ok_or_else(invalid);
        let (at, lines, bytes) = (next()?, next()?, next()?);
        Ok(Self {
            at: Timestamp::from_str(at).map_err(|_| invalid())?,
            lines: lines.parse().map_err(|_| invalid())?,
            bytes: bytes.parse().map_err(|_| invalid())?,
        })
    }

    /// Returns the second in which the next line was written; none at the beginning of a log. A cluster compares whole
    /// seconds only, and its client would round this one up.
    pub(super) fn since(self) -> Option<Timestamp> {
        let second = Timestamp::from_second(self.at.as_second()).ok();
        second.filter(|_| self != Self::default())
    }

    pub(super) fn cursor(self) -> Cursor {
        if self == Self::default() {
            return Cursor::default();
        }
        Cursor::new(format!("{}/{}/{}", self.at, self.lines, self.bytes))
    }

    /// Takes at most `limit` bytes of the lines after this position. `is_cut` is true if the text was shortened, so that
    /// its last line may be incomplete.
    pub(super) fn take(self, text: &[u8], limit: usize, is_cut: bool) -> Log {
        self.take_from(Self::default(), text, limit, is_cut)
    }

    /// Does the same for a text that begins at the position `base`.
    pub(super) fn take_from(mut self, base: Self, text: &[u8], limit: usize, is_cut: bool) -> Log {
        let mut bytes = Vec::new();
        for Line { at, number, content, is_complete, .. } in numbered(base, text) {
            if (at, number) <= (self.at, self.lines) {
                continue;
            }
            if at > self.at {
                self = Self { at, lines: 0, bytes: 0 };
            }
            let rest = content.get(self.bytes..).unwrap_or_default();
            let room = limit - bytes.len();
            if rest.len() > room || (!is_complete && is_cut) {
                let taken = rest.len().min(room);
                bytes.extend_from_slice(&rest[..taken]);
                self.bytes += taken;
                break;
            }
            bytes.extend_from_slice(rest);
            // A line without an end is the last one, and may continue.
            if is_complete {
                (self.lines, self.bytes) = (number, 0);
            } else {
                self.bytes += rest.len();
            }
        }
        Log { next: self.cursor(), bytes }
    }

    /// Returns the whole lines after this position, with their timestamps, of a text that begins at the position `base`.
    /// A last line without an end is whole if nothing follows.
    pub(super) fn lines_from(self, base: Self, text: &[u8], is_over: bool) -> Lines {
        let mut lines = Lines { text: Vec::new(), end: self, length: 0, base };
        for Line { at, number, raw, end, is_complete, .. } in numbered(base, text) {
            if !is_complete && !is_over {
                break;
            }
            let position = Self { at, lines: number, bytes: 0 };
            if (at, number) > (self.at, self.lines) {
                lines.text.extend_from_slice(raw);
                lines.end = position;
            }
            (lines.base, lines.length) = (position, end);
        }
        lines
    }
}

/// Whole lines of a log, with their timestamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) text: Vec<u8>,
    /// The position after them.
    pub(super) end: Position,
    /// The length of the text that has been read, also of lines before the first of them.
    pub(super) length: usize,
    /// The position at which the rest of the text begins.
    pub(super) base: Position,
}

/// A line, with its number among those of its timestamp.
struct Line<'a> {
    at: Timestamp,
    number: u32,
    /// The line with its timestamp.
    raw: &'a [u8],
    content: &'a [u8],
    /// The place in the text after it.
    end: usize,
    is_complete: bool,
}

/// Numbers the lines of a text. A line whose timestamp is before that of the line before it counts as one of that
/// timestamp: a node may write the lines of two streams in another order.
fn numbered(base: Position, text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let (mut last, mut number, mut end) = (base.at, base.lines, 0);
    split_lines(text).filter_map(move |raw| {
        end += raw.len();
        // The text may begin with the rest of a line.
        let (at, content) = split_timestamp(raw)?;
        if at > last {
            (last, number) = (at, 0);
        }
        number = number.saturating_add(1);
        Some(Line { at: last, number, raw, content, end, is_complete: raw.ends_with(b"\n") })
    })
}

/// Splits a line after its timestamp.
fn split_timestamp(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let end = line.iter().position(|byte| *byte == b' ')?;
    let at = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    Some((at, &line[end + 1..]))
}

fn split_lines(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// Returns the length of the first lines of a text.
#[cfg(test)]
pub(super) fn length_of_lines(text: &[u8], lines: usize) -> usize {
    split_lines(text).take(lines).map(<[u8]>::len).sum()
}

/// Returns the error that a kubelet has written after a log: it begins to respond before it reads the log.
pub(super) fn error_in(text: &[u8]) -> Option<String> {
    let last = split_lines(text).next_back()?;
    let is_error = split_timestamp(last).is_none() && !last.ends_with(b"\n");
    is_error.then(|| String::from_utf8_lossy(last).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(lines: &[(i64, &str)]) -> String {
        let line = |(at, text): &(i64, &str)| {
            format!("{} {text}\n", Timestamp::from_nanosecond(i128::from(*at)).unwrap())
        };
        lines.iter().map(line).collect()
    }

    fn take(position: Position, text: &str, limit: usize) -> Log {
        position.take(text.as_bytes(), limit, false)
    }

    #[test]
    fn lines_of_one_timestamp_are_returned_once() {
        let text = log(&[(1, "a"), (1, "b"), (2, "c")]);
        let first = take(Position::default(), &text, 4);
        assert_eq!(first.bytes, b"a\nb\n");
        let second = take(Position::parse(&first.next).unwrap(), &text, 100);
        assert_eq!(second.bytes, b"c\n");
        let third = take(Position::parse(&second.next).unwrap(), &text, 100);
        assert_eq!((third.bytes.len(), third.next), (0, second.next));
    }

    #[test]
    fn lines_are_read_from_the_second_of_the_position_on() {
        let position = Position { at: "2026-01-01T00:00:01.9Z".parse().unwrap(), lines: 0, bytes: 2 };
        assert_eq!(position.since(), "2026-01-01T00:00:01Z".parse().ok());
        assert_eq!(Position::default().since(), None);
    }

    #[test]
    fn a_line_with_an_earlier_timestamp_is_returned_too() {
        let text = log(&[(1, "a"), (3, "b"), (2, "c"), (3, "d"), (4, "e")]);
        let (mut position, mut read) = (Position::default(), Vec::new());
        for _ in 0..5 {
            let part = take(position, &text, 2);
            read.extend(part.bytes);
            position = Position::parse(&part.next).unwrap();
        }
        assert_eq!(read, b"a\nb\nc\nd\ne\n");
    }

    #[test]
    fn an_error_after_a_log_is_found() {
        let text = log(&[(1, "a"), (2, "b")]);
        let error = "unable to retrieve container logs for containerd://1";
        assert_eq!(error_in(format!("{text}{error}").as_bytes()).as_deref(), Some(error));
        assert_eq!(error_in(error.as_bytes()).as_deref(), Some(error));
        for text in ["", &text, text.trim_end(), &format!("the rest of a long line\n{text}")] {
            assert_eq!(error_in(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn cursors_of_callers_are_validated() {
        for text in
            ["x", "1/2/3", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z/-1/0", "2026-01-01T00:00:00Z/1/x"]
        {
            assert!(Position::parse(&text.parse().unwrap()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_log_is_read_completely_in_parts_of_any_size(
            lines in prop::collection::vec((0i64..4, "[a-z ü]{0,12}"), 0..20),
            limit in 1usize..9,
        ) {
            let mut lines = lines;
            lines.sort_by_key(|line| line.0);
            let text = log(&lines.iter().map(|(at, line)| (*at, line.as_str())).collect::<Vec<_>>());
            let expected: Vec<String> = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
            let expected = expected.concat();
            let (mut position, mut read) = (Position::default(), Vec::new());
            for _ in 0..=expected.len() {
                let part = take(position, &text, limit);
                prop_assert!(part.bytes.len() <= limit);
                read.extend(part.bytes);
                position = Position::parse(&part.next).unwrap();
            }
            prop_assert_eq!(String::from_utf8(read).unwrap(), expected);
        }
    }
}

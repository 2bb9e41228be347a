//! Names of the objects of a log: `APPLICATION/HOUR/FIRST_LAST.log`, with the positions before and after its lines.
//! The hour is that of the last line.

use jiff::Timestamp;

use crate::Name;
use crate::kubernetes::lines::Position;

const SUFFIX: &str = ".log";

/// An object with lines of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Chunk {
    /// The position before its first line.
    pub(super) start: Position,
    /// The position after its last line.
    pub(super) end: Position,
}

impl Chunk {
    pub(super) fn path(&self, application: &Name) -> String {
        let Self { start, end } = self;
        format!("{application}/{}/{}_{}{SUFFIX}", hour(*end), text(*start), text(*end))
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let (start, end) = name.strip_suffix(SUFFIX)?.split_once('_')?;
        let chunk = Self { start: position(start)?, end: position(end)? };
        (chunk.start < chunk.end).then_some(chunk)
    }
}

/// Returns the name of the folder of an hour.
pub(super) fn hour(position: Position) -> String {
    position.at.strftime("%Y-%m-%dT%H").to_string()
}

fn text(position: Position) -> String {
    format!("{:020}-{}", position.at.as_nanosecond(), position.lines)
}

fn position(text: &str) -> Option<Position> {
    let (at, lines) = text.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(at) || !is_number(lines) {
        return None;
    }
    let at = Timestamp::from_nanosecond(at.parse().ok()?).ok()?;
    Some(Position { at, lines: lines.parse().ok()?, bytes: 0 })
}

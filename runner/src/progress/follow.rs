//! Reads an event log on while it is being written. A stream's log never ends: what was read of it is removed, but for
//! the part that Spark writes to and the one before.

use std::fs;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use dcp_gateway::regular;

use super::{Progress, Queries};
use crate::lines::{self, Line};

/// The most that is read at once; what is left is read the next time.
const MOST: u64 = 32 << 20;
/// A line that is longer is none of those that are of interest.
const LONGEST: usize = 1 << 20;
/// How Spark may compress a log, which can't be read while it is written.
const CODECS: [&str; 4] = [".zstd", ".lz4", ".lzf", ".snappy"];
/// More entries than this are not looked at.
const ENTRIES: usize = 10_000;

/// How far a log was read.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Where Spark makes its log, a folder in several parts.
    events: PathBuf,
    part: u64,
    offset: u64,
    queries: Queries,
}

impl Follower {
    pub(crate) fn new(events: PathBuf) -> Self {
        Self { events, part: 0, offset: 0, queries: Queries::default() }
    }

    /// Reads what is new. None where it can't be read, as it is compressed; where there is no log, there is no query yet.
    pub(crate) fn look(&mut self) -> io::Result<Option<Progress>> {
        let Some(parts) = parts(&self.events)? else { return Ok(None) };
        let last = parts.last().map_or(0, |(number, _)| *number);
        let mut left = MOST;
        for (number, path) in &parts {
            if *number < self.part {
                if number + 1 < last {
                    remove(path);
                }
                continue;
            }
            if *number > self.part {
                (self.part, self.offset) = (*number, 0);
            }
            let read = self.read(path, left)?;
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
        Ok(Some(self.queries.progress()))
    }

    /// Reads on in a part, by whole lines; tells how much that was.
    fn read(&mut self, path: &Path, most: u64) -> io::Result<u64> {
        let mut file = regular::open(path)?;
        let length = file.metadata()?.len();
        // One that is shorter than it was is another one.
        if length < self.offset {
            self.offset = 0;
        }
        let begun = self.offset;
        if length == begun {
            return Ok(0);
        }
        file.seek(SeekFrom::Start(begun))?;
        let mut from = BufReader::new(file.take(most.min(length - begun)));
        let mut line = Vec::new();
        loop {
            let (found, used) = lines::next(&mut from, &mut line, LONGEST)?;
            match found {
                Line::Whole => self.queries.take(&line),
                // The rest of it, where it goes on, is none of interest either.
                Line::TooLong => {}
                // What is not ended yet is read again when it is.
                Line::Unended | Line::End => return Ok(self.offset - begun),
            }
            self.offset = self.offset.saturating_add(used);
        }
    }
}

/// The parts of the log that was begun last, in their order; none where they are compressed.
fn parts(events: &Path) -> io::Result<Option<Vec<(u64, PathBuf)>>> {
    let entries = |folder: &Path| match fs::read_dir(folder) {
        // What is read is removed, so it must not be elsewhere.
        Ok(_) if !regular::is_folder(folder) => Ok(Vec::new()),
        Ok(entries) => entries.take(ENTRIES).collect::<io::Result<Vec<_>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let mut logs: Vec<_> = entries(events)?
        .into_iter()
        .filter(|it| it.file_name().to_string_lossy().starts_with("eventlog_v2_"))
        .map(|it| (it.metadata().and_then(|it| it.modified()).ok(), it.path()))
        .collect();
    logs.sort();
    let Some((_, log)) = logs.pop() else { return Ok(Some(Vec::new())) };
    let mut parts = Vec::new();
    for entry in entries(&log)? {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some(number) = number(&name) else { continue };
        if CODECS.iter().any(|codec| name.ends_with(codec)) {
            return Ok(None);
        }
        parts.push((number, entry.path()));
    }
    parts.sort();
    Ok(Some(parts))
}

/// The number of a part, `events_N_application`.
fn number(name: &str) -> Option<u64> {
    name.strip_prefix("events_")?.split_once('_')?.0.parse().ok()
}

/// Removes a part, and the sum that Hadoop keeps beside it. One that stays does no harm.
fn remove(part: &Path) {
    if let Some(name) = part.file_name().map(|name| name.to_string_lossy().into_owned()) {
        let _ = fs::remove_file(part.with_file_name(format!(".{name}.crc")));
    }
    let _ = fs::remove_file(part);
}

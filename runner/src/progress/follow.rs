//! Follows an event log while it is written. A stream's log never ends: parts that were read are removed, except the
//! part that Spark writes and the one before.

use std::fs;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use dcp_gateway::regular;

use super::{Progress, Queries};
use crate::lines::{self, Line};

/// Maximum number of bytes per read; the next read continues.
const MOST: u64 = 32 << 20;
/// Maximum length of a line; a longer one is irrelevant.
const LONGEST: usize = 1 << 20;
/// Suffixes of compressed logs, which can't be read while they are written.
const CODECS: [&str; 4] = [".zstd", ".lz4", ".lzf", ".snappy"];
/// Maximum number of entries that are read of a folder.
const ENTRIES: usize = 10_000;

/// The position in an event log.
#[derive(Debug)]
pub(crate) struct Follower {
    /// The folder in which Spark creates its log, which is a folder with several parts.
    events: PathBuf,
    part: u64,
    offset: u64,
    queries: Queries,
}

impl Follower {
    pub(crate) fn new(events: PathBuf) -> Self {
        Self { events, part: 0, offset: 0, queries: Queries::default() }
    }

    /// Reads new lines. Returns none if the log is compressed. Without a log, there are no queries yet.
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

    /// Reads whole lines of a part, and returns the number of bytes.
    fn read(&mut self, path: &Path, most: u64) -> io::Result<u64> {
        let mut file = regular::open(path)?;
        let length = file.metadata()?.len();
        // A part that is shorter than before was replaced.
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
                // The rest of a long line is irrelevant too.
                Line::TooLong => {}
                // An incomplete line is read again when it is complete.
                Line::Unended | Line::End => return Ok(self.offset - begun),
            }
            self.offset = self.offset.saturating_add(used);
        }
    }
}

/// Returns the parts of the newest log, in order; none if they are compressed.
fn parts(events: &Path) -> io::Result<Option<Vec<(u64, PathBuf)>>> {
    let entries = |folder: &Path| match fs::read_dir(folder) {
        // Parts are removed after they are read, so the folder must not be a link to another one.
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

/// Returns the number of a part, `events_N_application`.
fn number(name: &str) -> Option<u64> {
    name.strip_prefix("events_")?.split_once('_')?.0.parse().ok()
}

/// Removes a part, and Hadoop's checksum file beside it. A remaining file does no harm.
fn remove(part: &Path) {
    if let Some(name) = part.file_name().map(|name| name.to_string_lossy().into_owned()) {
        let _ = fs::remove_file(part.with_file_name(format!(".{name}.crc")));
    }
    let _ = fs::remove_file(part);
}

//! The files of Spark's event logs, in a folder of this machine or in a bucket.
//!
//! A log is one file, or a folder `eventlog_v2_…` with a sequence of files. Drivers write these folders, so that their
//! content is untrusted.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::time::SystemTime;

use bytes::Bytes;
use dcp_objects::{Object, Objects, Result};
use futures_util::{Stream, TryStreamExt as _};
use tokio_util::io::{StreamReader, SyncIoBridge};

/// Prefixes of the folder of a log in several files, and of those files.
const ROLLING: &str = "eventlog_v2_";
const PART: &str = "events_";
/// Prefix of files in the folder of a log, in which `runtime/progress.py` reports the progress of a stream.
const REPORT: &str = "progress_";
/// Suffix of a file that replaces all files before it.
const COMPACTED: &str = ".compact";
/// Suffix of a log that is incomplete.
const IN_PROGRESS: &str = ".inprogress";
/// Maximum number of files that are listed.
const MAX_FILES: usize = 10_000;

/// The newest log at a location.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    /// True if it is a sequence of files.
    pub(crate) is_rolling: bool,
    /// In the order in which they were written.
    pub(crate) files: Vec<EventFile>,
    /// Reports of the progress of a stream, in the same order.
    pub(crate) reports: Vec<EventFile>,
}

/// A file of a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventFile {
    /// The number in the sequence; 0 for a log of one file.
    pub(crate) number: u64,
    /// True if it replaces the files before it, up to the one with its own number.
    pub(crate) is_compacted: bool,
    /// True if it is not Spark's, but a report.
    pub(crate) is_report: bool,
    /// The path below the location.
    pub(crate) path: String,
    pub(crate) size: u64,
}

impl EventFile {
    /// Returns the codec of its compression; none if it is not compressed.
    pub(crate) fn codec(&self) -> Option<&'static str> {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let name = name.strip_suffix(IN_PROGRESS).unwrap_or(name);
        let name = name.strip_suffix(COMPACTED).unwrap_or(name);
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        ["zstd", "lz4", "lzf", "snappy"].into_iter().find(|codec| *codec == ending)
    }
}

/// Finds the newest log at a location: below it, or in the folder of a log in several files itself.
pub(crate) async fn newest(objects: &Objects) -> Result<EventLog> {
    let mut logs: BTreeMap<String, (Option<SystemTime>, EventLog)> = BTreeMap::new();
    for object in objects.list_first("", MAX_FILES).await? {
        let Some((name, is_rolling, file)) = read_path(&object) else { continue };
        let (modified, log) = logs.entry(name).or_default();
        *modified = (*modified).max(object.modified);
        log.is_rolling = is_rolling;
        let files = if file.is_report { &mut log.reports } else { &mut log.files };
        files.push(file);
    }
    let newest =
        logs.into_iter().max_by(|(name, (at, _)), (other, (then, _))| (at, name).cmp(&(then, other)));
    let mut log = newest.map(|(_, (_, log))| log).unwrap_or_default();
    log.files.sort();
    log.reports.sort();
    let begin = log.files.iter().rposition(|file| file.is_compacted).unwrap_or(0);
    log.files.drain(..begin);
    Ok(log)
}

/// Returns the name of the log that a file belongs to, whether it is one of several, and the file.
fn read_path(object: &Object) -> Option<(String, bool, EventFile)> {
    let (folder, name) = object.path.rsplit_once('/').unwrap_or(("", &object.path));
    // Hadoop adds a hidden checksum file to each file, and Spark a file with the status of the application.
    if name.starts_with('.') || name.starts_with("appstatus_") {
        return None;
    }
    let is_compacted = name.strip_suffix(IN_PROGRESS).unwrap_or(name).ends_with(COMPACTED);
    let is_report = name.starts_with(REPORT);
    let rest = name.strip_prefix(if is_report { REPORT } else { PART });
    let number = rest.and_then(|rest| rest.split('_').next()?.parse().ok());
    let (path, size) = (object.path.clone(), object.size);
    let file = |number| EventFile { number, is_compacted, is_report, path, size };
    match (folder, number) {
        ("", None) => Some((name.to_owned(), false, file(0))),
        ("", Some(number)) => Some((String::new(), true, file(number))),
        (folder, Some(number)) if folder.starts_with(ROLLING) && !folder.contains('/') => {
            Some((folder.to_owned(), true, file(number)))
        }
        _ => None,
    }
}

/// Reads a stream of bytes in a blocking thread.
pub(crate) fn blocking_reader<S>(bytes: S) -> impl BufRead + Send
where
    S: Stream<Item = Result<Bytes>> + Send + Unpin,
{
    SyncIoBridge::new(StreamReader::new(bytes.map_err(std::io::Error::other)))
}

//! Files of an event log: one file, or a folder with several files in sequence.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use dcp_gateway::regular;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::{Log, Measured};

/// Prefixes of the folder of a log in several files, and of those files.
const ROLLING: &str = "eventlog_v2_";
const PART: &str = "events_";
/// Marks a file that replaces all files before it.
const COMPACTED: &str = ".compact";
/// Suffix of a log that is incomplete.
const IN_PROGRESS: &str = ".inprogress";
/// Codecs of Spark that this reader does not support.
const CODECS: [&str; 3] = ["lz4", "lzf", "snappy"];
/// Maximum window of a compressed frame. Spark's frames need less.
const WINDOW: u64 = 32 << 20;
/// Maximum size that is read of one decompressed file.
const MOST: u64 = 16 << 30;
/// Maximum number of entries that are read of a folder.
const ENTRIES: usize = 10_000;

/// The reason why a log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the event log `{}` can't be read: {from}; it is expected where `spark.eventLog.dir` of the run pointed",
        path.display()
    )]
    Unreadable {
        path: PathBuf,
        #[source]
        from: io::Error,
    },
    #[error(
        "there is no event log in `{}`: expected a file, or a folder `eventlog_v2_…`; run the job with \
         `spark.eventLog.enabled`",
        .0.display()
    )]
    Missing(PathBuf),
    #[error(
        "the event log `{}` is compressed with {codec}, and only zstd is understood: set \
         `spark.eventLog.compression.codec` to `zstd`",
        path.display()
    )]
    Codec { path: PathBuf, codec: &'static str },
}

type Result<T> = std::result::Result<T, Error>;

/// Measures a run by its log: a file, the folder of a log in several files, or a folder that contains logs, of which
/// the newest is read.
pub fn read(path: &Path) -> Result<Measured> {
    let found = find(path)?;
    let parts = if found.is_dir() { parts(&found)? } else { vec![found] };
    let mut log = Log::default();
    for part in &parts {
        if take(&mut log, part)?.is_none() {
            break;
        }
    }
    Ok(log.end())
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |from| Error::Unreadable { path, from }
}

/// Returns the entries of a folder that are not hidden. Hadoop adds a hidden checksum file to each file.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))?.take(ENTRIES) {
        let entry = entry.map_err(unreadable(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

fn is_rolling(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ROLLING))
}

/// Returns the log at a path, or the newest one in it.
fn find(path: &Path) -> Result<PathBuf> {
    let about = std::fs::metadata(path).map_err(unreadable(path))?;
    if about.is_file() || (about.is_dir() && is_rolling(path)) {
        return Ok(path.to_owned());
    }
    if !about.is_dir() {
        return Err(Error::Missing(path.to_owned()));
    }
    let mut logs = Vec::new();
    for (name, path) in entries(path)? {
        let about = std::fs::metadata(&path).map_err(unreadable(&path))?;
        if about.is_file() || (about.is_dir() && is_rolling(&path)) {
            logs.push((about.modified().ok(), name, path));
        }
    }
    logs.into_iter().max().map(|(_, _, path)| path).ok_or_else(|| Error::Missing(path.to_owned()))
}

/// Returns the files of a log in order, starting with the last one that replaces those before it.
fn parts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for (name, path) in entries(folder)? {
        let number = name.strip_prefix(PART).and_then(|rest| rest.split('_').next()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.is_file()) {
            // It has the number of the last file that it replaces, which may still exist.
            parts.push((number, name.contains(COMPACTED), path));
        }
    }
    parts.sort();
    let from = parts.iter().rposition(|(_, compacted, _)| *compacted).unwrap_or(0);
    let found: Vec<PathBuf> = parts.drain(from..).map(|(_, _, path)| path).collect();
    if found.is_empty() { Err(Error::Missing(folder.to_owned())) } else { Ok(found) }
}

/// Reads a file. Returns none if it is truncated, because later files can't be interpreted then.
fn take(log: &mut Log, path: &Path) -> Result<Option<()>> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(IN_PROGRESS).unwrap_or(&name);
    let name = name.strip_suffix(COMPACTED).unwrap_or(name);
    let ending = name.rsplit('.').next().unwrap_or_default();
    if let Some(codec) = CODECS.into_iter().find(|codec| *codec == ending) {
        return Err(Error::Codec { path: path.to_owned(), codec });
    }
    let file = regular::open(path).map_err(unreadable(path))?;
    if ending == "zstd" {
        let mut from = BufReader::new(Frames::Between(BufReader::new(file)).take(MOST));
        return Ok(log.take(&mut from).ok());
    }
    log.take(&mut BufReader::new(file.take(MOST))).map_err(unreadable(path))?;
    Ok(Some(()))
}

/// A sequence of compressed frames.
enum Frames<R: BufRead> {
    Between(R),
    Within(Box<StreamingDecoder<R, FrameDecoder>>),
    Over,
}

impl<R: BufRead> Frames<R> {
    /// Begins the next frame, if there is one.
    fn begin(mut from: R) -> io::Result<Self> {
        if from.fill_buf()?.is_empty() {
            return Ok(Self::Over);
        }
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        let decoder = StreamingDecoder::new_with_decoder(from, decoder).map_err(io::Error::other)?;
        Ok(Self::Within(Box::new(decoder)))
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        // After an error, no frame is left to continue with.
        loop {
            *self = match std::mem::replace(self, Self::Over) {
                Self::Over => return Ok(0),
                Self::Between(from) => Self::begin(from)?,
                Self::Within(mut decoder) => match decoder.read(into)? {
                    0 => Self::Between(decoder.into_inner()),
                    read => {
                        *self = Self::Within(decoder);
                        return Ok(read);
                    }
                },
            };
        }
    }
}

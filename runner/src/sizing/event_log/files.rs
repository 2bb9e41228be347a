//! Where Spark puts an event log: in one file, or in a folder of its own that holds one file after the other.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use dcp_gateway::regular;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::{Log, Measured};

/// What Spark calls the folder of a log in several files, and those files.
const ROLLING: &str = "eventlog_v2_";
const PART: &str = "events_";
/// A file that holds what is worth keeping of all those before it.
const COMPACTED: &str = ".compact";
/// What a log is called until it is whole.
const IN_PROGRESS: &str = ".inprogress";
/// The compressions that Spark has and this reader has not.
const CODECS: [&str; 3] = ["lz4", "lzf", "snappy"];
/// A frame that needs more than this to be unpacked is not Spark's.
const WINDOW: u64 = 32 << 20;
/// More than this is not read of one file, compressed as it may be.
const MOST: u64 = 16 << 30;
/// More entries than this are not looked at.
const ENTRIES: usize = 10_000;

/// Why a log can't be read.
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

/// Measures a run by its log: a file, the folder of a log in several files, or a folder that holds one of these; of
/// several, the last that was written.
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

/// The names in a folder that are not hidden. Beside each file, Hadoop leaves a hidden one with its sum.
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

/// The log that is meant by a path.
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

/// The files of a log, in their order, from the last one on that stands for those before it.
fn parts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for (name, path) in entries(folder)? {
        let number = name.strip_prefix(PART).and_then(|rest| rest.split('_').next()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.is_file()) {
            // It has the number of the last file that it stands for, which may not be gone yet.
            parts.push((number, name.contains(COMPACTED), path));
        }
    }
    parts.sort();
    let from = parts.iter().rposition(|(_, compacted, _)| *compacted).unwrap_or(0);
    let found: Vec<PathBuf> = parts.drain(from..).map(|(_, _, path)| path).collect();
    if found.is_empty() { Err(Error::Missing(folder.to_owned())) } else { Ok(found) }
}

/// Goes on with this file; none where it ends in the middle, after which nothing can be made sense of.
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

/// What is compressed, frame after frame.
enum Frames<R: BufRead> {
    Between(R),
    Within(Box<StreamingDecoder<R, FrameDecoder>>),
    Over,
}

impl<R: BufRead> Frames<R> {
    /// The next frame, where there is one.
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
        // What fails leaves nothing to go on with.
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

//! Reads the files of an event log, compressed or not.

use std::io::{self, BufRead, BufReader, Read};

use dcp_objects::{Objects, UnusableLocation};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::{Log, Measured};
use crate::event_files::{self, EventFile};

/// Maximum window of a compressed frame. Spark's frames need less.
const MAX_WINDOW_BYTES: u64 = 32 << 20;
/// Maximum size that is read of one decompressed file.
const MAX_BYTES: u64 = 16 << 30;

/// The reason why a log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Location(#[from] UnusableLocation),
    #[error("the event log can't be read: {0}; it is expected where `spark.eventLog.dir` of the run pointed")]
    Unreadable(#[from] dcp_objects::Error),
    #[error("the event log `{url}` can't be read: {from}")]
    Damaged {
        url: String,
        #[source]
        from: io::Error,
    },
    #[error(
        "there is no event log in `{0}`: expected a file, or a folder `eventlog_v2_…`; run the job with \
         `spark.eventLog.enabled`"
    )]
    Missing(String),
    #[error(
        "the event log `{url}` is compressed with {codec}, and only zstd is understood: set \
         `spark.eventLog.compression.codec` to `zstd`"
    )]
    Codec { url: String, codec: &'static str },
}

type Result<T> = std::result::Result<T, Error>;

/// Measures a run by the newest log at a URL: of a folder with logs, or of the folder of a log in several files.
pub async fn read(url: &str) -> Result<Measured> {
    let objects = Objects::open_untrusted(url)?;
    let found = event_files::newest(&objects).await?;
    if found.files.is_empty() {
        return Err(Error::Missing(url.to_owned()));
    }
    let mut log = Log::default();
    for file in &found.files {
        let is_whole;
        (log, is_whole) = take(log, &objects, file).await?;
        // Later files can't be interpreted without the rest of this one.
        if !is_whole {
            break;
        }
    }
    Ok(log.end())
}

/// Reads a file. Returns false if it is truncated.
async fn take(log: Log, objects: &Objects, file: &EventFile) -> Result<(Log, bool)> {
    let url = objects.url(&file.path);
    let is_compressed = match file.codec() {
        Some("zstd") => true,
        Some(codec) => return Err(Error::Codec { url, codec }),
        None => false,
    };
    let bytes = objects.read(&file.path).await?;
    let read = tokio::task::spawn_blocking(move || {
        let from = event_files::blocking_reader(bytes);
        let mut log = log;
        if is_compressed {
            let mut from = BufReader::new(Frames::Between(from).take(MAX_BYTES));
            let is_whole = log.take(&mut from).is_ok();
            return Ok((log, is_whole));
        }
        log.take(&mut from.take(MAX_BYTES)).map(|()| (log, true))
    });
    let damaged = |from| Error::Damaged { url: url.clone(), from };
    read.await.map_err(|error| damaged(io::Error::other(error)))?.map_err(damaged)
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
        decoder.set_max_window_size(MAX_WINDOW_BYTES);
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

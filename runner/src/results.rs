//! Results of SQL: rows that Spark wrote as Avro into a folder of their own, returned as JSON or as one Avro file.
//!
//! The files come from a user's job and are not trusted: every length has a limit, and at most one block and one record
//! of JSON are in memory, however large a result is.

mod container;
mod json;
mod schema;
mod table;
mod time;

use std::collections::VecDeque;

use bytes::Bytes;
use dcp_objects::{Objects, UnusableLocation};
use dcp_server::offload;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::execution::Id;
use container::{Block, Header, Source};
use json::Rows;
pub use table::{Column, Table};

/// The format of a returned result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object container file.
    Avro,
    /// One array, with one record per line.
    Json,
}

/// The reason why a result can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The attempt has not written all of it, the result was removed, or the job returns none.
    #[error(
        "there is no result of attempt {attempt} of `{execution}`: it is there once the attempt has succeeded, for a \
         job of SQL with `returnResult: true`"
    )]
    NotFound { execution: String, attempt: u32 },
    #[error("`{file}` of the result is damaged: {why}; run the job again")]
    Damaged { file: String, why: String },
    #[error(
        "`{file}` of the result has a row that is too large to be read{size}: the limit is {limit} MiB; select less of \
         it, or write the rows to a table"
    )]
    TooLarge { file: String, size: String, limit: usize },
    #[error("`{file}` of the result can't be read: {why}")]
    Unsupported { file: String, why: String },
    /// Files that can't be joined without decoding them.
    #[error("`{file}` of the result has another {what} than the files before it: read the result as JSON")]
    Mixed { file: String, what: &'static str },
    #[error(
        "the result has more than {0} files: write fewer, with `/*+ COALESCE(100) */` in the last statement"
    )]
    TooManyFiles(usize),
    #[error(transparent)]
    Storage(#[from] dcp_objects::Error),
}

/// A result as a stream of pieces.
pub type Pieces = BoxStream<'static, Result<Bytes, Error>>;

/// Maximum number of files of one result, because their names are in memory at once.
const MAX_FILES: usize = 100_000;
/// Approximate length of a piece of JSON.
const PIECE_BYTES: usize = 64 << 10;

/// The storage of results.
#[derive(Debug, Clone)]
pub struct Results {
    root: Objects,
}

impl Results {
    /// Opens a bucket or a folder, which may be empty.
    pub fn open(root_url: &str) -> Result<Self, UnusableLocation> {
        Ok(Self::with_store(Objects::open(root_url)?))
    }

    pub fn with_store(root: Objects) -> Self {
        Self { root }
    }

    /// Returns the location for an attempt's rows, by the scheme that Spark knows. Each attempt has its own, so that rows
    /// of a failed attempt are in no result.
    pub fn location(&self, execution: &Id, attempt: u32) -> String {
        let url = self.root.url(&attempt_path(execution, attempt));
        match url.strip_prefix("s3://") {
            Some(rest) => format!("s3a://{rest}"),
            None => url,
        }
    }

    /// Reads the result of an attempt. Fails before the first piece if there is none.
    pub async fn read(&self, execution: &Id, attempt: u32, format: Format) -> Result<Pieces, Error> {
        let not_found = || Error::NotFound { execution: execution.to_string(), attempt };
        let files = self.files(&attempt_path(execution, attempt)).await?.ok_or_else(not_found)?;
        let reader = ResultReader {
            root: self.root.clone(),
            files,
            format,
            first: None,
            current: None,
            rows: 0,
            header_sent: false,
        };
        let pieces = stream::try_unfold(Some(reader), |reader| async move {
            let Some(mut reader) = reader else { return Ok(None) };
            match reader.piece().await? {
                Some(piece) => Ok(Some((piece, Some(reader)))),
                None => Ok(reader.end().map(|last| (last, None))),
            }
        });
        Ok(pieces.boxed())
    }

    /// Returns the number of bytes of the results of all of an execution's attempts, complete or not.
    pub async fn size(&self, execution: &Id) -> Result<u64, Error> {
        let files = self.root.list_first(execution.as_str(), MAX_FILES).await?;
        Ok(files.iter().fold(0, |sum, file| sum.saturating_add(file.size)))
    }

    /// Removes the results of all of an execution's attempts, complete or not.
    pub async fn remove(&self, execution: &Id) -> Result<(), Error> {
        Ok(self.root.remove(execution.as_str()).await?)
    }

    /// Returns the files of a complete result, in the order of Spark's partitions, which is the order of the rows.
    async fn files(&self, below: &str) -> Result<Option<VecDeque<String>>, Error> {
        let mut listed = self.root.list(below);
        let (mut files, mut is_complete) = (Vec::new(), false);
        while let Some(object) = listed.try_next().await? {
            let name = object.path.strip_prefix(below).and_then(|rest| rest.strip_prefix('/'));
            is_complete |= name == Some("_SUCCESS");
            if name.is_some_and(is_part) {
                files.push(object.path);
            }
            if files.len() > MAX_FILES {
                return Err(Error::TooManyFiles(MAX_FILES));
            }
        }
        files.sort_unstable();
        Ok(is_complete.then(|| files.into()))
    }
}

fn attempt_path(execution: &Id, attempt: u32) -> String {
    format!("{execution}/{attempt}")
}

/// Returns whether this is a file of rows. Hadoop adds other files, whose names begin with `.` or `_`.
fn is_part(name: &str) -> bool {
    let plain = !name.contains('/') && !name.starts_with(['.', '_']);
    plain && name.strip_suffix(".avro").is_some()
}

/// The state of reading a result.
struct ResultReader {
    root: Objects,
    files: VecDeque<String>,
    format: Format,
    /// Head of the first file.
    first: Option<Header>,
    current: Option<File>,
    /// Number of rows written as JSON.
    rows: u64,
    header_sent: bool,
}

struct File {
    source: Source<Error>,
    /// Decoder of its rows, if they are decoded.
    rows: Option<Rows>,
}

impl ResultReader {
    /// Returns the next piece, which is never empty; none at the end of the last file.
    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(file) = &mut self.current else {
                let Some(path) = self.files.pop_front() else { return Ok(None) };
                if let Some(header) = self.open(path).await? {
                    return Ok(Some(header));
                }
                continue;
            };
            if let Some(mut rows) = file.rows.take() {
                let (left, mut written) = (rows.bytes_left(), self.rows);
                let write = move || (rows.piece(PIECE_BYTES, &mut written), rows, written);
                let (piece, rows, written) = offload(left, write).await;
                (file.rows, self.rows) = (Some(rows), written);
                if let Some(piece) = piece.map_err(|error| file.source.error(error))? {
                    return Ok(Some(piece));
                }
            }
            match file.source.block().await? {
                None => self.current = None,
                Some(block) => match (file.rows.take(), &self.first) {
                    (Some(mut rows), _) => {
                        // The decompressed size is unknown, so the block is always offloaded.
                        let (taken, rows) = offload(usize::MAX, move || (rows.take(block), rows)).await;
                        file.rows = Some(rows);
                        taken.map_err(|error| file.source.error(error))?;
                    }
                    (None, Some(first)) => return Ok(Some(reframed(&block, first))),
                    (None, None) => {}
                },
            }
        }
    }

    /// Opens the next file. Returns its head as a piece if it is the first file of an Avro result.
    async fn open(&mut self, path: String) -> Result<Option<Bytes>, Error> {
        let chunks = self.root.read(&path).await?.map_err(Error::from).boxed();
        let source = Source::open(path, chunks).await?;
        let rows = match self.format {
            Format::Json => {
                let header = source.header.clone();
                let rows = offload(header.schema.len(), move || Rows::new(&header)).await;
                Some(rows.map_err(|why| source.unsupported(why))?)
            }
            Format::Avro => None,
        };
        let header = source.header.clone();
        self.current = Some(File { source, rows });
        if self.format == Format::Json {
            return Ok(None);
        }
        match &self.first {
            None => {
                let piece = header.bytes.clone();
                (self.first, self.header_sent) = (Some(header), true);
                Ok(Some(piece))
            }
            Some(first) => {
                let what = match () {
                    () if first.schema != header.schema => Some("schema"),
                    () if first.codec != header.codec => Some("codec"),
                    () => None,
                };
                let file = self.current.as_ref().map(|file| file.source.path.clone()).unwrap_or_default();
                what.map_or(Ok(None), |what| Err(Error::Mixed { file, what }))
            }
        }
    }

    /// Returns the end of the result; for Avro, a file without rows if Spark wrote none.
    fn end(&self) -> Option<Bytes> {
        match self.format {
            Format::Json if self.rows == 0 => Some(Bytes::from_static(b"[]")),
            Format::Json => Some(Bytes::from_static(b"\n]")),
            Format::Avro if self.header_sent => None,
            Format::Avro => Some(Bytes::from_static(container::EMPTY_FILE)),
        }
    }
}

/// Converts a block of one file to a block of another file, which ends with the sync marker of that file.
fn reframed(block: &Block, first: &Header) -> Bytes {
    let mut bytes = Vec::with_capacity(block.data.len() + 36);
    container::put_long(block.rows, &mut bytes);
    container::put_long(block.data.len() as u64, &mut bytes);
    bytes.extend_from_slice(&block.data);
    bytes.extend_from_slice(&first.sync_marker);
    bytes.into()
}

//! Follows an event log while it is written, or the reports of `runtime/progress.py` in a store that does not show open
//! files. A stream's log never ends: files that were read are removed, except the one that is written and the one before.

use std::io::{self, Read as _};
use std::time::{Duration, Instant};

use dcp_objects::Objects;

use super::{Progress, Queries};
use crate::event_files::{self, EventFile};
use crate::lines::{self, Line};

/// Minimum interval between two reads of a bucket, which is that of the reports.
const BUCKET_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of bytes per read; the next read continues.
const MAX_BYTES: u64 = 32 << 20;
/// Maximum length of a line; a longer one is irrelevant.
const MAX_LINE_BYTES: usize = 1 << 20;

/// The position in an event log.
#[derive(Debug)]
pub(crate) struct Follower {
    /// The location of the log.
    objects: Objects,
    /// The number of the file that is read, and the position in it.
    number: u64,
    offset: u64,
    queries: Queries,
    polled: Option<Instant>,
}

impl Follower {
    pub(crate) fn new(objects: Objects) -> Self {
        Self { objects, number: 0, offset: 0, queries: Queries::default(), polled: None }
    }

    /// Returns true if new lines may be there. Each look at a bucket costs a request.
    pub(crate) fn is_due(&self) -> bool {
        self.objects.is_folder() || self.polled.is_none_or(|polled| polled.elapsed() >= BUCKET_INTERVAL)
    }

    /// Reads new lines. Returns none if the log can't be read while it is written, as it is compressed or its open file is
    /// not shown. Without a log, there are no queries yet.
    pub(crate) async fn poll(&mut self) -> dcp_objects::Result<Option<Progress>> {
        self.polled = Some(Instant::now());
        let log = event_files::newest(&self.objects).await?;
        if !log.reports.is_empty() {
            self.remove_all_but_two(&log.files).await;
            return self.read_all(&log.reports).await.map(Some);
        }
        if !self.objects.shows_open_files() {
            self.remove_all_but_two(&log.files).await;
            return Ok(None);
        }
        let files = if log.is_rolling { log.files } else { Vec::new() };
        if files.iter().any(|file| file.codec().is_some()) {
            return Ok(None);
        }
        self.read_all(&files).await.map(Some)
    }

    /// Reads new lines of files, and removes those that were read.
    async fn read_all(&mut self, files: &[EventFile]) -> dcp_objects::Result<Progress> {
        let last = files.last().map_or(0, |file| file.number);
        let mut remaining = MAX_BYTES;
        for file in files {
            if file.number < self.number {
                if file.number + 1 < last {
                    self.remove(file).await;
                }
                continue;
            }
            if file.number > self.number {
                (self.number, self.offset) = (file.number, 0);
            }
            remaining = remaining.saturating_sub(self.read(file, remaining).await?);
            if remaining == 0 {
                break;
            }
        }
        Ok(self.queries.progress())
    }

    /// Removes closed files that are not read.
    async fn remove_all_but_two(&self, files: &[EventFile]) {
        for file in files.iter().rev().skip(2) {
            self.remove(file).await;
        }
    }

    /// Reads whole lines of a file, and returns the number of bytes.
    async fn read(&mut self, file: &EventFile, limit: u64) -> dcp_objects::Result<u64> {
        // A file that is shorter than before was replaced.
        if file.size < self.offset {
            self.offset = 0;
        }
        let start = self.offset;
        if file.size == start {
            return Ok(0);
        }
        let bytes = self.objects.read_from(&file.path, start).await?;
        let limit = limit.min(file.size - start);
        let mut queries = std::mem::take(&mut self.queries);
        let read = tokio::task::spawn_blocking(move || {
            let mut from = event_files::blocking_reader(bytes).take(limit);
            let used = take_lines(&mut queries, &mut from);
            (queries, used)
        });
        // After a panic, the queries are counted anew.
        let Ok((queries, used)) = read.await else { return Ok(0) };
        self.queries = queries;
        self.offset = start.saturating_add(used);
        Ok(used)
    }

    /// Removes a file, and Hadoop's checksum file beside it. A remaining file does no harm.
    async fn remove(&self, file: &EventFile) {
        if let Some((folder, name)) = file.path.rsplit_once('/') {
            let _ = self.objects.remove(&format!("{folder}/.{name}.crc")).await;
        }
        let _ = self.objects.remove(&file.path).await;
    }
}

/// Applies whole lines, and returns their length. Lines after an error are read again.
fn take_lines(queries: &mut Queries, from: &mut impl io::BufRead) -> u64 {
    let (mut line, mut total) = (Vec::new(), 0_u64);
    while let Ok((found, used)) = lines::next(from, &mut line, MAX_LINE_BYTES) {
        match found {
            Line::Whole => queries.apply_line(&line),
            // The rest of a long line is irrelevant too.
            Line::TooLong => {}
            // An incomplete line is read again when it is complete.
            Line::Incomplete | Line::End => break,
        }
        total = total.saturating_add(used);
    }
    total
}

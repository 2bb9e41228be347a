//! A driver's log with a size limit: its beginning and its newest part are kept.
//!
//! The driver writes to the file directly, so that it neither waits for its supervisor nor fails without it. The
//! supervisor frees the disk space of the middle of the file (`fallocate(2)`). The file keeps its length, so
//! positions in it stay valid, and a reader that follows the log continues from its position.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::{FallocateFlags, fallocate};

use super::files::failed;
use super::folder::{Dropped, Folder};
use crate::compute::{Cursor, Log};
use crate::error::{Error, Result};
use crate::regular;

/// The default limit.
pub const DEFAULT_LIMIT: u64 = 64 << 20;
/// The smallest limit.
pub(super) const MIN_LIMIT: u64 = 8 << 20;
/// Disk space is freed in whole blocks that are multiples of a file system's.
const BLOCK: u64 = 1 << 20;

impl Dropped {
    /// Returns true if a supervisor can have written this: the driver can write the file, too.
    fn is_sound(&self) -> bool {
        self.to.checked_sub(self.from).is_some_and(|bytes| bytes >= BLOCK)
    }

    fn notice(self) -> String {
        let Self { from, to, limit } = self;
        let (bytes, mib) = (to - from, limit >> 20);
        format!("\n[dcp: {bytes} bytes of the log were dropped here; the limit is {mib} MiB]\n")
    }

    /// Returns the text in place of the dropped part: a notice, at the position of the part's last bytes, so that
    /// the position after it is that of the next byte of the log.
    fn replacement(self, from: u64, limit: usize) -> Part {
        let notice = self.notice().into_bytes();
        let begin = self.to.saturating_sub(notice.len() as u64).max(from);
        let skip = notice.len() - usize::try_from(self.to - begin).unwrap_or(0).min(notice.len());
        let bytes: Vec<u8> = notice[skip..].iter().copied().take(limit).collect();
        Part { next: begin + bytes.len() as u64, bytes }
    }
}

/// Limits a log while a driver writes to it.
#[derive(Debug)]
pub(super) struct LimitedLog {
    file: File,
    limit: u64,
    dropped: Dropped,
}

impl LimitedLog {
    /// Creates the log of a driver that is about to start.
    pub(super) fn open(folder: &Folder, limit: u64) -> Result<Self> {
        let path = folder.log();
        let file = OpenOptions::new().create_new(true).append(true).read(true).mode(0o600).open(&path);
        let file = file.map_err(|error| failed(&path, "written", &error))?;
        let limit = limit.max(MIN_LIMIT);
        let head = limit / 4 / BLOCK * BLOCK;
        Ok(Self { file, limit, dropped: Dropped { from: head, to: head, limit } })
    }

    pub(super) fn writer(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Drops the middle if the log exceeds its limit. If the file system can't free it, the log is left whole.
    pub(super) fn trim(&mut self, folder: &Folder) {
        let Ok(length) = self.file.metadata().map(|it| it.len()) else { return };
        // A minimum step, so that not every new line drops a part.
        let step = BLOCK.max(self.limit / 8);
        let newest = self.limit - self.dropped.from - step - BLOCK;
        let to = length.saturating_sub(newest) / BLOCK * BLOCK;
        if to < self.dropped.to + step {
            return;
        }
        // Recorded first, so that no reader takes the hole for text.
        let dropped = Dropped { to, ..self.dropped };
        if folder.write_dropped(&dropped).is_err() {
            return;
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, flags, self.dropped.to, to - self.dropped.to) {
            Ok(()) => self.dropped = dropped,
            Err(_) if self.dropped.to == self.dropped.from => _ = folder.remove_dropped(),
            Err(_) => _ = folder.write_dropped(&self.dropped),
        }
    }
}

/// Maximum number of reads of a part while more is dropped.
const MAX_TRIES: u32 = 16;

/// A part of a log, and the position after it.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    next: u64,
    bytes: Vec<u8>,
}

/// Reads a part of a log. Its cursor is a position in the file.
pub(super) fn read(folder: &Folder, after: &Cursor, limit: usize) -> Result<Log> {
    let from = match after.as_str() {
        "" => 0,
        text => text.parse().map_err(|_| {
            Error::Invalid(format!("`{}` is not a cursor of a log on this machine", text.escape_debug()))
        })?,
    };
    let Part { next, bytes } = read_from(folder, from, limit)?;
    Ok(Log { next: Cursor::new(next.to_string()), bytes })
}

/// Reads a part of a log; a notice stands for a dropped part.
fn read_from(folder: &Folder, from: u64, limit: usize) -> Result<Part> {
    let mut tries = 0..MAX_TRIES;
    loop {
        let dropped = folder.dropped()?.filter(Dropped::is_sound);
        let mut most = limit as u64;
        if let Some(dropped) = dropped {
            if (dropped.from..dropped.to).contains(&from) {
                return Ok(dropped.replacement(from, limit));
            }
            if from < dropped.from {
                most = most.min(dropped.from - from);
            }
        }
        let bytes = bytes(folder, |_| from, most)?;
        // Another part may have been dropped since.
        if tries.next().is_none() || folder.dropped()?.filter(Dropped::is_sound) == dropped {
            return Ok(Part { next: from.saturating_add(bytes.len() as u64), bytes });
        }
    }
}

/// Reads the last bytes of a log, at most `limit`.
pub(super) fn tail(folder: &Folder, limit: usize) -> Result<Vec<u8>> {
    let newest = folder.dropped()?.filter(Dropped::is_sound).map_or(0, |dropped| dropped.to);
    bytes(folder, |length| length.saturating_sub(limit as u64).max(newest), limit as u64)
}

fn bytes(folder: &Folder, from: impl Fn(u64) -> u64, limit: u64) -> Result<Vec<u8>> {
    let path = folder.log();
    let read = || -> io::Result<Vec<u8>> {
        let mut file = match regular::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        // Some file systems reject positions far beyond the end.
        file.seek(SeekFrom::Start(from(length).min(length)))?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| failed(&path, "read", &error))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn line(number: u64) -> String {
        format!("{number:>1023}\n")
    }

    /// Reads on from a position as a client does that knows only the next position.
    fn follow(folder: &Folder, mut from: u64, part: usize) -> String {
        let mut text = Vec::new();
        loop {
            let log = read_from(folder, from, part).expect("it can be read");
            if log.bytes.is_empty() {
                return String::from_utf8(text).expect("it is UTF-8 text");
            }
            text.extend(log.bytes);
            from = log.next;
        }
    }

    #[test]
    fn the_beginning_and_the_newest_part_are_kept_and_positions_stay() {
        let root = tempfile::tempdir().expect("the temporary folder is writable");
        let folder = Folder::new(root.path().canonicalize().expect("it exists"));
        let mut log = LimitedLog::open(&folder, MIN_LIMIT).expect("it can be created");
        let mut writer = log.writer().expect("it is open");
        let mut early = String::new();
        for number in 0..64 * 1024 {
            writer.write_all(line(number).as_bytes()).expect("the temporary folder is writable");
            if number % 500 == 0 {
                log.trim(&folder);
            }
            if number == 4 * 1024 {
                early = follow(&folder, 0, 100_000);
            }
        }
        log.trim(&folder);
        assert_eq!(early.len(), (4 * 1024 + 1) * 1024, "nothing was dropped of what is within the limit");
        let about = std::fs::metadata(folder.log()).expect("it exists");
        assert_eq!(about.len(), 64 << 20);
        let used = std::os::unix::fs::MetadataExt::blocks(&about) * 512;
        assert!(used <= MIN_LIMIT, "{used} bytes are used");
        for part in [7_777, 100_000, 1 << 20, 16 << 20] {
            let text = follow(&folder, 0, part);
            assert!(text.len() as u64 <= MIN_LIMIT + 200 && !text.contains('\0'));
            assert_eq!(text.matches("bytes of the log were dropped here; the limit is 8 MiB").count(), 1);
            assert!(text.starts_with(&line(0)) && text.ends_with(&line(64 * 1024 - 1)));
            // A reader whose position is before or in the dropped part continues after it.
            for from in [0u64, 1 << 20, 3 << 20, 30 << 20, 60 << 20] {
                assert!(text.ends_with(&follow(&folder, from, part)[200..]), "{from}");
            }
        }
        let last = tail(&folder, 2048).expect("it can be read");
        assert_eq!(last, [line(64 * 1024 - 2), line(64 * 1024 - 1)].concat().as_bytes());
        let most = tail(&folder, 60 << 20).expect("it can be read");
        assert!(most.len() as u64 <= MIN_LIMIT && !most.contains(&0));
    }

    #[test]
    fn a_notice_can_be_read_in_parts() {
        let dropped = Dropped { from: 100, to: 1_000_000, limit: MIN_LIMIT };
        let notice = dropped.notice();
        let (mut at, mut text) = (100, Vec::new());
        while at < dropped.to {
            let part = dropped.replacement(at, 7);
            text.extend(part.bytes);
            at = part.next;
        }
        assert_eq!((text, at), (notice.into_bytes(), 1_000_000));
    }
}

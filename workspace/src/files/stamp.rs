//! Detects changes of a file without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The age after which any further change gets another time. Clocks of file systems have steps of milliseconds,
/// some of up to two seconds.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// The identity of a file and of its last change. Programs can set the time of modification, but not the time of
/// change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// The time of modification, in nanoseconds.
    modified: i64,
    changed: i64,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(super) fn of_stat(stat: &rustix::fs::Stat) -> Self {
        // The types of these fields differ by platform.
        let whole = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
        Self {
            device: u64::try_from(i128::from(stat.st_dev)).unwrap_or_default(),
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: nanoseconds(stat.st_mtime, whole(i128::from(stat.st_mtime_nsec))),
            changed: nanoseconds(stat.st_ctime, whole(i128::from(stat.st_ctime_nsec))),
        }
    }

    /// Returns true if any later change of the file gives another stamp.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let limit = now.saturating_sub(SETTLE_TIME).as_nanos();
        u128::try_from(self.changed.max(self.modified)).is_ok_and(|last| last < limit)
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

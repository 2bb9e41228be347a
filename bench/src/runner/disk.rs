//! Measures the disk of this machine.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Result;
use super::calls::Times;

/// Measures appends of a block to a file, each followed by `fdatasync`.
pub(super) fn flushes(path: &Path, time: Duration) -> Result<Times> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let block = [7_u8; 4096];
    let (begun, mut seconds) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Times::new(seconds)
}

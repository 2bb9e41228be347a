//! CPU time and memory of this process.

use std::time::Duration;

use crate::runner::Result;

/// Linux reports CPU times in hundredths of a second on all machines that run the benchmark.
const TICK: Duration = Duration::from_millis(10);

/// Returns the CPU time of all threads so far.
pub(super) fn cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The process name may contain any character, and ends at the last parenthesis.
    let (_, rest) = stat.rsplit_once(')').ok_or("/proc/self/stat has no process name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| {
        fields.get(at).and_then(|it| it.parse::<u32>().ok()).ok_or("/proc/self/stat has no CPU times")
    };
    Ok(TICK * (ticks(11)? + ticks(12)?))
}

/// Returns the resident memory in MiB.
pub(super) fn resident_memory() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("/proc/self/status has no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}

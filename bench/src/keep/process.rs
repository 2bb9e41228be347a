//! What this process needs.

use std::time::Duration;

use crate::runner::Result;

/// Linux tells times in hundredths of a second, on all machines that it is used on.
const TICK: Duration = Duration::from_millis(10);

/// How long it has had a core so far, all of its threads together.
pub(super) fn busy() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Its name may hold anything, and is before the last parenthesis.
    let (_, rest) = stat.rsplit_once(')').ok_or("it has no name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<u32>().ok()).ok_or("it has no times");
    Ok(TICK * (ticks(11)? + ticks(12)?))
}

/// How much memory it holds, in MiB.
pub(super) fn memory() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("it has no memory")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}

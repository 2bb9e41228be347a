//! Evidence of processes that the kernel killed for memory: `oom_kill` of this process's cgroup, which includes
//! those below it.

use std::fs;
use std::path::Path;

/// Returns the number of processes of this cgroup that were killed for memory; none without a cgroup of version 2.
pub(super) fn oom_kills() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let events = fs::read_to_string(Path::new("/sys/fs/cgroup").join(path).join("memory.events")).ok()?;
    parse_oom_kills(&events)
}

fn parse_oom_kills(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// Compares two counts and describes the difference. It is no proof that the driver was killed, as other processes
/// may share the cgroup.
pub(super) fn evidence(before: Option<u64>, after: Option<u64>) -> Option<String> {
    match (before, after) {
        (Some(before), Some(after)) if after > before => Some(format!(
            "the kernel killed a process of its cgroup for memory while it ran (`oom_kill` rose from {before} to {after})"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oom_kills_are_counted_and_compared() {
        let events = "low 0\nhigh 12\nmax 3\noom 2\noom_kill 7\noom_group_kill 1\n";
        assert_eq!(parse_oom_kills(events), Some(7));
        assert_eq!((parse_oom_kills(""), parse_oom_kills("oom_kill x")), (None, None));
        assert!(evidence(Some(0), Some(1)).is_some_and(|it| it.contains("rose from 0 to 1")));
        assert_eq!((evidence(Some(1), Some(1)), evidence(None, Some(1))), (None, None));
    }
}

//! The processes of an application: those that carry its folder's path in their environment, which every child
//! inherits, whatever group or session it makes for itself.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The variable that all processes of an application have.
pub(super) const VARIABLE: &str = "DCP_APPLICATION_FOLDER";

const PAUSE: Duration = Duration::from_millis(10);

/// All that are there now, but for this one.
pub(super) fn of(folder: &Path) -> Vec<Pid> {
    let own = rustix::process::getpid();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut marked = [VARIABLE.as_bytes(), b"=", folder.as_os_str().as_bytes()].concat();
    marked.push(0);
    numbers
        .filter(|number| {
            // A process that has ended, and only waits for its parent to hear of it, has none.
            let environment = std::fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
            has(&environment, &marked)
        })
        .filter_map(Pid::from_raw)
        .filter(|pid| *pid != own)
        .collect()
}

/// Whether an environment has a variable: each entry ends with a zero.
fn has(environment: &[u8], entry: &[u8]) -> bool {
    environment.split_inclusive(|byte| *byte == 0).any(|it| it == entry)
}

pub(super) fn signal_all(folder: &Path, signal: Signal) {
    for pid in of(folder) {
        // It may be gone by now.
        _ = kill_process(pid, signal);
    }
}

/// Kills until none is left: what is killed may just have started another.
pub(super) fn kill_all(folder: &Path) {
    loop {
        let all = of(folder);
        if all.is_empty() {
            return;
        }
        for pid in all {
            _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_entry_counts() {
        let environment = b"PATH=/bin\0DCP_APPLICATION_FOLDER=/runs/a-1\0HOME=/\0";
        assert!(has(environment, b"DCP_APPLICATION_FOLDER=/runs/a-1\0"));
        assert!(!has(environment, b"DCP_APPLICATION_FOLDER=/runs/a\0"));
        assert!(!has(environment, b"APPLICATION_FOLDER=/runs/a-1\0"));
        assert!(!has(b"", b"DCP_APPLICATION_FOLDER=/runs/a-1\0"));
    }
}

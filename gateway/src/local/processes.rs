//! The processes of an application, found in three ways:
//!
//! - by its control group, if it has one, which no process can leave;
//! - as descendants of its supervisor, which becomes the parent of their orphans;
//! - by its folder's path in their environment, which children inherit unless they are started with another one.
//!
//! Without cgroups, only the last way finds the processes of a supervisor that was killed.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use super::cgroup::Cgroup;

/// The variable that marks the processes of an application.
pub(super) const MARKER_VARIABLE: &str = "DCP_APPLICATION_FOLDER";

const KILL_INTERVAL: Duration = Duration::from_millis(10);

/// The processes of one application.
#[derive(Debug)]
pub(super) struct Processes {
    folder: PathBuf,
    cgroup: Option<Cgroup>,
    /// True if this process is the supervisor.
    supervised: bool,
}

impl Processes {
    /// Returns the processes as their supervisor finds them.
    pub(super) fn supervised(folder: &Path, cgroup: Option<Cgroup>) -> Self {
        Self { folder: folder.to_owned(), cgroup, supervised: true }
    }

    /// Returns the processes as another process finds them once the supervisor is gone.
    pub(super) fn orphaned(folder: &Path, cgroup: Option<Cgroup>) -> Self {
        Self { folder: folder.to_owned(), cgroup, supervised: false }
    }

    pub(super) fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    /// Sends a signal to all current processes.
    pub(super) fn signal(&self, signal: Signal) {
        for pid in self.all() {
            self.send(pid, signal);
        }
    }

    /// Kills all current processes; true if there were none.
    fn kill(&self) -> bool {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        let all = self.all();
        for pid in &all {
            self.send(*pid, Signal::KILL);
        }
        all.is_empty() && self.cgroup.as_ref().is_none_or(Cgroup::is_empty)
    }

    /// Kills until no process is left, as a killed one may just have started another one; false if some are left
    /// at the deadline. `between` is called after each pass.
    pub(super) fn kill_all(&self, deadline: Option<Instant>, mut between: impl FnMut()) -> bool {
        loop {
            if self.kill() {
                if let Some(cgroup) = &self.cgroup {
                    cgroup.remove();
                }
                return true;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            between();
            std::thread::sleep(KILL_INTERVAL);
        }
    }

    /// Returns true if neither the supervisor nor another process is left.
    pub(super) fn has_ended(&self) -> bool {
        let supervises = |pid: &Pid| is_supervisor(*pid, &self.folder);
        !processes().keys().any(supervises) && self.all().is_empty()
    }

    /// Returns all live processes except this one.
    fn all(&self) -> HashSet<Pid> {
        let processes = processes();
        let mut all: HashSet<Pid> =
            processes.keys().copied().filter(|pid| is_marked(*pid, &self.folder)).collect();
        all.extend(self.cgroup.iter().flat_map(Cgroup::members));
        if self.supervised {
            all.extend(descendants(&processes, getpid()));
        }
        all.remove(&getpid());
        all
    }

    /// Signals a process, if its number still means one of these. Numbers are reused, but the open pidfd always
    /// means the same process.
    fn send(&self, pid: Pid, signal: Signal) {
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        let belongs = is_marked(pid, &self.folder)
            || self.cgroup.as_ref().is_some_and(|cgroup| cgroup.members().contains(&pid))
            || (self.supervised && is_descendant(pid, getpid()));
        if belongs {
            // The process may have ended by now.
            _ = pidfd_send_signal(process, signal);
        }
    }
}

/// Returns true if a process has an application's mark. Ended processes have no environment.
fn is_marked(pid: Pid, folder: &Path) -> bool {
    let mut mark = [MARKER_VARIABLE.as_bytes(), b"=", folder.as_os_str().as_bytes()].concat();
    mark.push(0);
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let environment = |of: &Path| std::fs::read(of.join("environ")).unwrap_or_default();
    let own = environment(&process);
    if !own.is_empty() {
        return has_entry(&own, &mark);
    }
    // The main thread may have ended while others run.
    let threads = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    threads.skip(1).any(|thread| has_entry(&environment(&thread.path()), &mark))
}

/// Returns true if a process is the supervisor of a folder, which is its last argument.
fn is_supervisor(pid: Pid, folder: &Path) -> bool {
    let arguments = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let last = arguments.strip_suffix(b"\0").and_then(|it| it.rsplit(|byte| *byte == 0).next());
    last == Some(folder.as_os_str().as_bytes())
}

/// Returns true if an environment has a variable: each entry ends with a zero.
fn has_entry(environment: &[u8], entry: &[u8]) -> bool {
    environment.split_inclusive(|byte| *byte == 0).any(|it| it == entry)
}

/// Returns every process that has not ended, and its parent.
fn processes() -> HashMap<Pid, Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    numbers.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

/// Returns the parent of a process that has not ended.
fn parent(pid: Pid) -> Option<Pid> {
    let text = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    parent_of(&text)
}

/// Parses `NUMBER (NAME) STATE PARENT …`; the name may contain any characters.
fn parent_of(stat: &[u8]) -> Option<Pid> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(stat.get(end + 2..)?).ok()?.split(' ');
    let (state, parent) = (fields.next()?, fields.next()?);
    // The state is that of the main thread, which may have ended while others run.
    let threads: u64 = fields.nth(15).and_then(|it| it.parse().ok()).unwrap_or(0);
    let ended = matches!(state, "Z" | "X" | "x") && threads <= 1;
    Pid::from_raw(parent.parse().ok()?).filter(|_| !ended)
}

fn descendants(processes: &HashMap<Pid, Pid>, of: Pid) -> HashSet<Pid> {
    let mut found = HashSet::new();
    let mut parents = vec![of];
    while let Some(above) = parents.pop() {
        let children = processes.iter().filter(|(_, parent)| **parent == above).map(|(child, _)| *child);
        let new: Vec<Pid> = children.filter(|child| found.insert(*child)).collect();
        parents.extend(new);
    }
    found
}

fn is_descendant(pid: Pid, of: Pid) -> bool {
    std::iter::successors(parent(pid), |above| parent(*above)).take(4096).any(|above| above == of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_environment_entries_match() {
        let environment = b"PATH=/bin\0DCP_APPLICATION_FOLDER=/runs/a-1\0HOME=/\0";
        assert!(has_entry(environment, b"DCP_APPLICATION_FOLDER=/runs/a-1\0"));
        assert!(!has_entry(environment, b"DCP_APPLICATION_FOLDER=/runs/a\0"));
        assert!(!has_entry(environment, b"APPLICATION_FOLDER=/runs/a-1\0"));
        assert!(!has_entry(b"", b"DCP_APPLICATION_FOLDER=/runs/a-1\0"));
    }

    #[test]
    fn parent_is_parsed_with_any_name_of_the_process() {
        assert_eq!(parent_of(b"12 (a) S 1) R 7 0 0"), Pid::from_raw(7));
        assert_eq!(parent_of(b"12 (a) Z 7 0 0"), None, "it has ended");
        let threads = b"12 (a) Z 7 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 2 0 5";
        assert_eq!(parent_of(threads), Pid::from_raw(7), "its first thread has ended, another one has not");
        assert_eq!(parent_of(b"12 (a"), None);
        assert_eq!(parent_of(b"2 (kthreadd) S 0 0"), None);
    }

    #[test]
    fn descendants_are_found_through_all_generations() {
        let pid = |number| Pid::from_raw(number).expect("it is none of zero");
        let processes = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 6)].map(|(it, parent)| (pid(it), pid(parent)));
        assert_eq!(descendants(&processes.into(), pid(2)), [pid(3), pid(4)].into());
    }
}

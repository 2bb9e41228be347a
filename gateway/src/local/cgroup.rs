//! A control group for the processes of one application, if this process may create one. A process can't leave it
//! by changing its session, its parent or its environment.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::getxattr;
use rustix::process::{Pid, geteuid, getpid};

/// A control group of version 2 that this backend created.
#[derive(Debug)]
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// Creates a group below that of this process; none if cgroups are missing or not delegated.
    pub(super) fn create(application: &str, unique: u128) -> Option<Self> {
        let own = own()?;
        is_delegated(&own).then_some(())?;
        let group = Self(own.join(format!("{}{unique:x}", prefix(application))));
        fs::create_dir(&group.0).ok()?;
        // `cgroup.kill` came with Linux 5.14.
        if group.0.join("cgroup.kill").exists() && group.enter().is_ok() && group.leave().is_ok() {
            return Some(group);
        }
        group.remove();
        None
    }

    /// Returns the group that an earlier process recorded, if its path can only belong to this application.
    pub(super) fn recorded(path: &Path, application: &str) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let is_own = name.starts_with(&prefix(application)) && path.join("cgroup.kill").exists();
        (is_own && path.starts_with(mount()?.folder)).then(|| Self(path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Moves this process into the group, so that its new children are in it too.
    pub(super) fn enter(&self) -> std::io::Result<()> {
        join(&self.0)
    }

    /// Moves this process back to its original group.
    pub(super) fn leave(&self) -> std::io::Result<()> {
        join(self.0.parent().unwrap_or(&self.0))
    }

    /// Returns the processes in the group itself.
    pub(super) fn members(&self) -> Vec<Pid> {
        let text = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
    }

    /// Kills everything in the group and in groups below it.
    pub(super) fn kill(&self) {
        _ = fs::write(self.0.join("cgroup.kill"), "1");
    }

    /// Returns true if no process is left in the group or below it. Zombies do not count.
    pub(super) fn is_empty(&self) -> bool {
        match fs::read_to_string(self.0.join("cgroup.events")) {
            Ok(text) => text.lines().any(|line| line == "populated 0"),
            Err(_) => true,
        }
    }

    /// Removes the group, and groups that its processes created below it.
    pub(super) fn remove(&self) {
        remove(&self.0, 0);
    }
}

/// Groups are folders. Their files can't be removed, and `rmdir` does not need that.
fn remove(group: &Path, depth: u32) {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    for entry in below.filter(|entry| depth < 16 && entry.file_type().is_ok_and(|it| it.is_dir())) {
        remove(&entry.path(), depth + 1);
    }
    _ = fs::remove_dir(group);
}

fn prefix(application: &str) -> String {
    format!("dcp-{application}-")
}

fn join(group: &Path) -> std::io::Result<()> {
    fs::write(group.join("cgroup.procs"), getpid().as_raw_nonzero().to_string())
}

/// The mount point of the hierarchy of version 2, and the part of the hierarchy that is mounted.
struct Mount {
    root: PathBuf,
    folder: PathBuf,
}

fn mount() -> Option<Mount> {
    mount_of(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// Parses `36 25 0:31 ROOT FOLDER options… - cgroup2 …`, the format of `proc(5)`.
fn mount_of(mountinfo: &str) -> Option<Mount> {
    mountinfo.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut fields = place.split(' ').skip(3);
        let (root, folder) = (fields.next()?, fields.next()?);
        // Blanks and backslashes in paths are escaped; such paths are not supported.
        let is_plain = !root.contains('\\') && !folder.contains('\\');
        (kind.starts_with("cgroup2 ") && is_plain).then(|| Mount { root: root.into(), folder: folder.into() })
    })
}

/// Returns the folder of this process's own group.
fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mount = mount()?;
    let below = Path::new(path).strip_prefix(&mount.root).ok()?;
    Some(mount.folder.join(below))
}

/// Returns true if dcp may create groups below this one. A user can write only to delegated groups. Root can write
/// to all, so it needs a mark that systemd sets, or a container whose root group this is.
fn is_delegated(group: &Path) -> bool {
    let marked = |name: &str| getxattr(group, name, &mut [0; 8][..]).is_ok();
    let is_root = mount().is_some_and(|mount| mount.folder == group);
    !geteuid().is_root() || is_root || marked("trusted.delegate") || marked("user.delegate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_version_2_is_found() {
        let text = "30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                    31 30 0:27 / /sys/fs/cgroup/cpu rw shared:1 - cgroup cgroup rw,cpu\n\
                    32 30 0:28 /part /sys/fs/cgroup/unified rw,nosuid shared:2 - cgroup2 cgroup2 rw\n";
        let mount = mount_of(text).expect("it exists");
        assert_eq!((mount.root, mount.folder), ("/part".into(), "/sys/fs/cgroup/unified".into()));
        assert!(mount_of("31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n").is_none());
    }

    #[test]
    fn only_control_groups_of_the_application_are_accepted() {
        for path in ["/", "/etc", "/sys/fs/cgroup", "/sys/fs/cgroup/dcp-b-1-0", "/tmp/dcp-a-1-0"] {
            assert!(Cgroup::recorded(Path::new(path), "a-1").is_none(), "{path}");
        }
    }
}

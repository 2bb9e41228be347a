//! Opens a path below a folder without leaving the folder.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Flags for reading. Opening neither waits for the other end of a FIFO, nor makes a terminal the process's own.
pub(super) const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Flags for a folder that is only a base of other paths.
#[cfg(target_os = "linux")]
pub(super) const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
pub(super) const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The reason why a path was not opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The path leaves the folder, or can only be resolved by links that do.
    LeavesFolder,
    System(Errno),
}

impl From<Errno> for OpenError {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

/// The way in which paths are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolve {
    /// One call of `openat2`, which the kernel restricts to the folder.
    Kernel,
    /// Canonicalized first, then opened component by component without following links: for systems and sandboxes
    /// without `openat2` (Linux before 5.6, some seccomp profiles, macOS).
    Steps,
}

impl Resolve {
    pub(super) fn available() -> Self {
        if cfg!(target_os = "linux") { Self::Kernel } else { Self::Steps }
    }

    /// Opens a path that may contain links.
    pub(super) fn open(self, folder: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, OpenError> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Kernel => match beneath(folder, path, flags, rustix::fs::ResolveFlags::empty()) {
                // A sandbox may return EPERM for calls that it does not know.
                Err(Errno::XDEV | Errno::NOSYS | Errno::PERM) => Err(OpenError::LeavesFolder),
                opened => Ok(opened?),
            },
            #[cfg(not(target_os = "linux"))]
            Self::Kernel => Err(OpenError::LeavesFolder),
            Self::Steps => Err(OpenError::LeavesFolder),
        }
    }

    /// Opens a path that had no links when it was resolved. A link in it is an error.
    pub(super) fn open_real(self, folder: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        #[cfg(target_os = "linux")]
        if self == Self::Kernel {
            match beneath(folder, path, flags, rustix::fs::ResolveFlags::NO_SYMLINKS) {
                Err(Errno::NOSYS | Errno::PERM) => {}
                opened => return opened,
            }
        }
        step_by_step(folder, path, flags)
    }
}

#[cfg(target_os = "linux")]
fn beneath(
    folder: &OwnedFd,
    path: &Path,
    flags: OFlags,
    resolve: rustix::fs::ResolveFlags,
) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;
    // The kernel returns EAGAIN if something is renamed while it follows a `..`.
    const ATTEMPTS: usize = 16;
    let resolve = resolve | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..ATTEMPTS {
        opened = rustix::fs::openat2(folder, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    opened
}

fn step_by_step(folder: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut passed: Option<OwnedFd> = None;
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        let from: BorrowedFd<'_> = passed.as_ref().map_or(folder.as_fd(), |passed| passed.as_fd());
        let name = match component {
            Component::Normal(name) => name,
            Component::CurDir => ".".as_ref(),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(Errno::XDEV),
        };
        let flags = if components.peek().is_some() { FOLDER } else { flags | OFlags::CLOEXEC };
        passed = Some(rustix::fs::openat(from, name, flags | OFlags::NOFOLLOW, Mode::empty())?);
    }
    passed.ok_or(Errno::NOENT)
}

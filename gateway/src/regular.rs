//! Opens files that another process may have replaced.
//!
//! A driver can replace any file in its folder by a link, a FIFO or a device. Opening a FIFO waits for a writer, a
//! device has no end, and a link leads elsewhere. So only regular files are opened here, and no link is followed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

/// Opens a regular file for reading, without waiting and without following a link in any part of its path.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(walk(path, flags)?);
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// Reads a whole regular file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("it has more than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Returns true if a path is a folder and no part of it is a link.
pub fn is_folder(path: &Path) -> bool {
    walk(path, OFlags::PATH | OFlags::DIRECTORY).is_ok()
}

fn walk(path: &Path, flags: OFlags) -> io::Result<rustix::fd::OwnedFd> {
    let always = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = None;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY } else { flags };
        let next = match (&at, part) {
            (None, Component::CurDir) => continue,
            (None, part) => openat(CWD, part.as_os_str(), flags | always, Mode::empty()),
            (Some(at), part) => openat(at, part.as_os_str(), flags | always, Mode::empty()),
        };
        at = Some(next?);
    }
    at.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Opens on another thread, so that an open that waits fails the test.
    fn open_in_time(path: PathBuf) -> io::Result<File> {
        let (send, opened) = mpsc::channel();
        std::thread::spawn(move || send.send(open(&path)));
        opened.recv_timeout(Duration::from_secs(10)).expect("opening does not wait")
    }

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let root = folder.path().canonicalize().expect("it exists");
        fs::create_dir(root.join("folder")).expect("the temporary folder is writable");
        fs::write(root.join("folder/file"), "text").expect("the temporary folder is writable");
        symlink(root.join("folder/file"), root.join("link")).expect("the temporary folder is writable");
        symlink(root.join("folder"), root.join("way")).expect("the temporary folder is writable");
        rustix::fs::mkfifoat(CWD, root.join("fifo"), 0o600.into()).expect("the temporary folder is writable");
        symlink("/dev/zero", root.join("zeros")).expect("the temporary folder is writable");
        for refused in ["link", "way/file", "fifo", "zeros", "folder", "nothing"] {
            assert!(open_in_time(root.join(refused)).is_err(), "{refused}");
        }
        assert!(open_in_time("/dev/zero".into()).is_err());
        assert_eq!(read(&root.join("folder/file"), 4).expect("it is regular"), b"text");
        assert!(read(&root.join("folder/file"), 3).is_err());
        assert!(is_folder(&root.join("folder")) && !is_folder(&root.join("way")));
    }
}

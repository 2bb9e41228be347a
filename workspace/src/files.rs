//! Reads untrusted files: regular files only, with a size limit, and without leaving a folder.
//!
//! Opening a FIFO waits for a writer, reading a device may never end, and a link may replace a folder between a
//! check and the open that follows it. So a path is resolved and opened in one step (`openat2` if the kernel has
//! it) without waiting, and the opened file is checked before it is read.

mod open;
mod stamp;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use dcp_compiler::source::LoadError;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use crate::error::{Error, reason};

pub use stamp::Stamp;

/// Prefix of the names of unfinished files. A killed process may leave one behind.
pub const TEMPORARY_PREFIX: &str = ".dcp-unfinished-";

/// Size limit of plans and other files that dcp wrote itself.
pub const LARGE_FILE_LIMIT: u64 = 256 * 1024 * 1024;

/// The text of a file, and the file's stamp from before the read.
#[derive(Debug, Clone)]
pub struct Content {
    pub text: String,
    pub stamp: Stamp,
}

/// A folder for reads and writes that never leave it. Links inside the folder are followed; links that lead out of
/// it are rejected.
#[derive(Debug)]
pub struct Tree {
    /// The canonical path.
    root: PathBuf,
    folder: OwnedFd,
    resolve: open::Resolve,
}

impl Tree {
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        let folder = rustix::fs::open(&root, open::FOLDER, Mode::empty())?;
        Ok(Self { root, folder, resolve: open::Resolve::available() })
    }

    /// Returns the folder's canonical path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the canonical path of a file in the tree. The argument may be relative to the root, or absolute.
    pub fn canonical(&self, path: &Path) -> Result<PathBuf, LoadError> {
        let path = self.root.join(path);
        let real = path.canonicalize().map_err(|error| match from_io(&error) {
            LoadError::NotFound if path.is_symlink() => LoadError::Dangling,
            failed => failed,
        })?;
        real.strip_prefix(&self.root).map(Path::to_owned).map_err(|_| LoadError::Outside)
    }

    /// Reads a regular file.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
        Ok(read(File::from(self.open_path(path, open::READ)?), limit)?.0)
    }

    /// Checks that a path leads to a regular file, and returns the file's stamp.
    pub fn check(&self, path: &Path) -> Result<Stamp, LoadError> {
        let file = File::from(self.open_path(path, open::READ)?);
        let metadata = file.metadata().map_err(|error| from_io(&error))?;
        regular(&metadata)?;
        Ok(Stamp::of(&metadata))
    }

    /// Reads a regular file as UTF-8.
    pub fn read_content(&self, path: &Path, limit: u64) -> Result<Content, LoadError> {
        let (bytes, stamp) = read(File::from(self.open_path(path, open::READ)?), limit)?;
        let text = String::from_utf8(bytes);
        let text = text.map_err(|error| LoadError::NotUtf8(error.utf8_error().valid_up_to()))?;
        Ok(Content { text, stamp })
    }

    /// Returns the stamp of a file without opening it. The path may leave the tree, as the stamp only identifies a
    /// file that was read before.
    pub fn stamp(&self, path: &Path) -> Option<Stamp> {
        rustix::fs::statat(&self.folder, path, AtFlags::empty()).ok().map(|found| Stamp::of_stat(&found))
    }

    /// Lists a folder, in no order.
    pub fn list(&self, path: &Path) -> Result<Vec<(OsString, FileType)>, LoadError> {
        let folder = self.open_path(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        for entry in Dir::new(folder).map_err(from_errno)? {
            let entry = entry.map_err(from_errno)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                entries.push((OsString::from_vec(name.to_vec()), entry.file_type()));
            }
        }
        Ok(entries)
    }

    /// Replaces a file atomically, and keeps its permissions. Its folder is opened first, so that a link that
    /// replaces the folder does not redirect the new file.
    pub fn replace(&self, path: &Path, content: &[u8]) -> Result<(), LoadError> {
        self.replace_with_mode_mask(path, content, 0o7777)
    }

    /// Replaces a file atomically, for this user alone.
    pub fn replace_private(&self, path: &Path, content: &[u8]) -> Result<(), LoadError> {
        self.replace_with_mode_mask(path, content, 0o700)
    }

    /// Replaces a file whose permissions are limited to `allowed`.
    fn replace_with_mode_mask(&self, path: &Path, content: &[u8], allowed: u32) -> Result<(), LoadError> {
        let above = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().ok_or(LoadError::Directory)?;
        let folder = self.open_path(above, open::FOLDER)?;
        let old = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
        let old = old.ok().filter(|old| FileType::from_raw_mode(old.st_mode).is_file());
        let temporary = format!("{TEMPORARY_PREFIX}{:016x}", rand::random::<u64>());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let new = rustix::fs::openat(&folder, &temporary, flags, Mode::from_raw_mode(0o666 & allowed));
        let mut file = File::from(new.map_err(from_errno)?);
        let written = file.write_all(content).and_then(|()| match old {
            Some(old) => file.set_permissions(fs::Permissions::from_mode(old.st_mode & allowed)),
            None => Ok(()),
        });
        let placed = written
            .and_then(|()| Ok(rustix::fs::renameat(&folder, &temporary, &folder, name)?))
            .map_err(|error| from_io(&error));
        if placed.is_err() {
            // The first error is more useful than one of the cleanup.
            _ = rustix::fs::unlinkat(&folder, &temporary, AtFlags::empty());
        }
        placed
    }

    fn open_path(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, LoadError> {
        // The path of the folder itself is empty.
        let path = if path == Path::new("") { Path::new(".") } else { path };
        match self.resolve.open(&self.folder, path, flags) {
            Err(open::OpenError::LeavesFolder) => {
                // The path leads out of the folder, or contains an absolute link, which may lead back into it.
                let real = self.canonical(path)?;
                let real = if real == Path::new("") { Path::new(".") } else { &real };
                self.resolve.open_real(&self.folder, real, flags).map_err(from_errno)
            }
            Err(open::OpenError::System(error)) => Err(match from_errno(error) {
                LoadError::NotFound if self.root.join(path).is_symlink() => LoadError::Dangling,
                other => other,
            }),
            Ok(file) => Ok(file),
        }
    }
}

/// Reads a regular file at any path.
pub fn read_anywhere(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let file = rustix::fs::open(path, open::READ, Mode::empty()).map_err(from_errno)?;
    Ok(read(File::from(file), limit)?.0)
}

/// Reads a regular file that the user named.
pub fn read_named(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    read_anywhere(path, limit).map_err(|error| unreadable(path, error))
}

/// Describes a file that can't be read.
pub fn unreadable(path: &Path, error: LoadError) -> Error {
    Error::new(format!("`{}` can't be read: {}", path.display(), describe(error)))
}

/// Describes the problem of a file, as part of a sentence.
pub fn describe(error: LoadError) -> String {
    match error {
        LoadError::NotFound => "there is no such file".to_owned(),
        LoadError::Dangling => "it is a link to nothing".to_owned(),
        LoadError::Directory => "it is a folder".to_owned(),
        LoadError::NotUtf8(offset) => format!("it is not UTF-8, from its byte {offset} on"),
        LoadError::TooLarge { size, limit } => format!("it has {size} bytes, and the limit is {limit}"),
        LoadError::Outside => "it is outside of the project".to_owned(),
        LoadError::Other(why) => why,
    }
}

/// Reads an open file, if it is a regular one within the limit.
fn read(file: File, limit: u64) -> Result<(Vec<u8>, Stamp), LoadError> {
    let metadata = file.metadata().map_err(|error| from_io(&error))?;
    regular(&metadata)?;
    let size = metadata.len();
    if size > limit {
        return Err(LoadError::TooLarge { size, limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    // The file may have grown since its size was read.
    let read = file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| from_io(&error))? as u64;
    if read > limit {
        return Err(LoadError::TooLarge { size: read, limit });
    }
    Ok((bytes, Stamp::of(&metadata)))
}

fn regular(metadata: &fs::Metadata) -> Result<(), LoadError> {
    match metadata {
        metadata if metadata.is_dir() => Err(LoadError::Directory),
        metadata if metadata.is_file() => Ok(()),
        _ => Err(not_regular()),
    }
}

/// Returns the error for FIFOs, sockets and devices.
pub fn not_regular() -> LoadError {
    LoadError::Other("it is not a regular file".to_owned())
}

fn from_errno(error: rustix::io::Errno) -> LoadError {
    match error {
        // Sockets can't be opened.
        rustix::io::Errno::NXIO | rustix::io::Errno::OPNOTSUPP => not_regular(),
        error => from_io(&error.into()),
    }
}

fn from_io(error: &io::Error) -> LoadError {
    match error.kind() {
        ErrorKind::NotFound => LoadError::NotFound,
        _ => LoadError::Other(reason(error)),
    }
}

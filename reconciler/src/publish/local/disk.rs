//! Durable files and folders on disk, and their errors.

use std::fs::{File, FileType, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::publish::{GENERATED_HEADER, MAX_PARALLEL, Result, name};

/// The entry at the path of a DAG file.
pub(super) enum FileKind {
    Missing,
    Generated {
        size: u64,
    },
    /// A file without the first line of dcp, a folder or a link.
    Foreign,
}

pub(super) fn inspect(path: &Path) -> io::Result<FileKind> {
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(FileKind::Missing),
        Err(error) => return Err(error),
    };
    if !meta.is_file() {
        return Ok(FileKind::Foreign);
    }
    let mut beginning = Vec::with_capacity(GENERATED_HEADER.len());
    match File::open(path) {
        Ok(file) => file.take(GENERATED_HEADER.len() as u64).read_to_end(&mut beginning)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(FileKind::Missing),
        Err(error) => return Err(error),
    };
    Ok(if name::is_ours(&beginning) { FileKind::Generated { size: meta.len() } } else { FileKind::Foreign })
}

/// Writes a new file durably.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    set_mode(&file, 0o644)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes the entries of a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems don't support this.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // Airflow reads as another user.
        Ok(()) => set_mode(&File::open(folder)?, 0o755),
        failed => failed,
    }
}

/// Creates a folder and its parents durably.
pub(super) fn make_folders(folder: &Path) -> io::Result<()> {
    let above = folder.parent().unwrap_or(folder);
    if !above.is_dir() {
        make_folders(above)?;
    }
    make_folder(folder)?;
    sync_folder(above)
}

/// The result of locking a folder.
pub(super) enum Lock {
    /// The folder is locked for as long as this is open.
    Held(File),
    /// The folder is missing, or was replaced.
    Gone,
    /// Another process holds the lock.
    Busy,
    /// The file system has no locks.
    Unsupported,
}

/// Locks a folder of staged files. The lock ends with the process.
pub(super) fn lock(folder: &Path) -> io::Result<Lock> {
    let opened = match File::open(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Lock::Gone),
        opened => opened?,
    };
    match opened.try_lock() {
        // The previous holder may have removed the file.
        Ok(()) if is_same(&opened, folder)? => Ok(Lock::Held(opened)),
        Ok(()) => Ok(Lock::Gone),
        Err(TryLockError::WouldBlock) => Ok(Lock::Busy),
        Err(TryLockError::Error(_)) => Ok(Lock::Unsupported),
    }
}

#[cfg(unix)]
fn is_same(opened: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let opened = opened.metadata()?;
    match path.symlink_metadata() {
        Ok(found) => Ok((found.dev(), found.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn is_same(_: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

pub(super) fn ignore_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Returns the names in a folder in order, or none if there is no folder.
pub(super) fn names(folder: &Path, wanted: fn(&FileType) -> bool) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        match entry.file_type() {
            Ok(kind) if wanted(&kind) => names.extend(entry.file_name().into_string().ok()),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Runs work for each item in parallel, so that one flush of the disk serves several. After a failure, no more begin.
pub(super) fn for_each_parallel<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let some = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item).inspect_err(|_| next.store(items.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let more = (1..MAX_PARALLEL.min(items.len()))
            // If no thread can be started, fewer threads do the work.
            .map_while(|_| std::thread::Builder::new().spawn_scoped(scope, some).ok())
            .collect::<Vec<_>>();
        let mine = some();
        let theirs = more
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        theirs.fold(mine, Result::and)
    })
}

/// Returns a unique id.
pub(super) fn unique_id() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!("put-{:016x}{:016x}", random(), random())
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

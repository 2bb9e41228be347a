//! The DAG folder on disk. Unlike that of `object_store`, it sets modes independent of the umask, recognises files of
//! others, and makes writes durable with few flushes.

mod disk;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use disk::{FileKind, Lock, for_each_parallel, ignore_missing, inspect, make_folder, sync_folder, write};

use super::{Cause, DagFile, Error, File, Operation, Result, STAGED_FOLDER, name};

#[derive(Debug, Clone)]
pub(super) struct Local(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    display_name: String,
    is_in_project: bool,
    /// Locked folders of staged files, by id.
    locks: Mutex<HashMap<String, std::fs::File>>,
}

impl Local {
    pub(super) fn new(root: PathBuf, display_name: String, is_in_project: bool) -> Self {
        Self(Arc::new(Inner { root, display_name, is_in_project, locks: Mutex::default() }))
    }

    /// Runs work that waits for the disk on a blocking thread.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.clone();
        let failed =
            |_| self.failed("", Operation::Write, Cause::Other("the work was broken off".to_owned()));
        tokio::task::spawn_blocking(move || work(&this)).await.map_err(failed)?
    }

    pub(super) fn stage(&self, id: &str, files: &[File]) -> Result<()> {
        self.make_root()?;
        self.reject_foreign_files(files.iter().map(|file| file.name.as_str()))?;
        self.discard(id)?;
        let written = self.write_staged(id, files);
        if written.is_err() {
            // The partial file would only fill a full disk. The error of the write is reported.
            let _ = self.discard(id);
        }
        written
    }

    pub(super) fn switch(&self, id: &str, files: &[File]) -> Result<()> {
        self.exists()?;
        self.reject_foreign_files(files.iter().map(|file| file.name.as_str()))?;
        let folder = self.staged_folder()?.join(id);
        let is_staged = |file: &File| {
            let meta = folder.join(name::staged(&file.name)).symlink_metadata();
            meta.is_ok_and(|meta| meta.is_file() && meta.len() == file.content.len() as u64)
        };
        let lost: Vec<_> = files.iter().filter(|file| !is_staged(file) && !self.has_content(file)).collect();
        if !lost.is_empty() {
            return Err(self.not_staged(id, &lost));
        }
        for file in files {
            match std::fs::rename(folder.join(name::staged(&file.name)), self.path(&file.name)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.has_content(file) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(self.not_staged(id, &[file]));
                }
                Err(error) => return Err(self.io(&file.name, Operation::Switch, &error)),
            }
        }
        sync_folder(&self.0.root).map_err(|error| self.io("", Operation::Write, &error))?;
        // The folder stays if more files are staged under this id.
        if std::fs::remove_dir(folder).is_ok() {
            self.locks().remove(id);
        }
        Ok(())
    }

    pub(super) fn put(&self, files: &[File]) -> Result<()> {
        let id = disk::unique_id();
        self.stage(&id, files)?;
        let switched = self.switch(&id, files);
        if switched.is_err() {
            let _ = self.discard(&id);
        }
        switched
    }

    pub(super) fn remove(&self, names: &[String]) -> Result<()> {
        if !self.exists()? {
            return Ok(());
        }
        let existing = self.reject_foreign_files(names.iter().map(String::as_str))?;
        for name in &existing {
            ignore_missing(std::fs::remove_file(self.path(name)))
                .map_err(|error| self.io(name, Operation::Remove, &error))?;
        }
        match existing.is_empty() {
            true => Ok(()),
            false => sync_folder(&self.0.root).map_err(|error| self.io("", Operation::Write, &error)),
        }
    }

    pub(super) fn discard(&self, id: &str) -> Result<()> {
        self.exists()?;
        let folder = self.staged_folder()?.join(id);
        let removed = ignore_missing(std::fs::remove_dir_all(folder))
            .map_err(|error| self.io(&format!("{STAGED_FOLDER}/{id}"), Operation::Remove, &error));
        self.locks().remove(id);
        removed
    }

    /// Removes leftover staged files of others. Locked folders belong to running applies.
    pub(super) fn clean(&self) -> Result<()> {
        for id in self.leftovers()? {
            let folder = self.staged_folder()?.join(&id);
            let failed = |error| self.io(&format!("{STAGED_FOLDER}/{id}"), Operation::Remove, &error);
            // Locked while it is removed, so that no apply starts to write to it.
            let lock = disk::lock(&folder).map_err(failed)?;
            if !matches!(lock, Lock::Busy) || self.locks().contains_key(&id) {
                self.discard(&id)?;
            }
        }
        Ok(())
    }

    pub(super) fn leftovers(&self) -> Result<Vec<String>> {
        self.exists()?;
        let folder = self.staged_folder()?;
        let names = disk::names(&folder, std::fs::FileType::is_dir)
            .map_err(|error| self.io(STAGED_FOLDER, Operation::List, &error))?;
        let mut leftovers = Vec::new();
        for id in names.into_iter().filter(|id| name::check_id(id).is_ok()) {
            let lock =
                disk::lock(&folder.join(&id)).map_err(|error| self.io(&id, Operation::List, &error))?;
            let left = match lock {
                Lock::Held(_) | Lock::Unsupported => true,
                Lock::Busy => self.locks().contains_key(&id),
                Lock::Gone => false,
            };
            leftovers.extend(left.then_some(id));
        }
        Ok(leftovers)
    }

    pub(super) fn list(&self) -> Result<Vec<DagFile>> {
        self.exists()?;
        let names = disk::names(&self.0.root, std::fs::FileType::is_file)
            .map_err(|error| self.io("", Operation::List, &error))?;
        let mut listed = Vec::new();
        for name in names.into_iter().filter(|name| name::is_valid(name)) {
            match inspect(&self.path(&name)).map_err(|error| self.io(&name, Operation::Read, &error))? {
                FileKind::Generated { size } => listed.push(DagFile { name, size }),
                FileKind::Missing | FileKind::Foreign => {}
            }
        }
        Ok(listed)
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.exists()?;
        self.reject_foreign_files([name])?;
        match std::fs::read(self.path(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io(name, Operation::Read, &error)),
        }
    }
}

/// Creates and locks the folder of staged files, so that no other apply removes it as a leftover of a crash. On file
/// systems without locks, it stays unlocked.
fn claim(all: &Path, folder: &Path) -> io::Result<Option<std::fs::File>> {
    // Another apply may lock and remove the folder first. Each apply does so once, so few retries are needed.
    const ATTEMPTS: usize = 500;
    for _ in 0..ATTEMPTS {
        let made = make_folder(all).and_then(|()| make_folder(folder));
        match made.and_then(|()| disk::lock(folder)) {
            Ok(Lock::Held(lock)) => return Ok(Some(lock)),
            Ok(Lock::Unsupported) => return Ok(None),
            Ok(Lock::Gone) => {}
            Ok(Lock::Busy) => std::thread::sleep(Duration::from_millis(10)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("another apply removes it again and again"))
}

/// Helpers of the operations above.
impl Local {
    fn write_staged(&self, id: &str, files: &[File]) -> Result<()> {
        let all = self.0.root.join(STAGED_FOLDER);
        let folder = all.join(id);
        let failed = |error: io::Error| self.io(&format!("{STAGED_FOLDER}/{id}"), Operation::Write, &error);
        let lock = claim(&all, &folder).map_err(failed)?;
        self.locks().extend(lock.map(|lock| (id.to_owned(), lock)));
        for_each_parallel(files, |file| {
            write(&folder.join(name::staged(&file.name)), file.content.as_bytes())
                .map_err(|error| self.io(&file.name, Operation::Write, &error))
        })?;
        [&folder, &all, &self.0.root].into_iter().try_for_each(|folder| sync_folder(folder)).map_err(failed)
    }

    fn locks(&self) -> MutexGuard<'_, HashMap<String, std::fs::File>> {
        self.0.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_root(&self) -> Result<()> {
        match self.exists()? {
            true => Ok(()),
            false => disk::make_folders(&self.0.root).map_err(|error| self.io("", Operation::Write, &error)),
        }
    }

    /// Returns whether the folder exists. A folder that dcp must not create has to exist.
    fn exists(&self) -> Result<bool> {
        match std::fs::metadata(&self.0.root) {
            Ok(meta) if meta.is_dir() => Ok(true),
            Ok(_) => Err(self.failed("", Operation::Write, Cause::NotAFolder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.0.is_in_project => Ok(false),
            Err(error) => Err(self.io("", Operation::Read, &error)),
        }
    }

    /// Returns the folder of staged files. A link in its place is an error, as it leads out of the folder.
    fn staged_folder(&self) -> Result<PathBuf> {
        let folder = self.0.root.join(STAGED_FOLDER);
        match folder.symlink_metadata() {
            Ok(meta) if !meta.is_dir() => {
                Err(self.failed(STAGED_FOLDER, Operation::Write, Cause::NotAFolder))
            }
            _ => Ok(folder),
        }
    }

    /// Rejects names at which there is an entry that dcp did not write, and returns those with a file of dcp.
    fn reject_foreign_files<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<&'a str>> {
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for name in names {
            match inspect(&self.path(name)).map_err(|error| self.io(name, Operation::Read, &error))? {
                FileKind::Missing => {}
                FileKind::Generated { .. } => ours.push(name),
                FileKind::Foreign => others.push(self.display_path(name)),
            }
        }
        if others.is_empty() { Ok(ours) } else { Err(Error::ForeignFiles(others)) }
    }

    fn has_content(&self, file: &File) -> bool {
        std::fs::read(self.path(&file.name)).is_ok_and(|content| content == file.content.as_bytes())
    }

    fn not_staged(&self, id: &str, files: &[&File]) -> Error {
        Error::NotStaged {
            id: id.to_owned(),
            files: files.iter().map(|file| self.display_path(&file.name)).collect(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.root.join(name)
    }

    fn display_path(&self, name: &str) -> String {
        if name.is_empty() { self.0.display_name.clone() } else { format!("{}/{name}", self.0.display_name) }
    }

    fn io(&self, name: &str, operation: Operation, error: &io::Error) -> Error {
        self.failed(name, operation, dcp_objects::cause_on_disk(error))
    }

    fn failed(&self, name: &str, operation: Operation, cause: Cause) -> Error {
        Error::Failed { location: self.display_path(name), operation, cause }
    }
}

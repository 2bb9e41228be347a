//! A folder of compiled files: outdated ones are removed, and other files are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use dcp_compiler::source::LoadError;
use dcp_workspace::files::{LARGE_FILE_LIMIT, TEMPORARY_PREFIX, read_anywhere, unreadable};
use serde::{Deserialize, Serialize};

use super::{replace, update};
use crate::failure::Failure;

/// The list of the files that dcp owns.
const LISTING: &str = ".dcp-compile.json";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Listing {
    version: u32,
    files: BTreeSet<String>,
}

/// A folder that is locked against other writers.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    listing: Listing,
    /// Held until all files are written.
    _lock: Option<File>,
}

/// The numbers of files.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) written: usize,
    pub(crate) unchanged: usize,
    pub(crate) removed: usize,
}

impl Folder {
    /// Opens a folder that is new, empty, or owned by dcp.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(path).map_err(|error| Failure::at(path, "made a folder", &error))?;
        let lock = lock(path)?;
        let listing = match read_anywhere(&path.join(LISTING), LARGE_FILE_LIMIT) {
            Ok(text) => read_listing(&text)
                .ok_or_else(|| Failure::new(format!("`{}` is damaged", path.join(LISTING).display())))?,
            Err(LoadError::NotFound) => {
                reject_foreign_folder(path)?;
                Listing::default()
            }
            Err(error) => return Err(unreadable(&path.join(LISTING), error).into()),
        };
        Ok(Self { path: path.to_owned(), listing, _lock: lock })
    }

    /// Makes `files`, by their paths, the only compiled files in the folder.
    pub(crate) fn replace(self, files: &BTreeMap<String, Vec<u8>>) -> Result<Change, Failure> {
        let wanted: BTreeSet<String> = files.keys().cloned().collect();
        // Listed before they are written, so that after an interruption the next run knows that dcp owns them.
        let all = &self.listing.files | &wanted;
        if all != self.listing.files || self.listing.version == 0 {
            self.list(all.clone())?;
        }
        self.folders(&all)?;
        let mut change = Change::default();
        for (name, content) in files {
            let path = self.path.join(name);
            match update(&path, content) {
                Ok(true) => change.written += 1,
                Ok(false) => change.unchanged += 1,
                Err(error) => return Err(Failure::at(&path, "written", &error)),
            }
        }
        for name in self.listing.files.difference(&wanted) {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Ok(()) => change.removed += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::at(&path, "removed", &error)),
            }
            self.prune(&path);
        }
        if all != wanted {
            self.list(wanted)?;
        }
        Ok(change)
    }

    fn list(&self, files: BTreeSet<String>) -> Result<(), Failure> {
        let path = self.path.join(LISTING);
        let text = serde_json::to_vec_pretty(&Listing { version: 1, files })
            .map_err(|error| Failure::new(format!("the listing can't be written: {error}")))?;
        replace(&path, &[&text[..], b"\n"].concat()).map_err(|error| Failure::at(&path, "written", &error))
    }

    /// Creates all folders, rejects links in their place, and removes unfinished files of killed processes.
    fn folders(&self, files: &BTreeSet<String>) -> Result<(), Failure> {
        let mut below: BTreeSet<&Path> = BTreeSet::new();
        for name in files {
            below.extend(Path::new(name).ancestors().skip(1));
        }
        for folder in below {
            let path = self.path.join(folder);
            let real = folder == Path::new("") || path.symlink_metadata().is_ok_and(|found| found.is_dir());
            if !real {
                fs::create_dir(&path).map_err(|error| Failure::at(&path, "made a folder", &error))?;
            }
            clear(&path).map_err(|error| Failure::at(&path, "read", &error))?;
        }
        Ok(())
    }

    /// Removes the folders that are empty without a file.
    fn prune(&self, path: &Path) {
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.path) {
            if fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }
}

fn lock(path: &Path) -> Result<Option<File>, Failure> {
    // Some systems can't open or lock a folder: there is no lock then.
    let Ok(folder) = File::open(path) else { return Ok(None) };
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::new(format!("another `dcp compile` is writing to `{}`", path.display())))
        }
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn reject_foreign_folder(path: &Path) -> Result<(), Failure> {
    let entries = fs::read_dir(path).map_err(|error| Failure::at(path, "read", &error))?;
    let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(TEMPORARY_PREFIX);
    if entries.filter_map(Result::ok).any(|entry| !ours(&entry.file_name())) {
        let message = format!("`{}` has files that are not from an earlier compile", path.display());
        return Err(
            Failure::new(message).help("name a new or an empty folder: what is in this one stays as it is")
        );
    }
    Ok(())
}

fn read_listing(text: &[u8]) -> Option<Listing> {
    let listing: Listing = serde_json::from_slice(text).ok()?;
    let inside = |name: &String| {
        !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
    };
    listing.files.iter().all(inside).then_some(listing)
}

fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

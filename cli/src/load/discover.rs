//! Finds manifests in folders.

use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use dcp_compiler::project::FILE_NAME;
use dcp_compiler::source::LoadError;
use ignore::WalkBuilder;

use super::{Entry, failed, real, reason, regular};

/// A file or a folder to search, as somebody named it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) named: String,
    pub(crate) path: PathBuf,
}

/// All manifests in some places, in the order of their paths. What can't be read is found as well, with the reason.
pub(crate) fn discover(root: &Path, places: Vec<Place>) -> Vec<Entry> {
    let mut search = Search { root, folders: Vec::new(), entries: Vec::new() };
    for place in places {
        search.place(place);
    }
    let mut next = 0;
    // Folders that links lead to are added as they are found.
    while let Some(folder) = search.folders.get(next).cloned() {
        search.walk(&folder);
        next += 1;
    }
    let mut entries = search.entries;
    entries.sort_unstable_by(|a, b| a.shown.cmp(&b.shown));
    entries.dedup_by(|a, b| a.shown == b.shown);
    entries
}

struct Search<'r> {
    root: &'r Path,
    /// Without links in their paths, and none inside of another.
    folders: Vec<PathBuf>,
    entries: Vec<Entry>,
}

impl Search<'_> {
    fn place(&mut self, Place { named, path }: Place) {
        let real = match real(&path) {
            Ok(real) => real,
            Err(error) => return self.add(named, Err(error)),
        };
        if !real.starts_with(self.root) {
            return self.add(named, Err(LoadError::Outside));
        }
        match fs::metadata(&real) {
            Ok(metadata) if metadata.is_dir() => self.folder(real),
            Ok(_) if is_project_file(&real) => {}
            Ok(metadata) => self.add(self.shown(&real), regular(&metadata).map(|()| real)),
            Err(error) => self.add(named, Err(failed(&error))),
        }
    }

    /// Searches a folder once, however many ways lead there.
    fn folder(&mut self, folder: PathBuf) {
        if !self.folders.iter().any(|known| folder.starts_with(known)) {
            self.folders.push(folder);
        }
    }

    fn walk(&mut self, folder: &Path) {
        let in_git = folder.ancestors().any(|above| above.join(".git").exists());
        let mut walk = WalkBuilder::new(folder);
        // The same files on every machine: only what is in the tree decides, not what a user ignores elsewhere. And
        // outside of a repository, nothing above the folder has a say.
        walk.git_global(false).git_exclude(false).ignore(false).require_git(false).parents(in_git);
        for found in walk.build() {
            match found {
                Ok(entry) if entry.depth() == 0 => {}
                Ok(entry) => {
                    let kind = entry.file_type();
                    self.found(entry.into_path(), kind);
                }
                Err(error) => self.unreadable(folder, error),
            }
        }
    }

    fn found(&mut self, path: PathBuf, kind: Option<FileType>) {
        let yaml = is_yaml(&path);
        match kind {
            Some(kind) if kind.is_symlink() => self.link(&path),
            _ if !yaml || is_project_file(&path) => {}
            Some(kind) if kind.is_file() => self.add(self.shown(&path), Ok(path)),
            Some(kind) if kind.is_dir() => self.add(self.shown(&path), Err(LoadError::Directory)),
            _ => {
                let why = LoadError::Other("it is not a regular file".to_owned());
                self.add(self.shown(&path), Err(why));
            }
        }
    }

    /// A link is as good as what it leads to, as long as that is part of the project.
    fn link(&mut self, path: &Path) {
        let shown = self.shown(path);
        let yaml = is_yaml(path);
        let real = match real(path) {
            Ok(real) => real,
            Err(error) if yaml => return self.add(shown, Err(error)),
            Err(_) => return,
        };
        let Ok(metadata) = fs::metadata(&real) else { return };
        if !yaml && !metadata.is_dir() {
            return;
        }
        if !real.starts_with(self.root) {
            self.add(shown, Err(LoadError::Outside));
        } else if metadata.is_dir() {
            self.folder(real);
        } else if !is_project_file(&real) {
            self.add(shown, regular(&metadata).map(|()| real));
        }
    }

    fn unreadable(&mut self, folder: &Path, error: ignore::Error) {
        let why = error.io_error().map_or_else(|| error.to_string(), reason);
        let path = path_of(error).unwrap_or_else(|| folder.to_owned());
        self.add(self.shown(&path), Err(LoadError::Other(why)));
    }

    fn add(&mut self, shown: String, file: Result<PathBuf, LoadError>) {
        self.entries.push(Entry::new(shown, file));
    }

    fn shown(&self, path: &Path) -> String {
        let inside = path.strip_prefix(self.root).unwrap_or(path);
        match inside.to_str() {
            Some("") => ".".to_owned(),
            Some(text) => text.to_owned(),
            None => inside.to_string_lossy().into_owned(),
        }
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn is_project_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == FILE_NAME)
}

fn path_of(error: ignore::Error) -> Option<PathBuf> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(*err),
        ignore::Error::Loop { child, .. } => Some(child),
        _ => None,
    }
}

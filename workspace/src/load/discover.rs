//! Finds manifests in folders.

use std::fs;
use std::path::{Path, PathBuf};

use dcp_compiler::project::FILE_NAME;
use dcp_compiler::source::LoadError;
use rustix::fs::FileType;

use super::Entry;
use super::ignored::{self, Ignored};
use crate::files::{Tree, not_regular};

/// A file or a folder to search, and its name for messages.
#[derive(Debug)]
pub struct SearchRoot {
    pub display_name: String,
    pub path: PathBuf,
}

/// The result of a search.
#[derive(Debug)]
pub struct Discovered {
    /// All manifests, in the order of their paths. Unreadable ones have an error.
    pub entries: Vec<Entry>,
    /// The project files, relative to the tree and in order.
    pub projects: Vec<PathBuf>,
}

pub fn discover(tree: &Tree, roots: Vec<SearchRoot>) -> Discovered {
    let mut search = Search { tree, folders: Vec::new(), entries: Vec::new(), projects: Vec::new() };
    for root in roots {
        search.add_root(root);
    }
    let mut next = 0;
    // The search adds folders that links lead to.
    while let Some(folder) = search.folders.get(next).cloned() {
        search.walk(folder);
        next += 1;
    }
    let Search { mut entries, mut projects, .. } = search;
    entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    entries.dedup_by(|a, b| a.path == b.path);
    projects.sort_unstable();
    Discovered { entries, projects }
}

struct Search<'t> {
    tree: &'t Tree,
    /// Paths relative to the tree, without links in them; none is below another one.
    folders: Vec<PathBuf>,
    entries: Vec<Entry>,
    projects: Vec<PathBuf>,
}

impl Search<'_> {
    fn add_root(&mut self, SearchRoot { display_name, path }: SearchRoot) {
        match self.tree.canonical(&path) {
            Err(error) => self.add(display_name, Err(error)),
            Ok(real) => match self.kind(&real) {
                FileType::Directory => self.folder(real),
                _ if is_project_file(&real) => {}
                FileType::RegularFile => self.add(display_path(&real), Ok(real)),
                _ => self.add(display_path(&real), Err(not_regular())),
            },
        }
    }

    /// Adds a folder, unless it is searched already.
    fn folder(&mut self, folder: PathBuf) {
        if !self.folders.iter().any(|known| folder.starts_with(known)) {
            self.folders.push(folder);
        }
    }

    fn walk(&mut self, folder: PathBuf) {
        let ignored = Ignored::above(&self.tree.root().join(&folder)).unwrap_or_else(|(path, error)| {
            self.add(display_path(path.strip_prefix(self.tree.root()).unwrap_or(&path)), Err(error));
            Ignored::default()
        });
        let mut stack = vec![(folder, ignored)];
        while let Some((folder, ignored)) = stack.pop() {
            let entries = match self.tree.list(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    self.add(display_path(&folder), Err(error));
                    continue;
                }
            };
            let ignored = ignored.below(self.tree, &folder).unwrap_or_else(|error| {
                self.add(display_path(&folder.join(ignored::IGNORE_FILE)), Err(error));
                ignored
            });
            for (name, kind) in entries {
                let path = folder.join(name);
                let kind = if kind == FileType::Unknown { self.kind(&path) } else { kind };
                let is_folder = kind == FileType::Directory;
                if !is_folder && kind != FileType::Symlink && !is_yaml(&path) {
                    continue;
                }
                if ignored.excludes(&self.tree.root().join(&path), is_folder) {
                    continue;
                }
                self.add_entry(&path, kind);
                if is_folder {
                    stack.push((path, ignored.clone()));
                }
            }
        }
    }

    fn add_entry(&mut self, path: &Path, kind: FileType) {
        match kind {
            FileType::Symlink => self.link(path),
            _ if is_project_file(path) => self.projects.push(path.to_owned()),
            _ if !is_yaml(path) => {}
            FileType::RegularFile => self.add(display_path(path), Ok(path.to_owned())),
            FileType::Directory => self.add(display_path(path), Err(LoadError::Directory)),
            _ => self.add(display_path(path), Err(not_regular())),
        }
    }

    /// Treats a link like its target, if the target is part of the project.
    fn link(&mut self, path: &Path) {
        let yaml = is_yaml(path);
        let full = self.tree.root().join(path);
        let is_folder = fs::metadata(&full).is_ok_and(|metadata| metadata.is_dir());
        if !yaml && !is_folder {
            return;
        }
        match self.tree.canonical(path) {
            Err(error) => self.add(display_path(path), Err(error)),
            Ok(real) if is_folder => self.folder(real),
            Ok(real) if is_project_file(&real) => {}
            Ok(real) => {
                let file = if self.kind(&real).is_file() { Ok(real) } else { Err(not_regular()) };
                self.add(display_path(path), file);
            }
        }
    }

    /// Returns the kind of a path without links. It only selects files: opened files are checked again.
    fn kind(&self, real: &Path) -> FileType {
        let found = rustix::fs::lstat(self.tree.root().join(real));
        found.map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.st_mode))
    }

    fn add(&mut self, display_path: String, file: Result<PathBuf, LoadError>) {
        self.entries.push(Entry::new(display_path, file));
    }
}

fn display_path(path: &Path) -> String {
    match path.to_str() {
        Some("") => ".".to_owned(),
        Some(text) => text.to_owned(),
        None => path.to_string_lossy().into_owned(),
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn is_project_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == FILE_NAME)
}

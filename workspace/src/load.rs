//! Reads manifests and the files that they refer to, for the compiler.

mod discover;
mod ignored;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dcp_compiler::source::{LoadError, SourceLoader};

use crate::files::{Content, Stamp, Tree};

pub use discover::{SearchRoot, discover};

/// Size limit of manifests, SQL files and ignore files, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// A file with manifests, or the reason why it can't be one.
#[derive(Debug)]
pub struct Entry {
    /// The path relative to the project's folder, with `/` between its parts.
    pub path: String,
    /// The path relative to the project's folder; without links when it was found.
    pub file: Result<PathBuf, LoadError>,
    /// The content, once it was read.
    content: OnceLock<Content>,
}

impl Entry {
    pub fn new(path: String, file: Result<PathBuf, LoadError>) -> Self {
        Self { path, file, content: OnceLock::new() }
    }

    /// Reads the file once.
    pub fn content(&self, tree: &Tree) -> Result<&Content, LoadError> {
        if let Some(content) = self.content.get() {
            return Ok(content);
        }
        let read = self.read(tree)?;
        Ok(self.content.get_or_init(|| read))
    }

    fn read(&self, tree: &Tree) -> Result<Content, LoadError> {
        tree.read_content(self.file.as_ref().map_err(Clone::clone)?, LIMIT)
    }
}

/// A loader for the compiler: one manifest, and other files of the project.
#[derive(Debug)]
pub struct EntryLoader<'a> {
    pub tree: &'a Tree,
    pub entry: &'a Entry,
}

impl EntryLoader<'_> {
    pub fn content(&self, path: &str) -> Result<Content, LoadError> {
        match self.entry.content.get() {
            _ if path != self.entry.path => load(self.tree, path),
            Some(content) => Ok(content.clone()),
            None => self.entry.read(self.tree),
        }
    }

    pub fn stamp(&self, path: &str) -> Result<Stamp, LoadError> {
        self.tree.check(Path::new(path))
    }
}

impl SourceLoader for EntryLoader<'_> {
    fn load(&self, path: &str) -> Result<String, LoadError> {
        Ok(self.content(path)?.text)
    }

    fn check(&self, path: &str) -> Result<(), LoadError> {
        self.stamp(path).map(drop)
    }
}

/// Reads a file of the project by its path in it.
pub fn load(tree: &Tree, path: &str) -> Result<Content, LoadError> {
    tree.read_content(Path::new(path), LIMIT)
}

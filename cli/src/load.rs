//! Reads manifests and what they refer to, for the compiler.

mod discover;
mod ignored;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dcp_compiler::source::{LoadError, SourceLoader};

use crate::files::Tree;

pub(crate) use discover::{Place, discover};

pub(crate) use crate::files::reason;

/// Limit for manifests, SQL files and ignore files, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// A file that was found, or why it can't be one.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Relative to the project's folder, with `/` between its parts.
    pub(crate) shown: String,
    /// Relative to the project's folder; without links when it was found.
    pub(crate) file: Result<PathBuf, LoadError>,
    /// What stands in it, once that was read to be kept.
    text: OnceLock<String>,
}

impl Entry {
    pub(crate) fn new(shown: String, file: Result<PathBuf, LoadError>) -> Self {
        Self { shown, file, text: OnceLock::new() }
    }

    /// Reads it, for all who ask later.
    pub(crate) fn text(&self, tree: &Tree) -> Result<&str, LoadError> {
        if let Some(text) = self.text.get() {
            return Ok(text);
        }
        let read = self.read(tree)?;
        Ok(self.text.get_or_init(|| read))
    }

    fn read(&self, tree: &Tree) -> Result<String, LoadError> {
        tree.read_text(self.file.as_ref().map_err(Clone::clone)?, LIMIT)
    }
}

/// Gives a compiler the one manifest that it is about, and other files of the project.
#[derive(Debug)]
pub(crate) struct EntryLoader<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) entry: &'a Entry,
}

impl SourceLoader for EntryLoader<'_> {
    fn load(&self, path: &str) -> Result<String, LoadError> {
        match self.entry.text.get() {
            _ if path != self.entry.shown => load(self.tree, path),
            Some(text) => Ok(text.clone()),
            None => self.entry.read(self.tree),
        }
    }

    fn check(&self, path: &str) -> Result<(), LoadError> {
        self.tree.check(Path::new(path))
    }
}

/// Reads a file of the project by its path in it.
pub(crate) fn load(tree: &Tree, path: &str) -> Result<String, LoadError> {
    tree.read_text(Path::new(path), LIMIT)
}

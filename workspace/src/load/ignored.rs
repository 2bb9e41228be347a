//! Reads `.gitignore` files, and decides which paths they exclude.
//!
//! The `ignore` crate could read them itself, but would wait for a FIFO and read a device without end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcp_compiler::source::LoadError;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::LIMIT;
use crate::files::Tree;

/// The name of ignore files.
pub(super) const IGNORE_FILE: &str = ".gitignore";

/// The ignore files that apply to one folder: its own, and those of the folders above.
#[derive(Debug, Clone, Default)]
pub(super) struct Ignored(Option<Arc<Level>>);

#[derive(Debug)]
struct Level {
    rules: Gitignore,
    above: Ignored,
}

impl Ignored {
    /// Reads the ignore files of the folders above a folder, up to that of its repository. Outside of a
    /// repository, no files above the folder apply.
    pub(super) fn above(folder: &Path) -> Result<Self, (PathBuf, LoadError)> {
        let Some(repository) = folder.ancestors().find(|above| above.join(".git").exists()) else {
            return Ok(Self::default());
        };
        let failed =
            |error: std::io::Error| (repository.to_owned(), LoadError::Other(crate::error::reason(&error)));
        let tree = Tree::open(repository).map_err(failed)?;
        let mut folders: Vec<&Path> =
            folder.ancestors().skip(1).take_while(|above| above.starts_with(repository)).collect();
        folders.reverse();
        let inside = |above: &Path| above.strip_prefix(repository).unwrap_or(above).to_owned();
        folders.into_iter().try_fold(Self::default(), |ignored, above| {
            let above = inside(above);
            ignored.below(&tree, &above).map_err(|error| (tree.root().join(above).join(IGNORE_FILE), error))
        })
    }

    /// Returns the ignore files for `folder`, which is the next one below.
    pub(super) fn below(&self, tree: &Tree, folder: &Path) -> Result<Self, LoadError> {
        let text = match tree.read(&folder.join(IGNORE_FILE), LIMIT) {
            Ok(text) => text,
            Err(LoadError::NotFound) => return Ok(self.clone()),
            Err(error) => return Err(error),
        };
        let mut rules = GitignoreBuilder::new(tree.root().join(folder));
        for line in String::from_utf8_lossy(&text).lines() {
            // Git skips invalid lines, too.
            _ = rules.add_line(None, line);
        }
        let rules = rules.build().map_err(|error| LoadError::Other(error.to_string()))?;
        Ok(Self(Some(Arc::new(Level { rules, above: self.clone() }))))
    }

    /// Returns true if a path is excluded. Hidden files and folders are, unless a rule names them.
    pub(super) fn excludes(&self, path: &Path, is_folder: bool) -> bool {
        let mut next = self;
        while let Some(level) = &next.0 {
            let found = level.rules.matched(path, is_folder);
            if !found.is_none() {
                return found.is_ignore();
            }
            next = &level.above;
        }
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    }
}

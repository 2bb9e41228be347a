//! Reads files: the only place that does, for manifests and what they refer to.

mod discover;

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dcp_compiler::source::{LoadError, SourceLoader};

pub(crate) use discover::{Place, discover};

/// A manifest is far smaller than this, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// A file that was found, or why it can't be one.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Relative to the project's folder, with `/` between its parts.
    pub(crate) shown: String,
    pub(crate) file: Result<PathBuf, LoadError>,
    /// What stands in it, once that was read to be kept.
    text: OnceLock<String>,
}

impl Entry {
    pub(crate) fn new(shown: String, file: Result<PathBuf, LoadError>) -> Self {
        Self { shown, file, text: OnceLock::new() }
    }

    /// Reads it, for all who ask later.
    pub(crate) fn text(&self) -> Result<&str, LoadError> {
        if let Some(text) = self.text.get() {
            return Ok(text);
        }
        let read = read(self.file.as_ref().map_err(Clone::clone)?)?;
        Ok(self.text.get_or_init(|| read))
    }
}

/// Gives a compiler the one manifest that it is about, and other files of the project.
#[derive(Debug)]
pub(crate) struct EntryLoader<'a> {
    /// The project's folder, without links in its path.
    pub(crate) root: &'a Path,
    pub(crate) entry: &'a Entry,
}

impl SourceLoader for EntryLoader<'_> {
    fn load(&self, path: &str) -> Result<String, LoadError> {
        if path != self.entry.shown {
            return load(self.root, path);
        }
        match (self.entry.text.get(), &self.entry.file) {
            (Some(text), _) => Ok(text.clone()),
            (None, Ok(file)) => read(file),
            (None, Err(error)) => Err(error.clone()),
        }
    }
}

/// A file of the project by its path in it.
pub(crate) fn load(root: &Path, path: &str) -> Result<String, LoadError> {
    let real = real(&root.join(path))?;
    if !real.starts_with(root) {
        return Err(LoadError::Outside);
    }
    regular(&fs::metadata(&real).map_err(|error| failed(&error))?)?;
    read(&real)
}

/// A path without links in it.
fn real(path: &Path) -> Result<PathBuf, LoadError> {
    path.canonicalize().map_err(|error| match failed(&error) {
        LoadError::NotFound if path.is_symlink() => LoadError::Dangling,
        failed => failed,
    })
}

/// The text of a regular file. Opening anything else might wait forever.
fn read(path: &Path) -> Result<String, LoadError> {
    let file = File::open(path).map_err(|error| failed(&error))?;
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    regular(&metadata)?;
    let size = metadata.len();
    if size > LIMIT {
        return Err(LoadError::TooLarge { size, limit: LIMIT });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    // It may have grown meanwhile.
    let read = file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))? as u64;
    if read > LIMIT {
        return Err(LoadError::TooLarge { size: read, limit: LIMIT });
    }
    String::from_utf8(bytes).map_err(|error| LoadError::NotUtf8(error.utf8_error().valid_up_to()))
}

fn regular(metadata: &Metadata) -> Result<(), LoadError> {
    match metadata {
        metadata if metadata.is_dir() => Err(LoadError::Directory),
        metadata if metadata.is_file() => Ok(()),
        _ => Err(LoadError::Other("it is not a regular file".to_owned())),
    }
}

fn failed(error: &io::Error) -> LoadError {
    match error.kind() {
        ErrorKind::NotFound => LoadError::NotFound,
        _ => LoadError::Other(reason(error)),
    }
}

/// The error of the operating system below those that tell of it.
fn innermost(error: &io::Error) -> &io::Error {
    let below = error.get_ref().and_then(|told| told.source()?.downcast_ref::<io::Error>());
    below.map_or(error, innermost)
}

/// What the operating system says, as part of a sentence.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = innermost(error).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "for no reason that it tells".to_owned(),
    }
}

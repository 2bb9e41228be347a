//! Files on this machine: private folders, and errors that name a path.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::error::Error;

pub(super) fn failed(path: &Path, what: &str, error: &io::Error) -> Error {
    Error::Unavailable(format!("`{}` can't be {what}: {error}", path.display()))
}

/// Creates a folder and its parents for this user alone.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Returns the path of a file that a URI without scheme, `file:` or `local:` names.
pub(super) fn on_this_machine(file: &str) -> Option<String> {
    match file.split_once(':') {
        None => Some(file.to_owned()),
        Some(("file" | "local", path)) => Some(path.trim_start_matches("//").to_owned()),
        Some(_) => None,
    }
}

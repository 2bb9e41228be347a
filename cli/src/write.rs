//! Atomic replacement of files.

pub(crate) mod folder;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use dcp_workspace::files::{self, TEMPORARY_PREFIX};

/// Replaces a file atomically by renaming.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // The usual mode of new files, before the umask.
    write_and_rename(path, content, 0o666)
}

/// Replaces a file atomically by renaming, for this user alone.
pub(crate) fn replace_private(path: &Path, content: &[u8]) -> io::Result<()> {
    write_and_rename(path, content, 0o600)
}

fn write_and_rename(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    builder.permissions(fs::Permissions::from_mode(mode));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(content)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a file unless it has this content already; returns true if it wrote.
pub(crate) fn update(path: &Path, content: &[u8]) -> io::Result<bool> {
    let same = fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_file() && found.len() == content.len() as u64)
        && files::read_anywhere(path, content.len() as u64).is_ok_and(|found| found == content);
    if !same {
        replace(path, content)?;
    }
    Ok(!same)
}

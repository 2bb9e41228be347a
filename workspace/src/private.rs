//! Files for this user alone, in the project's `.dcp`.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::FOLDER;

/// The token of a project. Its reader rejects it if other users can read it.
pub const TOKEN: &str = "token";

/// The folder below `.dcp` that other users read: Airflow.
const DAGS_FOLDER: &str = "dags";

/// Returns the project's `.dcp`, and creates it if it is missing. Other users can't enter it, nor read files that
/// an earlier dcp created in it.
pub fn dcp_folder(root: &Path) -> io::Result<PathBuf> {
    let path = root.join(FOLDER);
    create_folder(&path)?;
    for entry in path.read_dir()? {
        let entry = entry?;
        // Entries that were removed meanwhile or belong to another user are left alone. `read_token` rejects a
        // token that others can read.
        if entry.file_name() != DAGS_FOLDER
            && entry.file_name() != TOKEN
            && let Ok(found) = entry.metadata()
        {
            let _ = restrict_access(&entry.path(), &found);
        }
    }
    Ok(path)
}

/// Removes other users' access to a file or a folder of this user.
fn restrict_access(path: &Path, found: &Metadata) -> io::Result<()> {
    let is_open = found.mode() & 0o077 != 0 && found.uid() == geteuid().as_raw();
    if is_open && (found.is_file() || found.is_dir()) {
        std::fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o7700))?;
    }
    Ok(())
}

/// Creates a folder for this user alone, or restricts an existing one of this user.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // A folder of another user is left alone, as it gives this user access on purpose.
    restrict_access(path, &path.metadata()?)
}

/// Opens a file for locking, and creates it if it is missing.
pub fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

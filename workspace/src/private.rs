//! Files for this user alone, in the project's `.dcp`.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::FOLDER;

/// The token of a project, which its reader refuses if others can read it.
pub const TOKEN: &str = "token";

/// Below `.dcp`, the folder that others read: Airflow.
const DAGS: &str = "dags";

/// The project's `.dcp`, made if it is missing. Others can't enter it, and can't read what an earlier dcp left in it.
pub fn dcp(root: &Path) -> io::Result<PathBuf> {
    let path = root.join(FOLDER);
    folder(&path)?;
    for entry in path.read_dir()? {
        let entry = entry?;
        // Entries that are gone meanwhile or belong to another user stay as they are. A token that others could read is
        // refused by `read_token`.
        if entry.file_name() != DAGS
            && entry.file_name() != TOKEN
            && let Ok(found) = entry.metadata()
        {
            let _ = close(&entry.path(), &found);
        }
    }
    Ok(path)
}

/// Takes a file or a folder of this user from all others.
fn close(path: &Path, found: &Metadata) -> io::Result<()> {
    let is_open = found.mode() & 0o077 != 0 && found.uid() == geteuid().as_raw();
    if is_open && (found.is_file() || found.is_dir()) {
        std::fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o7700))?;
    }
    Ok(())
}

/// Makes a folder for this user alone, or closes one of this user's that others can enter.
pub fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // A folder of another user stays as it is: this user is let in on purpose.
    close(path, &path.metadata()?)
}

/// Opens a file to be locked, made if it is missing.
pub fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

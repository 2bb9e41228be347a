//! Files for this user alone: the project's `.dcp`, and the token in it.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use crate::control::FOLDER;
use crate::failure::Failure;

const TOKEN: &str = "token";
/// Longer than any token that dcp makes.
const LONGEST: u64 = 1 << 10;

/// Below `.dcp`, the folder that others read: Airflow.
const DAGS: &str = "dags";

/// The project's `.dcp`, made if it is missing. Others can't enter it, and can't read what an earlier dcp left in it.
pub(crate) fn dcp(root: &Path) -> io::Result<PathBuf> {
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
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // A folder of another user stays as it is: this user is let in on purpose.
    close(path, &path.metadata()?)
}

/// Opens a file to be locked, made if it is missing.
pub(crate) fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The token of a project for callers over TCP, made if it is missing.
pub(crate) fn token(root: &Path) -> Result<String, Failure> {
    let path = root.join(FOLDER).join(TOKEN);
    let failed = |what, error: io::Error| Failure::at(&path, what, &error);
    let folder = dcp(root).map_err(|error| failed("written", error))?;
    if let Some(token) = read_token(&path)? {
        return Ok(token);
    }
    let token = dcp_server::secret();
    // The temporary file has the mode 0600 from the start, and is complete before it has its name.
    let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(|error| failed("written", error))?;
    file.write_all(token.as_bytes()).map_err(|error| failed("written", error))?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(token),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
            read_token(&path)?.ok_or_else(|| failed("read", ErrorKind::NotFound.into()))
        }
        Err(error) => Err(failed("written", error.error)),
    }
}

/// The token of a project, if one was made.
pub(crate) fn made_token(root: &Path) -> Result<Option<String>, Failure> {
    read_token(&root.join(FOLDER).join(TOKEN))
}

fn read_token(path: &Path) -> Result<Option<String>, Failure> {
    let failed = |error: io::Error| Failure::at(path, "read", &error);
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() || found.mode() & 0o077 != 0 {
        let message = format!("`{}` is no file, or one that others can read", path.display());
        return Err(Failure::new(message).help("delete it; `dcp up --listen` makes another token"));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn a_token_is_made_once_for_this_user_alone() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(FOLDER)).unwrap();
        assert_eq!(made_token(home.path()).unwrap(), None);
        let tokens: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| token(home.path()).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(tokens[0].len() == 64 && tokens.iter().all(|it| *it == tokens[0]), "{tokens:?}");
        let path = home.path().join(FOLDER).join(TOKEN);
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(token(home.path()).is_err(), "others may have read it");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(token(home.path()).is_err());
    }
}

//! Files for this user alone: the token of a project, and logins.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use dcp_workspace::FOLDER;
use dcp_workspace::private::{TOKEN, dcp_folder};
use rustix::fs::OFlags;

use crate::failure::Failure;

/// Longer than any token of dcp.
const MAX_TOKEN_LENGTH: u64 = 1 << 10;

/// Returns the project's token for callers over TCP, and creates it if it is missing.
pub(crate) fn token(root: &Path) -> Result<String, Failure> {
    let path = root.join(FOLDER).join(TOKEN);
    let failed = |what, error: io::Error| Failure::at(&path, what, &error);
    let folder = dcp_folder(root).map_err(|error| failed("written", error))?;
    if let Some(token) = read_token(&path)? {
        return Ok(token);
    }
    let token = dcp_server::generate_secret();
    // The temporary file has the mode 0600 from the start, and is complete before it gets its name.
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

/// Returns the project's token, if it exists.
pub(crate) fn existing_token(root: &Path) -> Result<Option<String>, Failure> {
    read_token(&root.join(FOLDER).join(TOKEN))
}

fn read_token(path: &Path) -> Result<Option<String>, Failure> {
    let text = read(path, MAX_TOKEN_LENGTH, "delete it; `dcp up --listen` makes another token")?;
    Ok(text.map(|text| text.trim().to_owned()))
}

/// Returns the first `limit` bytes of a file, if it exists. Rejects a file that other users can read; `help` tells the
/// remedy.
pub(crate) fn read(path: &Path, limit: u64, help: &str) -> Result<Option<String>, Failure> {
    let failed = |error: io::Error| Failure::at(path, "read", &error);
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() || found.mode() & 0o077 != 0 {
        let message = format!("`{}` is no file, or one that others can read", path.display());
        return Err(Failure::new(message).help(help));
    }
    let mut text = String::new();
    file.take(limit).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn token_is_created_once_and_is_private() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(FOLDER)).unwrap();
        assert_eq!(existing_token(home.path()).unwrap(), None);
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

//! The Unix socket of `dcp up`, for the commands of its project.

use std::env;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dcp_model::primitive::Fingerprint;
use dcp_workspace::FOLDER;
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, sleep};

use crate::failure::Failure;

const NAME: &str = "up.sock";
const LOCK: &str = "up.lock";
/// The maximum length of a socket's path on Linux.
const MAX_PATH_LENGTH: usize = 107;
/// Maximum time to wait for a `dcp up` that is ending.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// A socket that this process listens on. It holds the lock, so that no other process replaces the socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) path: PathBuf,
    _lock: File,
}

impl Socket {
    /// Listens for the commands of a project. A socket that a killed process left behind is replaced.
    pub(crate) async fn listen(root: &Path) -> Result<(Self, UnixListener), Failure> {
        let folder = root.join(FOLDER);
        dcp_workspace::private::dcp_folder(root)
            .map_err(|error| Failure::at(&folder, "made a folder", &error))?;
        let lock = lock(&folder.join(LOCK)).await?;
        let path = place(root);
        let failed = |error: io::Error| Failure::at(&path, "listened on", &error);
        if let Some(above) = path.parent() {
            create_private_folder(above).map_err(|error| Failure::at(above, "used for a socket", &error))?;
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(&path).map_err(failed)?,
            Ok(_) => return Err(Failure::new(format!("`{}` is no socket: move it away", path.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // Other users can't enter the folder while the socket still has its default mode.
        let listener = UnixListener::bind(&path).map_err(failed)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok((Self { path, _lock: lock }, listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // If this fails, the next process replaces the socket.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns the URL of the `dcp up` of a project, if one is running.
pub(crate) async fn url(root: &Path) -> Option<String> {
    let path = place(root);
    let peer = UnixStream::connect(&path).await.ok()?.peer_cred().ok()?;
    let is_ours = [0, geteuid().as_raw()].contains(&peer.uid());
    is_ours.then(|| path.to_str().map(|path| format!("unix://{path}"))).flatten()
}

async fn lock(path: &Path) -> Result<File, Failure> {
    let failed = |error: io::Error| Failure::at(path, "locked", &error);
    let file = dcp_workspace::private::lock_file(path).map_err(failed)?;
    let end = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < end => sleep(Duration::from_millis(50)).await,
            Err(TryLockError::WouldBlock) => {
                let message = "another `dcp up` of this project is running";
                return Err(Failure::new(message).help("use that one, or stop it first"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// Returns the path of a project's socket: in its `.dcp`, or, if that path is too long for a socket, in the user's
/// runtime folder.
fn place(root: &Path) -> PathBuf {
    let path = root.join(FOLDER).join(NAME);
    if path.as_os_str().len() <= MAX_PATH_LENGTH {
        return path;
    }
    let name = Fingerprint::of(&String::from_utf8_lossy(root.as_os_str().as_bytes()));
    let user = geteuid().as_raw();
    let runtime =
        env::var_os("XDG_RUNTIME_DIR").filter(|it| !it.is_empty()).map(|it| Path::new(&it).join("dcp"));
    let folder = runtime.unwrap_or_else(|| env::temp_dir().join(format!("dcp-{user}")));
    folder.join(format!("{}.sock", &name.as_str()[..32]))
}

/// Creates a folder for sockets, and rejects one of another user.
fn create_private_folder(folder: &Path) -> io::Result<()> {
    dcp_workspace::private::create_folder(folder)?;
    let found = fs::symlink_metadata(folder)?;
    if found.is_dir() && found.uid() == geteuid().as_raw() && found.mode().trailing_zeros() >= 6 {
        return Ok(());
    }
    Err(io::Error::other("it is not a folder of this user alone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_of_a_long_path_is_in_the_runtime_folder() {
        let root = |length: usize| PathBuf::from(format!("/{}", "a".repeat(length)));
        let near = |length: usize| place(&root(length)).starts_with(root(length));
        assert!(
            near(MAX_PATH_LENGTH - 1 - "/.dcp/up.sock".len())
                && !near(MAX_PATH_LENGTH - "/.dcp/up.sock".len())
        );
        assert!(place(&root(300)).as_os_str().len() <= MAX_PATH_LENGTH);
        assert_ne!(place(&root(300)), place(&root(301)));
    }
}

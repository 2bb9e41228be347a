//! SQLite: one file, with its write-ahead log beside it.

use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf, absolute};
use std::str::FromStr as _;

use sqlx::any::AnyConnectOptions;
use sqlx::error::DatabaseError;

use super::{Database, Error, Identity, Kind, Result};

/// Readers don't wait for a writer, and a commit is durable once it returns. The log is checkpointed each 16 MiB,
/// and the page cache is as large.
pub(super) const SETUP: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -16384; PRAGMA foreign_keys = ON; \
    PRAGMA trusted_schema = OFF;";

/// One connection writes at a time; this many may read meanwhile.
const CONNECTIONS: u32 = 4;

pub(super) async fn open(path: &Path) -> Result<Database> {
    let identity = Identity { kind: Kind::Sqlite, name: format!("`{}`", path.display()) };
    let refused = |error: std::io::Error| not_writable(&identity, &error.to_string());
    let path = absolute(path).map_err(refused)?;
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refused)?;
    }
    private(&path).map_err(refused)?;
    sqlx::any::install_default_drivers();
    let options = AnyConnectOptions::from_str(&url(&path)).map_err(|error| identity.error(&error))?;
    identity.open(options, CONNECTIONS, SETUP).await
}

/// Creates the file for this user alone before SQLite does, which gives its log the same mode. An existing file
/// and its log lose the rights of others, so that another user's lock on the log can't block this user.
fn private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made.map(drop),
    }
    for end in ["", "-wal", "-shm"] {
        let file = PathBuf::from(format!("{}{end}", path.display()));
        if let Ok(found) = file.symlink_metadata()
            && found.is_file()
            && found.mode() & 0o077 != 0
        {
            // Changing the mode fails for a file of another user, who has given this user access on purpose.
            let _ = std::fs::set_permissions(&file, Permissions::from_mode(found.mode() & 0o700));
        }
    }
    Ok(())
}

pub(super) fn error(identity: &Identity, error: &dyn DatabaseError) -> Error {
    let message = error.message();
    match code(error) {
        Some(BUSY | 6) => Error::Unavailable(format!(
            "{identity} is being written to by another dcp, and did not become free; try again"
        )),
        Some(3 | 8 | 14 | 23) => not_writable(identity, message),
        Some(10) => Error::Unavailable(format!(
            "{identity} can't be read or written: {message}; see that its disk has room and is well"
        )),
        Some(13) => Error::Unavailable(format!(
            "the disk of {identity} is full ({message}), and nothing was written: make room, and try again"
        )),
        _ => identity.corrupt(message),
    }
}

pub(super) const BUSY: u32 = 5;

/// Returns the primary code, which is the lowest byte of an extended code.
pub(super) fn code(error: &dyn DatabaseError) -> Option<u32> {
    error.code()?.parse::<u32>().ok().map(|code| code & 0xff)
}

fn not_writable(identity: &Identity, why: &str) -> Error {
    let way = "it and its folder must be writable for this user, to read it too";
    Error::Unavailable(format!("{identity} can't be opened or written: {why}; {way}"))
}

/// Returns the URL of a file, with its name escaped.
fn url(path: &Path) -> String {
    let mut url = "sqlite://".to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => url.push(byte.into()),
            _ => write!(url, "%{byte:02X}").expect("writing to a String does not fail"),
        }
    }
    url + "?mode=rwc"
}

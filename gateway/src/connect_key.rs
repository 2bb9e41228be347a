//! The key from which the tokens of Spark Connect drivers are derived.
//!
//! Only processes of dcp have the key. A backend gives each driver a token of its own, and the proxy derives the same one
//! from the name of the driver's application. So no token is stored, and a driver that leaks its token leaks no other.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::process::geteuid;

use crate::error::{Error, Result};
use crate::hash::hex;
use crate::secrets::SecretValue;
use crate::{Name, regular};

const BYTES: usize = 32;
/// The beginning of the authenticated text. Another use of the key would need another one.
const CONTEXT: &str = "dcp/spark-connect-driver/v1/";

/// A secret key. Debugging output does not have it.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectKey([u8; BYTES]);

impl fmt::Debug for ConnectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectKey(…)")
    }
}

impl ConnectKey {
    /// Reads a key. Rejects a file that is not of this user alone.
    pub fn load(path: &Path) -> Result<Self> {
        read(path)?.ok_or_else(|| {
            let path = path.display();
            Error::Invalid(format!("the Connect key `{path}` does not exist: {CREATE}"))
        })
    }

    /// Reads a key, or creates one if the file does not exist. Concurrent processes get the same key.
    pub fn load_or_create(path: &Path) -> Result<Self> {
        if let Some(key) = read(path)? {
            return Ok(key);
        }
        let failed = |error: io::Error| {
            Error::Unavailable(format!("the Connect key `{}` can't be written: {error}", path.display()))
        };
        let mut bytes = [0; BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| failed(io::Error::other("the system has no random numbers")))?;
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> io::Result<()> {
            // The temporary file has the mode 0600 from the start, and is complete before it gets its name.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            writeln!(file, "{}", hex(&bytes))?;
            file.as_file().sync_all()?;
            match file.persist_noclobber(path) {
                Err(error) if error.error.kind() != ErrorKind::AlreadyExists => Err(error.error),
                _ => File::open(folder)?.sync_all(),
            }
        };
        write().map_err(failed)?;
        // Another process may have created it first.
        Self::load(path)
    }

    /// Returns the token of the driver of an application. It has only letters and digits.
    pub fn token(&self, application: &Name) -> SecretValue {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tag = hmac::sign(&key, format!("{CONTEXT}{application}").as_bytes());
        SecretValue::new(hex(tag.as_ref()))
    }
}

const CREATE: &str = "create one for dcp's user alone with `(umask 077; openssl rand -hex 32 > FILE)`, and give all parts of dcp the same one";

/// Reads a key, if the file exists.
fn read(path: &Path) -> Result<Option<ConnectKey>> {
    let path_text = path.display();
    let failed = |error: io::Error| {
        Error::Unavailable(format!("the Connect key `{path_text}` can't be read: {error}"))
    };
    let path = match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found.map_err(failed)?,
    };
    let file = match regular::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let found = file.metadata().map_err(failed)?;
    let (owner, user, mode) = (found.uid(), geteuid().as_raw(), found.mode() & 0o777);
    if owner != user || mode & 0o077 != 0 {
        return Err(Error::Invalid(format!(
            "the Connect key `{path_text}` has the owner {owner} and the mode {mode:03o}, and must be a file of the user \
             {user} alone: run `chown {user}` and `chmod 600` on it; if others may have read it, replace it"
        )));
    }
    // Longer files are no keys.
    let mut text = Vec::new();
    file.take(BYTES as u64 * 2 + 2).read_to_end(&mut text).map_err(failed)?;
    parse(&text).map(Some).ok_or_else(|| {
        Error::Invalid(format!("the Connect key `{path_text}` does not have 64 hexadecimal digits: {CREATE}"))
    })
}

/// Parses 64 hexadecimal digits, with a line break after them or without.
fn parse(text: &[u8]) -> Option<ConnectKey> {
    let digits = text.strip_suffix(b"\n").unwrap_or(text);
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let digit = |it: u8| char::from(it).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok().map(ConnectKey)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("the temporary folder is writable")
    }

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).expect("the temporary folder is writable");
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("the file is of this user");
    }

    #[test]
    fn a_token_is_the_hmac_of_the_context_and_the_name() {
        let folder = folder();
        let path = folder.path().join("key");
        let bytes: Vec<u8> = (0..32).collect();
        write(&path, &format!("{}\n", hex(&bytes).to_uppercase()), 0o600);
        let key = ConnectKey::load(&path).expect("the key is valid");
        // printf 'dcp/spark-connect-driver/v1/dcp-a1-1' | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102…1f
        let expected = "338d44555043cf2b82f3577bab50f5c43b332adf225ddc4777621c6aebe29e8f";
        assert_eq!(key.token(&"dcp-a1-1".parse().expect("the name is valid")).expose(), expected);
        assert_ne!(key.token(&"dcp-a1-2".parse().expect("the name is valid")).expose(), expected);
    }

    #[test]
    fn debugging_output_does_not_have_the_key() {
        let key = ConnectKey([0xab; BYTES]);
        assert_eq!(format!("{key:?}"), "ConnectKey(…)");
    }

    #[test]
    fn concurrent_processes_create_one_key() {
        let folder = folder();
        let path = folder.path().join("key");
        let keys: Vec<ConnectKey> = std::thread::scope(|scope| {
            let create = || ConnectKey::load_or_create(&path).expect("the folder is writable");
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
            threads.into_iter().map(|thread| thread.join().expect("the thread ends")).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(ConnectKey::load(&path), Ok(keys[0].clone()));
        assert_eq!(path.metadata().expect("the file exists").mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder exists").count(), 1);
        let other = ConnectKey::load_or_create(&folder.path().join("other")).expect("the folder is writable");
        assert_ne!(other, keys[0]);
    }

    #[test]
    fn a_file_that_others_can_read_is_rejected() {
        let folder = folder();
        let path = folder.path().join("key");
        for mode in [0o640, 0o604, 0o660, 0o601] {
            write(&path, &"0a".repeat(32), mode);
            let error = ConnectKey::load_or_create(&path).expect_err("others have access").to_string();
            assert!(error.contains(&format!("and the mode {mode:03o}, and must be")), "{error}");
        }
        write(&path, &"0a".repeat(32), 0o400);
        assert_eq!(ConnectKey::load(&path), Ok(ConnectKey([10; BYTES])));
    }

    #[test]
    fn a_file_without_a_key_is_rejected_and_not_shown() {
        let folder = folder();
        let path = folder.path().join("key");
        for text in ["", "canary", &"0a".repeat(31), &"0a".repeat(33), &"0g".repeat(32), &"+a".repeat(32)] {
            write(&path, text, 0o600);
            let error = ConnectKey::load(&path).expect_err(text).to_string();
            assert!(error.contains("does not have 64 hexadecimal digits"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
        fs::remove_file(&path).expect("it exists");
        let error = ConnectKey::load(&path).expect_err("it does not exist").to_string();
        assert!(error.contains("does not exist: create one"), "{error}");
        symlink("/dev/zero", &path).expect("the temporary folder is writable");
        ConnectKey::load(&path).expect_err("a device is no file");
        ConnectKey::load_or_create(&path).expect_err("a device is no file");
    }
}

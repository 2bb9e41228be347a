//! Secrets in files that only their owner can read.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{MAX_SECRET_BYTES, Provider, SecretValue};
use crate::SecretKey;
use crate::error::{Error, Result};

/// A folder with a file for each key: `<secret>/<key>`, below a folder for each domain or without one.
#[derive(Debug, Clone)]
pub struct Folder {
    folder: PathBuf,
    has_domains: bool,
}

impl Folder {
    /// Returns the provider of a folder that has a folder for each domain.
    pub fn of_domains(folder: PathBuf) -> Self {
        Self { folder, has_domains: true }
    }

    /// Returns the provider of a folder whose secrets all domains share.
    pub fn shared(folder: PathBuf) -> Self {
        Self { folder, has_domains: false }
    }

    /// Returns the path of a key. A domain that could lead out of the folder has none.
    fn path(&self, domain: &str, secret: &SecretKey) -> Option<PathBuf> {
        let is_plain = !domain.is_empty() && !domain.starts_with('.') && !domain.contains(['/', '\\', '\0']);
        let folder = match self.has_domains {
            true => is_plain.then(|| self.folder.join(domain))?,
            false => self.folder.clone(),
        };
        Some(folder.join(secret.name()).join(secret.key()))
    }
}

#[async_trait]
impl Provider for Folder {
    async fn get(&self, domain: &str, secret: &SecretKey) -> Result<Option<SecretValue>> {
        self.path(domain, secret).map_or(Ok(None), |path| read(&path))
    }

    fn location(&self, domain: &str, secret: &SecretKey) -> String {
        let path = self.path(domain, secret).unwrap_or_else(|| self.folder.clone());
        format!("the content of the file `{}`", path.display())
    }

    fn is_on_this_machine(&self) -> bool {
        true
    }
}

/// Reads a secret from a file that only its owner can read; none if there is no such file.
fn read(path: &Path) -> Result<Option<SecretValue>> {
    let Some(about) = fs::metadata(path).ok().filter(Metadata::is_file) else { return Ok(None) };
    let invalid = |reason: String| Err(Error::Invalid(reason));
    let shown = path.display();
    if about.permissions().mode() & 0o077 != 0 {
        return invalid(format!("other users can read the secret in `{shown}`; run `chmod 600 {shown}`"));
    }
    let mut text = String::new();
    let limit = MAX_SECRET_BYTES as u64 + 1;
    if let Err(error) = File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)) {
        return invalid(format!("`{shown}` can't be read: {error}"));
    }
    if text.len() > MAX_SECRET_BYTES {
        return invalid(format!(
            "`{shown}` has more than {} MiB, the limit of a secret",
            MAX_SECRET_BYTES >> 20
        ));
    }
    // Editors end a file with a line break.
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(Some(SecretValue::new(text)))
}

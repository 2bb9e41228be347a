//! Parses the location of a DAG folder.

use std::path::{Component, Path, PathBuf};

use dcp_objects::{Bucket, SUPPORTED_LOCATIONS, redacted};

use super::{Error, Result};

pub(super) enum Location {
    Folder {
        root: PathBuf,
        /// The name in messages.
        display_name: String,
        /// Set if the folder is in the project, where dcp creates it. Another missing folder may only be unmounted.
        is_in_project: bool,
    },
    Bucket(Bucket),
}

impl Location {
    pub(super) fn parse(location: &str, base: &Path) -> Result<Self> {
        let unusable =
            |why: &str, help| Error::Location { location: redacted(location), why: why.to_owned(), help };
        if location.trim().is_empty() {
            return Err(unusable("it is empty", SUPPORTED_LOCATIONS));
        }
        if location.contains("://") {
            return Ok(Self::Bucket(Bucket::parse(location)?));
        }
        let path = Path::new(location);
        if path.is_absolute() {
            return Ok(Self::Folder {
                root: path.to_owned(),
                display_name: redacted(location),
                is_in_project: false,
            });
        }
        let help = "name a folder below the project's, or give the whole path, beginning with `/`";
        let below = normal(path).ok_or_else(|| unusable("it leads out of the project", help))?;
        let root =
            within(base, &below).ok_or_else(|| unusable("a link leads it out of the project", help))?;
        Ok(Self::Folder { root, display_name: redacted(location), is_in_project: true })
    }
}

/// Returns a relative path without `.` and `..`, or none if it leads above its start.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::ParentDir if normal.pop() => {}
            _ => return None,
        }
    }
    Some(normal)
}

/// Resolves the links of a path below `base`; none if a link leads out of it. Parts that don't exist stay as they are.
fn within(base: &Path, below: &Path) -> Option<PathBuf> {
    let base = base.canonicalize().unwrap_or_else(|_| base.to_owned());
    let mut real = base.clone();
    for name in below {
        real.push(name);
        match real.canonicalize() {
            Ok(found) => real = found,
            // A dangling link may lead anywhere later.
            Err(_) if real.is_symlink() => return None,
            Err(_) => {}
        }
    }
    real.starts_with(&base).then_some(real)
}

//! What a project's text for its DAG folder means.

use std::path::{Component, Path, PathBuf};

use object_store::path::Path as Prefix;
use url::Url;

use super::{Error, Result};

pub(super) enum Place {
    Folder {
        root: PathBuf,
        /// As messages name it.
        shown: String,
        /// It lies in the project, and is made where it is missing. Another folder may just not be mounted.
        ours: bool,
    },
    Bucket(Bucket),
}

pub(super) struct Bucket {
    pub(super) cloud: Cloud,
    pub(super) url: Url,
    pub(super) prefix: Prefix,
    pub(super) shown: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cloud {
    S3,
    Google,
    Azure,
}

const KINDS: &str = "a folder is a path, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or \
                     `abfs://container@account.dfs.core.windows.net/prefix`";

impl Place {
    pub(super) fn parse(location: &str, base: &Path) -> Result<Self> {
        let refuse =
            |why: &str, help| Error::Location { location: shown(location), why: why.to_owned(), help };
        if location.trim().is_empty() {
            return Err(refuse("it is empty", KINDS));
        }
        if location.contains("://") {
            return bucket(location).map(Self::Bucket);
        }
        let path = Path::new(location);
        if path.is_absolute() {
            return Ok(Self::Folder { root: path.to_owned(), shown: shown(location), ours: false });
        }
        let help = "name a folder below the project's, or give the whole path, beginning with `/`";
        let below = normal(path).ok_or_else(|| refuse("it leads out of the project", help))?;
        let root = within(base, &below).ok_or_else(|| refuse("a link leads it out of the project", help))?;
        Ok(Self::Folder { root, shown: shown(location), ours: true })
    }
}

fn bucket(location: &str) -> Result<Bucket> {
    let refuse = |why: &str, help| Error::Location { location: shown(location), why: why.to_owned(), help };
    let url = Url::parse(location).map_err(|_| refuse("it is no URL", KINDS))?;
    let cloud = match url.scheme() {
        "s3" | "s3a" => Cloud::S3,
        "gs" => Cloud::Google,
        "az" | "abfs" | "abfss" => Cloud::Azure,
        _ => return Err(refuse("nothing is known of this kind of URL", KINDS)),
    };
    let user = !url.username().is_empty() && cloud != Cloud::Azure;
    if user || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(refuse(
            "it holds more than a bucket and a prefix",
            "give credentials by the environment: a location is shown in plans and messages",
        ));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(refuse("it names no bucket", KINDS));
    }
    let prefix = Prefix::from_url_path(url.path()).map_err(|_| refuse("its prefix is no path", KINDS))?;
    Ok(Bucket { cloud, url, prefix, shown: shown(location) })
}

/// A relative path without `.` and `..`; none where it leads above its start.
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

/// Where a path below `base` is in truth; none where a link leads out of `base`. What does not exist yet stands as it
/// is written.
fn within(base: &Path, below: &Path) -> Option<PathBuf> {
    let base = base.canonicalize().unwrap_or_else(|_| base.to_owned());
    let mut real = base.clone();
    for name in below {
        real.push(name);
        match real.canonicalize() {
            Ok(found) => real = found,
            // A link to nothing can come to lead anywhere.
            Err(_) if real.is_symlink() => return None,
            Err(_) => {}
        }
    }
    real.starts_with(&base).then_some(real)
}

/// A location as it may be shown: without a password, and without what often holds a key. Only Azure has a name of
/// its own before the host.
fn shown(location: &str) -> String {
    let Some((scheme, rest)) = location.split_once("://") else {
        return location.strip_suffix('/').filter(|short| !short.is_empty()).unwrap_or(location).to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') || !scheme.starts_with('a') => format!("***@{host}"),
        _ => authority.to_owned(),
    };
    let path = path.trim_end_matches('/');
    if path.is_empty() { format!("{scheme}://{authority}") } else { format!("{scheme}://{authority}/{path}") }
}

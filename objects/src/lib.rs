//! Buckets and folders by URL: S3, Google Cloud Storage, Azure, and the disk of this machine.
//!
//! [`Objects`] covers most uses: it lists, reads, writes and removes objects below a location, with the same
//! interface for buckets and folders. Other uses of a bucket [`connect`] to it and use `object_store`, which this
//! crate re-exports. Error texts of services are never shown; [`Cause`] is.

mod bucket;
mod cause;
mod connect;
mod folder;
mod transfer;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::{Path, PathPart};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _};

pub use bucket::{Bucket, SUPPORTED_LOCATIONS, redacted};
pub use cause::{Cause, cause, cause_on_disk, is_missing_bucket};
pub use connect::connect;
pub use object_store;

use folder::Folder;

/// A location that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{location}` can't be used: {why}")]
pub struct UnusableLocation {
    /// The location without secrets.
    pub location: String,
    pub why: String,
    pub help: &'static str,
}

/// A failed operation on objects below a location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "`{0}` can't be a path below a folder: it must be names with `/` between them, none of them `.` or `..`"
    )]
    Path(String),
    #[error("`{location}` can't be {operation}: {cause}")]
    Failed { location: String, operation: &'static str, cause: Cause },
}

impl Error {
    /// Returns the remedy, if there is one.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Path(_) => None,
            Self::Failed { cause, .. } => cause.help(),
        }
    }

    /// Returns true if there is no object of this name.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Failed { cause: Cause::NotFound, .. })
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// An object in a bucket, or a file in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The path below the opened location, with `/` between its parts.
    pub path: String,
    pub size: u64,
    /// Time of the last change, if it is known.
    pub modified: Option<SystemTime>,
}

/// The object that marks a set of objects as complete: where it is, none is missing, unless it has the content
/// `content_when_copied`.
#[derive(Debug, Clone)]
pub struct CompletionMarker<'a> {
    pub name: &'a str,
    /// Its content once the removal of the other objects begins.
    pub content_when_copied: Bytes,
}

/// The objects below a location. Clones share it.
#[derive(Clone)]
pub struct Objects {
    location: Location,
    url: String,
    display_name: String,
}

#[derive(Clone)]
enum Location {
    Bucket { store: Arc<dyn ObjectStore>, prefix: Path },
    Folder(Folder),
}

impl fmt::Debug for Objects {
    /// The store's own `Debug` may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("display_name", &self.display_name).finish_non_exhaustive()
    }
}

/// Returns the variables of this process's environment that are UTF-8.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |it: std::ffi::OsString| it.into_string().ok();
    std::env::vars_os().filter_map(move |(key, value)| Some((text(key)?, text(value)?)))
}

impl Objects {
    /// Opens `s3://bucket/prefix`, `gs://…`, `az://…`, `abfss://…`, Spark's spellings of them, `file:///folder`,
    /// or a path. Other settings of a bucket are taken from the process's environment. The location need not exist
    /// yet.
    pub fn open(url: &str) -> std::result::Result<Self, UnusableLocation> {
        Self::open_with(url, environment())
    }

    /// Opens a location that another program writes. If it is a folder, no part of its own path may be a link either.
    pub fn open_untrusted(url: &str) -> std::result::Result<Self, UnusableLocation> {
        let objects = Self::open(url)?;
        let location = match objects.location {
            Location::Folder(folder) => Location::Folder(folder.without_links()?),
            bucket @ Location::Bucket { .. } => bucket,
        };
        Ok(Self { location, ..objects })
    }

    /// Opens a location with settings of another environment.
    pub fn open_with(
        url: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> std::result::Result<Self, UnusableLocation> {
        if !url.contains("://") || url.starts_with("file://") {
            let folder = Folder::parse(url)?;
            let (url, display_name) = (folder.url()?, redacted(url));
            return Ok(Self { location: Location::Folder(folder), url, display_name });
        }
        let bucket = Bucket::parse(url)?;
        let store = connect(&bucket, environment)?;
        let url = bucket.hadoop_url();
        let Bucket { prefix, display_name, .. } = bucket;
        Ok(Self { location: Location::Bucket { store, prefix }, url, display_name })
    }

    /// Wraps a prefix of an open store; `display_name` is its name in messages.
    pub fn of(store: Arc<dyn ObjectStore>, prefix: Path, display_name: &str) -> Self {
        Self {
            location: Location::Bucket { store, prefix },
            url: display_name.to_owned(),
            display_name: display_name.to_owned(),
        }
    }

    /// Returns true if it is on a disk, where a folder is moved atomically.
    pub fn is_folder(&self) -> bool {
        matches!(self.location, Location::Folder(_))
    }

    /// Returns true if other programs' files can be read while they are written. In S3 and Google Cloud Storage, a file
    /// appears when it is closed.
    pub fn shows_open_files(&self) -> bool {
        !["s3", "gs"].iter().any(|scheme| self.url.starts_with(scheme))
    }

    /// Returns the URL of a path, for other programs.
    pub fn url(&self, below: &str) -> String {
        format!("{}/{below}", self.url)
    }

    /// Lists all objects below a path, in no order; none if there is no such path.
    pub fn list(&self, below: &str) -> BoxStream<'static, Result<Object>> {
        self.list_limited(below, usize::MAX)
    }

    /// Lists a limited number of the objects below a path, for locations that others may fill.
    pub async fn list_first(&self, below: &str, limit: usize) -> Result<Vec<Object>> {
        self.list_limited(below, limit).take(limit).try_collect().await
    }

    fn list_limited(&self, below: &str, limit: usize) -> BoxStream<'static, Result<Object>> {
        let parts = match parts(below) {
            Ok(parts) => parts,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let failed = self.failing(below, "listed");
        match &self.location {
            Location::Folder(folder) => {
                let folder = folder.clone();
                let listed = async move {
                    folder.list(parts, limit).await.map_err(|error| failed(cause_on_disk(&error)))
                };
                stream::once(listed)
                    .map_ok(|found| stream::iter(found.into_iter().map(Ok)))
                    .try_flatten()
                    .boxed()
            }
            Location::Bucket { store, prefix } => {
                let (root, folder) = (prefix.clone(), within(prefix, &parts));
                let object = move |meta: object_store::ObjectMeta| {
                    // Hadoop marks a folder by an empty object, whose key ends with `/`.
                    if meta.location == folder {
                        return None;
                    }
                    let parts = meta.location.prefix_match(&root)?.map(|part| part.as_ref().to_owned());
                    let path = parts.collect::<Vec<_>>().join("/");
                    Some(Object { path, size: meta.size, modified: Some(meta.last_modified.into()) })
                };
                let listed = store.list(Some(&within(prefix, &parts)));
                let listed = listed.map_err(move |error| failed(cause(&error)));
                listed.try_filter_map(move |meta| std::future::ready(Ok(object(meta)))).boxed()
            }
        }
    }

    /// Streams the content of an object.
    pub async fn read(&self, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.read_from(path, 0).await
    }

    /// Streams the content of an object from an offset on, which must be less than its size unless it is 0.
    pub async fn read_from(&self, path: &str, offset: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        let parts = parts(path)?;
        let failed = self.failing(path, "read");
        match &self.location {
            Location::Folder(folder) => {
                let read = folder.read(parts, offset).await.map_err(|error| failed(cause_on_disk(&error)))?;
                Ok(read.map_err(move |error| failed(cause_on_disk(&error))).boxed())
            }
            Location::Bucket { store, prefix } => {
                let range = (offset > 0).then_some(GetRange::Offset(offset));
                let options = GetOptions { range, ..GetOptions::default() };
                let got = store.get_opts(&within(prefix, &parts), options).await;
                let got = got.map_err(|error| failed(cause(&error)))?;
                Ok(got.into_stream().map_err(move |error| failed(cause(&error))).boxed())
            }
        }
    }

    /// Returns the names directly below a path, of objects and of folders, in no order.
    pub async fn names(&self, below: &str) -> Result<Vec<String>> {
        let parts = parts(below)?;
        let failed = self.failing(below, "listed");
        match &self.location {
            Location::Folder(folder) => {
                folder.names(parts).await.map_err(|error| failed(cause_on_disk(&error)))
            }
            Location::Bucket { store, prefix } => {
                let at = within(prefix, &parts);
                let found =
                    store.list_with_delimiter(Some(&at)).await.map_err(|error| failed(cause(&error)))?;
                let objects = found.objects.into_iter().map(|object| object.location);
                let all = objects.chain(found.common_prefixes);
                Ok(all.filter_map(|path| path.filename().map(str::to_owned)).collect())
            }
        }
    }

    /// Writes an object atomically, in place of an existing one.
    pub async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        let parts = parts(path)?;
        let failed = self.failing(path, "written");
        match &self.location {
            Location::Folder(folder) => {
                folder.write(parts, bytes).await.map_err(|error| failed(cause_on_disk(&error)))
            }
            Location::Bucket { store, prefix } => {
                let put = store.put(&within(prefix, &parts), bytes.into()).await;
                put.map(|_| ()).map_err(|error| failed(cause(&error)))
            }
        }
    }

    /// Moves everything below a path to another one, which has to be empty or the rest of an earlier try. On disk
    /// the move is atomic; in a bucket, the path that has the marker has all objects. A retry is safe: missing objects
    /// have been moved.
    pub async fn rename(&self, from: &str, to: &str, marker: &CompletionMarker<'_>) -> Result<()> {
        let (old, new) = (parts(from)?, parts(to)?);
        if old.is_empty() || new.is_empty() {
            return Err(Error::Path(from.to_owned()));
        }
        let failed = self.failing(from, "moved");
        match &self.location {
            Location::Folder(folder) => {
                folder.rename(old, new).await.map_err(|error| failed(cause_on_disk(&error)))
            }
            Location::Bucket { store, prefix } => {
                let (old, new) = (within(prefix, &old), within(prefix, &new));
                transfer::rename(&**store, &old, &new, marker).await.map_err(|error| failed(cause(&error)))
            }
        }
    }

    /// Removes a path and everything below it, if it exists.
    pub async fn remove(&self, below: &str) -> Result<()> {
        let parts = parts(below)?;
        if parts.is_empty() {
            return Err(Error::Path(below.to_owned()));
        }
        let failed = self.failing(below, "removed");
        match &self.location {
            Location::Folder(folder) => {
                folder.remove(parts).await.map_err(|error| failed(cause_on_disk(&error)))
            }
            Location::Bucket { store, prefix } => {
                let at = within(prefix, &parts);
                let existing = store.list(Some(&at)).map_ok(|object| object.location).boxed();
                // A listing below a path does not include the path itself.
                let mut removed = store.delete_stream(existing.chain(stream::iter([Ok(at)])).boxed());
                while let Some(one) = removed.next().await {
                    match one {
                        Ok(_) => {}
                        Err(error @ object_store::Error::NotFound { .. }) if !is_missing_bucket(&error) => {}
                        Err(error) => return Err(failed(cause(&error))),
                    }
                }
                Ok(())
            }
        }
    }

    /// Returns a constructor of errors that name the operation and its location.
    fn failing(&self, below: &str, operation: &'static str) -> impl Fn(Cause) -> Error + Send + Sync + use<> {
        let location = if below.is_empty() {
            self.display_name.clone()
        } else {
            format!("{}/{below}", self.display_name)
        };
        move |cause| Error::Failed { location: location.clone(), operation, cause }
    }
}

/// Splits a path, and rejects parts such as `..` that lead elsewhere. The empty path has no parts.
fn parts(path: &str) -> Result<Vec<String>> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let part = |part: &str| {
        let good = !matches!(part, "" | "." | "..") && !part.contains(|c: char| c.is_control() || c == '\\');
        good.then(|| part.to_owned())
    };
    let parts = path.split('/').map(part).collect::<Option<Vec<_>>>();
    parts.ok_or_else(|| Error::Path(path.escape_debug().take(200).collect()))
}

fn within(prefix: &Path, parts: &[String]) -> Path {
    parts.iter().fold(prefix.clone(), |folder, part| at(&folder, part))
}

/// Returns a path in a folder. The name is used as it is, as `Path` would encode it and not decode it again.
pub fn at(folder: &Path, name: &str) -> Path {
    match PathPart::parse(name) {
        Ok(part) => folder.clone().join(part),
        Err(_) => folder.clone().join(name),
    }
}

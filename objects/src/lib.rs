//! Buckets and folders by URL: S3, Google Cloud Storage, Azure, and the disk of this machine.
//!
//! [`Objects`] is what most need: list, read and remove what is below a place, and the same for a bucket and a folder.
//! Who needs more of a bucket [`connect`]s to it and uses `object_store`, which this crate alone knows and hands on.
//! What a service says of an error is never shown; [`Cause`] is.

mod bucket;
mod cause;
mod connect;
mod folder;
mod transfer;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::{Path, PathPart};
use object_store::{ObjectStore, ObjectStoreExt as _};

pub use bucket::{Bucket, KINDS, shown};
pub use cause::{Cause, cause, cause_on_disk, is_no_bucket};
pub use connect::connect;
pub use object_store;

use folder::Folder;

/// A location that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{location}` can't be used: {why}")]
pub struct Unusable {
    /// Without what is secret in it.
    pub location: String,
    pub why: String,
    pub help: &'static str,
}

/// Why something could not be done with what is below a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "`{0}` can't be a path below a folder: it must be names with `/` between them, none of them `.` or `..`"
    )]
    Path(String),
    #[error("`{place}` can't be {doing}: {cause}")]
    Failed { place: String, doing: &'static str, cause: Cause },
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Path(_) => None,
            Self::Failed { cause, .. } => cause.help(),
        }
    }

    /// Whether there is nothing by this name.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Failed { cause: Cause::Missing, .. })
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// An object in a bucket, or a file in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Below the place that was opened, with `/` between its parts.
    pub path: String,
    pub size: u64,
}

/// The object that says that all is there: where it is, nothing is missing, unless it holds what is said of what goes.
#[derive(Debug, Clone)]
pub struct Seal<'a> {
    pub name: &'a str,
    /// What it holds from when the first of the others goes.
    pub leaving: Bytes,
}

/// What is below a place. A clone is the same place.
#[derive(Clone)]
pub struct Objects {
    place: Place,
    url: String,
    shown: String,
}

#[derive(Clone)]
enum Place {
    Bucket { store: Arc<dyn ObjectStore>, prefix: Path },
    Folder(Folder),
}

impl fmt::Debug for Objects {
    /// A store's own text may hold what must not be shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// The environment of this process, as far as it is text.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |it: std::ffi::OsString| it.into_string().ok();
    std::env::vars_os().filter_map(move |(key, value)| Some((text(key)?, text(value)?)))
}

impl Objects {
    /// Opens `s3://bucket/prefix`, `gs://…`, `az://…`, `abfss://…`, Spark's spellings of them, `file:///folder`, or a
    /// path. What else a bucket needs is taken from the process's environment. Nothing has to be there yet.
    pub fn open(url: &str) -> std::result::Result<Self, Unusable> {
        Self::open_with(url, environment())
    }

    /// The same, with another environment.
    pub fn open_with(
        url: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> std::result::Result<Self, Unusable> {
        if !url.contains("://") || url.starts_with("file://") {
            let folder = Folder::parse(url)?;
            let (url, shown) = (folder.url()?, shown(url));
            return Ok(Self { place: Place::Folder(folder), url, shown });
        }
        let bucket = Bucket::parse(url)?;
        let store = connect(&bucket, environment)?;
        let url = bucket.plain();
        let Bucket { prefix, shown, .. } = bucket;
        Ok(Self { place: Place::Bucket { store, prefix }, url, shown })
    }

    /// What is below a prefix of a store that is at hand, as messages name it.
    pub fn of(store: Arc<dyn ObjectStore>, prefix: Path, shown: &str) -> Self {
        Self { place: Place::Bucket { store, prefix }, url: shown.to_owned(), shown: shown.to_owned() }
    }

    /// Whether it is on a disk, where a folder moves at once.
    pub fn is_folder(&self) -> bool {
        matches!(self.place, Place::Folder(_))
    }

    /// The URL of what is below, for other programs.
    pub fn url(&self, below: &str) -> String {
        format!("{}/{below}", self.url)
    }

    /// Everything below a path, in no order; nothing where there is no such path.
    pub fn list(&self, below: &str) -> BoxStream<'static, Result<Object>> {
        let parts = match parts(below) {
            Ok(parts) => parts,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let failed = self.failing(below, "listed");
        match &self.place {
            Place::Folder(folder) => {
                let folder = folder.clone();
                let listed =
                    async move { folder.list(parts).await.map_err(|error| failed(cause_on_disk(&error))) };
                stream::once(listed)
                    .map_ok(|found| stream::iter(found.into_iter().map(Ok)))
                    .try_flatten()
                    .boxed()
            }
            Place::Bucket { store, prefix } => {
                let root = prefix.clone();
                let object = move |meta: object_store::ObjectMeta| {
                    let parts = meta.location.prefix_match(&root)?.map(|part| part.as_ref().to_owned());
                    Some(Object { path: parts.collect::<Vec<_>>().join("/"), size: meta.size })
                };
                let listed = store.list(Some(&within(prefix, &parts)));
                let listed = listed.map_err(move |error| failed(cause(&error)));
                listed.try_filter_map(move |meta| std::future::ready(Ok(object(meta)))).boxed()
            }
        }
    }

    /// What is in an object, as it comes.
    pub async fn read(&self, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        let parts = parts(path)?;
        let failed = self.failing(path, "read");
        match &self.place {
            Place::Folder(folder) => {
                let read = folder.read(parts).await.map_err(|error| failed(cause_on_disk(&error)))?;
                Ok(read.map_err(move |error| failed(cause_on_disk(&error))).boxed())
            }
            Place::Bucket { store, prefix } => {
                let got = store.get(&within(prefix, &parts)).await.map_err(|error| failed(cause(&error)))?;
                Ok(got.into_stream().map_err(move |error| failed(cause(&error))).boxed())
            }
        }
    }

    /// The names right below a path, of objects and of folders, in no order.
    pub async fn names(&self, below: &str) -> Result<Vec<String>> {
        let parts = parts(below)?;
        let failed = self.failing(below, "listed");
        match &self.place {
            Place::Folder(folder) => folder.names(parts).await.map_err(|error| failed(cause_on_disk(&error))),
            Place::Bucket { store, prefix } => {
                let at = within(prefix, &parts);
                let found =
                    store.list_with_delimiter(Some(&at)).await.map_err(|error| failed(cause(&error)))?;
                let objects = found.objects.into_iter().map(|object| object.location);
                let all = objects.chain(found.common_prefixes);
                Ok(all.filter_map(|path| path.filename().map(str::to_owned)).collect())
            }
        }
    }

    /// Writes an object, whole or not at all, in place of what was there.
    pub async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        let parts = parts(path)?;
        let failed = self.failing(path, "written");
        match &self.place {
            Place::Folder(folder) => {
                folder.write(parts, bytes).await.map_err(|error| failed(cause_on_disk(&error)))
            }
            Place::Bucket { store, prefix } => {
                let put = store.put(&within(prefix, &parts), bytes.into()).await;
                put.map(|_| ()).map_err(|error| failed(cause(&error)))
            }
        }
    }

    /// Moves everything below a path to another one, where nothing is, or what an earlier try has left there. On disk all
    /// of it moves at once; in a bucket, the seal says where all of it is. To try again is safe: what is not there any
    /// more has arrived.
    pub async fn rename(&self, from: &str, to: &str, seal: &Seal<'_>) -> Result<()> {
        let (old, new) = (parts(from)?, parts(to)?);
        if old.is_empty() || new.is_empty() {
            return Err(Error::Path(from.to_owned()));
        }
        let failed = self.failing(from, "moved");
        match &self.place {
            Place::Folder(folder) => {
                folder.rename(old, new).await.map_err(|error| failed(cause_on_disk(&error)))
            }
            Place::Bucket { store, prefix } => {
                let (old, new) = (within(prefix, &old), within(prefix, &new));
                transfer::rename(&**store, &old, &new, seal).await.map_err(|error| failed(cause(&error)))
            }
        }
    }

    /// Removes everything below a path, and what is at it; nothing where there is nothing.
    pub async fn remove(&self, below: &str) -> Result<()> {
        let parts = parts(below)?;
        if parts.is_empty() {
            return Err(Error::Path(below.to_owned()));
        }
        let failed = self.failing(below, "removed");
        match &self.place {
            Place::Folder(folder) => {
                folder.remove(parts).await.map_err(|error| failed(cause_on_disk(&error)))
            }
            Place::Bucket { store, prefix } => {
                let at = within(prefix, &parts);
                let there = store.list(Some(&at)).map_ok(|object| object.location).boxed();
                // A listing below a path does not have what is at the path itself.
                let mut removed = store.delete_stream(there.chain(stream::iter([Ok(at)])).boxed());
                while let Some(one) = removed.next().await {
                    match one {
                        Ok(_) => {}
                        Err(error @ object_store::Error::NotFound { .. }) if !is_no_bucket(&error) => {}
                        Err(error) => return Err(failed(cause(&error))),
                    }
                }
                Ok(())
            }
        }
    }

    /// Tells what failed, and where.
    fn failing(&self, below: &str, doing: &'static str) -> impl Fn(Cause) -> Error + Send + Sync + use<> {
        let place = if below.is_empty() { self.shown.clone() } else { format!("{}/{below}", self.shown) };
        move |cause| Error::Failed { place: place.clone(), doing, cause }
    }
}

/// The parts of a path, none of which leads anywhere else. No text is no part.
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

/// A path in a folder. The name stands as it is: what `Path` would encode, it would not decode again.
pub fn at(folder: &Path, name: &str) -> Path {
    match PathPart::parse(name) {
        Ok(part) => folder.clone().join(part),
        Err(_) => folder.clone().join(name),
    }
}

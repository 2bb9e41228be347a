//! The DAG folder in an object store. Writes of objects are atomic; a move is a copy and a deletion.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use dcp_objects::object_store::path::Path;
use dcp_objects::object_store::{self, ObjectStore, ObjectStoreExt};
use dcp_objects::{Bucket, at};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{DagFile, Error, File, GENERATED_HEADER, MAX_PARALLEL, Operation, Result, STAGED_FOLDER, name};

#[derive(Clone)]
pub(super) struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The name in messages.
    display_name: String,
}

impl fmt::Debug for Remote {
    /// The text of a store may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("display_name", &self.display_name).finish_non_exhaustive()
    }
}

impl Remote {
    pub(super) fn open(
        bucket: Bucket,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let store = dcp_objects::connect(&bucket, environment)?;
        Ok(Self { store, prefix: bucket.prefix, display_name: bucket.display_name })
    }

    pub(super) fn with_store(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { store, prefix: Path::from(prefix), display_name: format!("store://{prefix}") }
    }

    pub(super) async fn stage(&self, id: &str, files: &[File]) -> Result<()> {
        self.reject_foreign_files(files.iter().map(|file| file.name.as_str())).await?;
        self.discard(id).await?;
        let folder = self.staged(id);
        let written = self.write(files, |name| at(&folder, &name::staged(name))).await;
        if written.is_err() {
            // The error of the write is reported, whatever the clean-up does.
            let _ = self.discard(id).await;
        }
        written
    }

    pub(super) async fn switch(&self, id: &str, files: &[File]) -> Result<()> {
        self.reject_foreign_files(files.iter().map(|file| file.name.as_str())).await?;
        let folder = self.staged(id);
        let staged = self.sizes(&folder).await?;
        let is_staged = |file: &&File| {
            staged.get(&name::staged(&file.name)).is_some_and(|size| *size == file.content.len() as u64)
        };
        let (still_staged, gone): (Vec<_>, Vec<_>) = files.iter().partition(is_staged);
        self.require_in_place(id, &gone).await?;
        let copies = still_staged.iter().map(|file| self.copy(&folder, file));
        stream::iter(copies).buffer_unordered(MAX_PARALLEL).try_collect::<()>().await?;
        self.delete(still_staged.iter().map(|file| at(&folder, &name::staged(&file.name))).collect()).await
    }

    pub(super) async fn put(&self, files: &[File]) -> Result<()> {
        self.reject_foreign_files(files.iter().map(|file| file.name.as_str())).await?;
        self.write(files, |name| at(&self.prefix, name)).await
    }

    pub(super) async fn remove(&self, names: &[String]) -> Result<()> {
        let existing = self.reject_foreign_files(names.iter().map(String::as_str)).await?;
        self.delete(existing.iter().map(|name| at(&self.prefix, name)).collect()).await
    }

    pub(super) async fn discard(&self, id: &str) -> Result<()> {
        let folder = self.staged(id);
        let objects = self.store.list(Some(&folder)).map_ok(|object| object.location);
        let existing = objects.try_collect().await;
        self.delete(existing.map_err(|error| self.failed(STAGED_FOLDER, Operation::List, &error))?).await
    }

    pub(super) async fn leftovers(&self) -> Result<Vec<String>> {
        let listed = self.store.list_with_delimiter(Some(&at(&self.prefix, STAGED_FOLDER))).await;
        let listed = listed.map_err(|error| self.failed(STAGED_FOLDER, Operation::List, &error))?;
        let folders = listed.common_prefixes.iter();
        let ids = folders.filter_map(|folder| folder.filename()).filter(|id| name::check_id(id).is_ok());
        Ok(ids.map(str::to_owned).collect())
    }

    pub(super) async fn list(&self) -> Result<Vec<DagFile>> {
        let sizes = self.sizes(&self.prefix).await?;
        let inspected = self.inspect(sizes.into_iter().filter(|(name, _)| name::is_valid(name))).await?;
        let ours = inspected.into_iter().filter(|(_, ours)| *ours);
        let mut listed: Vec<_> = ours.map(|(listed, _)| listed).collect();
        listed.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }

    pub(super) async fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self.content(name).await? {
            Some(content) if !name::is_ours(&content) => {
                Err(Error::ForeignFiles(vec![self.display_path(name)]))
            }
            content => Ok(content),
        }
    }
}

/// Helpers of the operations above.
impl Remote {
    async fn write(&self, files: &[File], path: impl Fn(&str) -> Path) -> Result<()> {
        let writes = files.iter().map(|file| {
            let path = path(&file.name);
            async move {
                let written = self.store.put(&path, file.content.clone().into()).await;
                written.map(drop).map_err(|error| self.failed(&file.name, Operation::Write, &error))
            }
        });
        stream::iter(writes).buffer_unordered(MAX_PARALLEL).try_collect().await
    }

    async fn copy(&self, folder: &Path, file: &File) -> Result<()> {
        let from = at(folder, &name::staged(&file.name));
        let copied = self.store.copy(&from, &at(&self.prefix, &file.name)).await;
        copied.map_err(|error| self.failed(&file.name, Operation::Switch, &error))
    }

    /// Rejects files that are neither staged nor in place.
    async fn require_in_place(&self, id: &str, files: &[&File]) -> Result<()> {
        let checks = files.iter().map(|file| async move {
            let holds = self.content(&file.name).await?.is_some_and(|it| it == file.content.as_bytes());
            Ok::<_, Error>((!holds).then(|| self.display_path(&file.name)))
        });
        let lost: Vec<_> = stream::iter(checks).buffered(MAX_PARALLEL).try_collect().await?;
        match lost.into_iter().flatten().collect::<Vec<_>>() {
            lost if lost.is_empty() => Ok(()),
            files => Err(Error::NotStaged { id: id.to_owned(), files }),
        }
    }

    /// Rejects names at which there is a file that dcp did not write, and returns those with a file of dcp.
    async fn reject_foreign_files<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<String>> {
        let names: HashSet<_> = names.into_iter().collect();
        let mut existing = self.sizes(&self.prefix).await?;
        existing.retain(|name, _| names.contains(name.as_str()));
        let (ours, others): (Vec<_>, Vec<_>) =
            self.inspect(existing).await?.into_iter().partition(|(_, ours)| *ours);
        if others.is_empty() {
            return Ok(ours.into_iter().map(|(listed, _)| listed.name).collect());
        }
        let mut others: Vec<_> = others.iter().map(|(listed, _)| self.display_path(&listed.name)).collect();
        others.sort_unstable();
        Err(Error::ForeignFiles(others))
    }

    /// Returns the existing files, each with whether dcp wrote it. The beginning of each file is read, unless the file
    /// is too short.
    async fn inspect(&self, files: impl IntoIterator<Item = (String, u64)>) -> Result<Vec<(DagFile, bool)>> {
        let mark = GENERATED_HEADER.len() as u64;
        let checks = files.into_iter().map(|(name, size)| async move {
            if size < mark {
                return Ok(Some((DagFile { name, size }, false)));
            }
            match self.store.get_range(&at(&self.prefix, &name), 0..mark).await {
                Ok(beginning) => Ok(Some((DagFile { name, size }, name::is_ours(&beginning)))),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(self.failed(&name, Operation::Read, &error)),
            }
        });
        let inspected: Vec<_> = stream::iter(checks).buffer_unordered(MAX_PARALLEL).try_collect().await?;
        Ok(inspected.into_iter().flatten().collect())
    }

    /// Returns the files directly in a folder, with their sizes.
    async fn sizes(&self, folder: &Path) -> Result<BTreeMap<String, u64>> {
        let listed = self.store.list_with_delimiter(Some(folder)).await;
        let listed = listed.map_err(|error| self.failed("", Operation::List, &error))?;
        let named =
            |object: object_store::ObjectMeta| Some((object.location.filename()?.to_owned(), object.size));
        Ok(listed.objects.into_iter().filter_map(named).collect())
    }

    async fn content(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let got = match self.store.get(&at(&self.prefix, name)).await {
            Ok(got) => got.bytes().await,
            Err(error) => Err(error),
        };
        match got {
            Ok(content) => Ok(Some(content.to_vec())),
            Err(error @ object_store::Error::NotFound { .. }) if !dcp_objects::is_missing_bucket(&error) => {
                Ok(None)
            }
            Err(error) => Err(self.failed(name, Operation::Read, &error)),
        }
    }

    async fn delete(&self, paths: Vec<Path>) -> Result<()> {
        let mut deleted = self.store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
        while let Some(one) = deleted.next().await {
            match one {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed("", Operation::Remove, &error)),
            }
        }
        Ok(())
    }

    fn staged(&self, id: &str) -> Path {
        at(&at(&self.prefix, STAGED_FOLDER), id)
    }

    fn display_path(&self, name: &str) -> String {
        if name.is_empty() { self.display_name.clone() } else { format!("{}/{name}", self.display_name) }
    }

    fn failed(&self, name: &str, operation: Operation, error: &object_store::Error) -> Error {
        Error::Failed { location: self.display_path(name), operation, cause: dcp_objects::cause(error) }
    }
}

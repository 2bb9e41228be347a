//! A folder on disk. No path leads out of it: links are never followed, not even those that are created during an
//! operation. Only regular files and folders are listed.

use std::fs::{File, FileType};
use std::io::{self, ErrorKind, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat};
use rustix::io::Errno;
use tokio::io::AsyncReadExt as _;

use crate::{Object, UnusableLocation, redacted};

/// Size of a read.
const CHUNK: usize = 64 << 10;

#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: PathBuf,
    /// The parts of every path that come before its own: those of the location itself, if it may contain no link.
    base: Vec<String>,
}

impl Folder {
    /// Parses a path, or a `file:` URL.
    pub(crate) fn parse(location: &str) -> Result<Self, UnusableLocation> {
        let unusable = |why: &str| UnusableLocation {
            location: redacted(location),
            why: why.to_owned(),
            help: "give the whole path of a folder, as in `/srv/results` or `file:///srv/results`",
        };
        let path = if location.starts_with("file://") {
            let url = url::Url::parse(location).map_err(|_| unusable("it is no URL"))?;
            if url.query().is_some() || url.fragment().is_some() {
                return Err(unusable("a `?` or a `#` in a URL ends its path: write them as `%3F` and `%23`"));
            }
            url.to_file_path().map_err(|()| unusable("it names another machine"))?
        } else {
            PathBuf::from(location)
        };
        if path.as_os_str().is_empty() {
            return Err(unusable("it is empty"));
        }
        let root = std::path::absolute(&path).map_err(|_| unusable("the present folder is not known"))?;
        if root.parent().is_none() {
            return Err(unusable("it is the root of all folders"));
        }
        // Removes a `/` at the end.
        Ok(Self { root: root.components().collect(), base: Vec::new() })
    }

    /// Follows no link in the path of the folder itself either, for a folder that another program may replace.
    pub(crate) fn without_links(self) -> Result<Self, UnusableLocation> {
        let base = self.root.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_str().map(str::to_owned)),
            _ => None,
        });
        let base = base.collect::<Option<Vec<String>>>().ok_or_else(|| not_utf8(&self.root))?;
        Ok(Self { root: PathBuf::from("/"), base })
    }

    /// Returns the parts of a path from the root on.
    fn absolute_parts(&self, parts: Vec<String>) -> Vec<String> {
        self.base.iter().cloned().chain(parts).collect()
    }

    /// Returns the URL for Hadoop, which does not decode paths.
    pub(crate) fn url(&self) -> Result<String, UnusableLocation> {
        let path = self.root.to_str().ok_or_else(|| not_utf8(&self.root))?;
        Ok(format!("file://{path}"))
    }

    pub(crate) async fn list(&self, parts: Vec<String>, limit: usize) -> io::Result<Vec<Object>> {
        let (root, parts) = (self.root.clone(), self.absolute_parts(parts));
        let mut found = in_background(move || list(&root, &parts, limit)).await?;
        for object in found.iter_mut().filter(|_| !self.base.is_empty()) {
            object.path = object.path.split('/').skip(self.base.len()).collect::<Vec<_>>().join("/");
        }
        Ok(found)
    }

    pub(crate) async fn read(
        &self,
        parts: Vec<String>,
        offset: u64,
    ) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>> {
        let (root, parts) = (self.root.clone(), self.absolute_parts(parts));
        let open = move || {
            let mut file = open(&root, &parts)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        };
        let file = in_background(open).await?;
        let file = tokio::fs::File::from_std(file);
        Ok(stream::try_unfold(file, |mut file| async move {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            let count = file.read_buf(&mut chunk).await?;
            Ok((count > 0).then(|| (chunk.freeze(), file)))
        }))
    }

    pub(crate) async fn names(&self, parts: Vec<String>) -> io::Result<Vec<String>> {
        let (root, parts) = (self.root.clone(), self.absolute_parts(parts));
        in_background(move || names(&root, &parts)).await
    }

    pub(crate) async fn write(&self, parts: Vec<String>, bytes: Bytes) -> io::Result<()> {
        let (root, parts) = (self.root.clone(), self.absolute_parts(parts));
        in_background(move || write(&root, &parts, &bytes)).await
    }

    pub(crate) async fn rename(&self, from: Vec<String>, to: Vec<String>) -> io::Result<()> {
        let (root, from, to) = (self.root.clone(), self.absolute_parts(from), self.absolute_parts(to));
        in_background(move || rename(&root, &from, &to)).await
    }

    pub(crate) async fn remove(&self, parts: Vec<String>) -> io::Result<()> {
        let (root, parts) = (self.root.clone(), self.absolute_parts(parts));
        in_background(move || ignore_missing(remove(&root, &parts))).await
    }
}

fn not_utf8(path: &Path) -> UnusableLocation {
    UnusableLocation {
        location: path.display().to_string(),
        why: "its path is not valid UTF-8, so other programs can't open it".to_owned(),
        help: "name a folder whose path is UTF-8",
    }
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Lists files, until there are as many as the limit.
fn list(root: &Path, parts: &[String], limit: usize) -> io::Result<Vec<Object>> {
    let mut found = Vec::new();
    let Some(start) = existing_folder(root, parts)? else { return Ok(found) };
    let mut folders = vec![(start, parts.join("/"))];
    while let Some((folder, path)) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            // It was removed meanwhile, or is a file.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            entries => entries?,
        };
        for entry in entries {
            if found.len() + folders.len() >= limit {
                return Ok(found);
            }
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push((entry.path(), path)),
                Ok(meta) if meta.is_file() => {
                    found.push(Object { path, size: meta.len(), modified: meta.modified().ok() });
                }
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Opens a file part by part from the root on, so that no link can be put in its path meanwhile.
fn open(root: &Path, parts: &[String]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let Some((name, folders)) = parts.split_last() else { return Err(ErrorKind::IsADirectory.into()) };
    for folder in folders {
        at = openat(&at, folder, flags | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    }
    // Does not wait on special files such as FIFOs.
    let file = openat(&at, name, flags | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty());
    let file = File::from(file.map_err(|error| match error {
        Errno::LOOP => io::Error::from(ErrorKind::IsADirectory),
        error => error.into(),
    })?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(ErrorKind::IsADirectory.into()) }
}

fn names(root: &Path, parts: &[String]) -> io::Result<Vec<String>> {
    let Some(folder) = existing_folder(root, parts)? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(names),
        entries => entries?,
    };
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// Writes a file atomically and durably.
fn write(root: &Path, parts: &[String], bytes: &[u8]) -> io::Result<()> {
    let Some((name, folders)) = parts.split_last() else { return Err(ErrorKind::InvalidInput.into()) };
    let folder = create_folder(root, folders)?;
    let part = folder.join(format!(".{name}.part"));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = File::from(rustix::fs::open(&part, flags, Mode::from_raw_mode(0o644))?);
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(part, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// Moves without overwriting. If the source is missing and the target exists, an earlier try has moved it.
fn rename(root: &Path, from: &[String], to: &[String]) -> io::Result<()> {
    let (Some((old, folders)), Some((new, others))) = (from.split_last(), to.split_last()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    let Some(folder) = existing_folder(root, folders)? else { return Err(ErrorKind::NotFound.into()) };
    let (old, other) = (folder.join(old), create_folder(root, others)?);
    let new = other.join(new);
    match rustix::fs::renameat_with(CWD, &old, CWD, &new, RenameFlags::NOREPLACE) {
        Err(Errno::NOENT) if new.symlink_metadata().is_ok() => {}
        done => done?,
    }
    File::open(folder)?.sync_all()?;
    File::open(other)?.sync_all()
}

/// Returns a folder below the root, and creates it if it is missing.
fn create_folder(root: &Path, parts: &[String]) -> io::Result<PathBuf> {
    std::fs::create_dir_all(root)?;
    let mut path = root.to_owned();
    for part in parts {
        path.push(part);
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made?,
        }
        if !path.symlink_metadata()?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
    }
    Ok(path)
}

/// Removes a file or a folder; of a link, only the link.
fn remove(root: &Path, parts: &[String]) -> io::Result<()> {
    let Some((name, folders)) = parts.split_last() else { return Err(ErrorKind::InvalidInput.into()) };
    let Some(folder) = existing_folder(root, folders)? else { return Ok(()) };
    let path = folder.join(name);
    if path.symlink_metadata()?.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
}

/// Returns a folder below the root; none if it is missing. A link in the path is an error.
fn existing_folder(root: &Path, parts: &[String]) -> io::Result<Option<PathBuf>> {
    let mut path = root.to_owned();
    for part in parts {
        path.push(part);
        match path.symlink_metadata().map(|meta| meta.file_type()) {
            Ok(kind) if FileType::is_dir(&kind) => {}
            Ok(_) => return Err(ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(path))
}

fn ignore_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

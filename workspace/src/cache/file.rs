//! A cached file with manifests, and the files that were read for it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use dcp_compiler::compile::{Analysis, Stored};
use dcp_compiler::source::{LoadError, SourceLoader};
use dcp_model::primitive::{Fingerprint, Kind};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Primitives, Sha, Workload};
use crate::files::{Stamp, Tree};
use crate::load::{Entry, EntryLoader, load};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CachedFile {
    /// The files that were read, the manifest first.
    read: Vec<ReadFile>,
    /// A [`Stored`], decoded only if it is needed.
    #[serde(deserialize_with = "bytes")]
    analysis: Vec<u8>,
    pub(super) manifests: usize,
    /// The fingerprints of the workload's primitives in the order of their kinds, if they were compiled.
    pub(super) primitives: Option<(Workload, Vec<(Kind, Fingerprint)>)>,
}

/// A file that was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ReadFile {
    path: String,
    /// The digest of its content; none if the file only has to exist.
    sha: Option<Sha>,
    /// None if the file was too young, so that it could change without another stamp.
    stamp: Option<Stamp>,
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    <&[u8]>::deserialize(from).map(<[u8]>::to_vec)
}

impl CachedFile {
    /// Returns this file with the current stamps, if no file of it has changed.
    pub(super) fn unchanged(
        self: &Arc<Self>,
        tree: &Tree,
        entry: &Entry,
        now: SystemTime,
    ) -> Option<Arc<Self>> {
        let mut restamped: Option<Self> = None;
        for (index, read) in self.read.iter().enumerate() {
            let own = (read.path == entry.path).then_some(entry);
            if read.has_same_stamp(tree, own) {
                continue;
            }
            let stamp = read.unchanged(tree, own)?;
            if stamp.is_settled(now) {
                restamped.get_or_insert_with(|| (**self).clone()).read[index].stamp = Some(stamp);
            }
        }
        Some(restamped.map_or_else(|| Arc::clone(self), Arc::new))
    }

    /// Restores the analysis at an index among all files.
    pub fn analysis(&self, index: usize, path: &str) -> Option<Analysis> {
        postcard::from_bytes::<Stored>(&self.analysis).ok()?.restore(index, path)
    }

    pub(super) fn digest(&self, digest: &mut Sha256) {
        for ReadFile { path, sha, stamp: _ } in &self.read {
            digest.update(path.len().to_le_bytes());
            digest.update(path);
            digest.update(sha.unwrap_or_default());
        }
    }
}

impl ReadFile {
    fn has_same_stamp(&self, tree: &Tree, own: Option<&Entry>) -> bool {
        let path = match own {
            Some(entry) => entry.file.as_deref().ok(),
            None => Some(Path::new(&self.path)),
        };
        self.stamp.is_some() && path.and_then(|path| tree.stamp(path)) == self.stamp
    }

    /// Reads the file, and returns its stamp if the content has the same digest.
    fn unchanged(&self, tree: &Tree, own: Option<&Entry>) -> Option<Stamp> {
        let same = |text: &str| self.sha.is_some_and(|sha| sha == sha_of(text));
        match (self.sha, own) {
            (None, _) => tree.check(Path::new(&self.path)).ok(),
            (Some(_), Some(entry)) => entry.content(tree).ok().filter(|it| same(&it.text)).map(|it| it.stamp),
            (Some(_), None) => load(tree, &self.path).ok().filter(|it| same(&it.text)).map(|it| it.stamp),
        }
    }
}

fn sha_of(text: &str) -> Sha {
    Sha256::digest(text).into()
}

/// A file that was just analyzed, and the files that were read for it.
#[derive(Debug)]
pub struct FreshAnalysis {
    pub path: String,
    read: Vec<ReadFile>,
    /// The encoded analysis and the number of its manifests, if it can be cached.
    stored: Option<(Vec<u8>, usize)>,
    /// The workload, if the file has exactly one.
    workload: Option<Workload>,
}

impl FreshAnalysis {
    pub fn new(index: usize, recorder: Recorder<'_>, analysis: &Analysis) -> Self {
        let path = recorder.loader.entry.path.clone();
        let read = recorder.read.into_inner().unwrap_or_else(PoisonError::into_inner);
        let stored = Stored::of(index, analysis);
        let workload = stored.as_ref().and_then(Stored::workload);
        let stored = stored.and_then(|it| Some((postcard::to_allocvec(&it).ok()?, it.manifests())));
        Self { path, read, stored, workload }
    }

    /// Returns the number of manifests in the file, if its analysis can be cached.
    pub fn manifests(&self) -> Option<usize> {
        self.stored.as_ref().map(|(_, manifests)| *manifests)
    }

    /// Returns true if linking the file gives the same result as linking a cached version of it, except for
    /// positions.
    pub(super) fn links_as(&self, cached: &CachedFile) -> bool {
        let stored = self.stored.as_ref().and_then(|(bytes, _)| postcard::from_bytes::<Stored>(bytes).ok());
        let cached = postcard::from_bytes::<Stored>(&cached.analysis).ok();
        stored.zip(cached).is_some_and(|(stored, cached)| stored.links_as(&cached))
    }

    /// Converts this to a file of the cache.
    pub(super) fn file(&self, primitives: &mut Primitives, now: SystemTime) -> Option<CachedFile> {
        let (analysis, manifests) = self.stored.clone()?;
        let settled = |read: &ReadFile| {
            let stamp = read.stamp.filter(|stamp| stamp.is_settled(now));
            ReadFile { stamp, ..read.clone() }
        };
        let made = self.workload.clone().and_then(|workload| {
            let primitives = primitives.remove(&workload)?;
            Some((workload, primitives))
        });
        Some(CachedFile {
            read: self.read.iter().map(settled).collect(),
            analysis,
            manifests,
            primitives: made,
        })
    }
}

/// A loader for one file that records the files that are read.
#[derive(Debug)]
pub struct Recorder<'a> {
    loader: EntryLoader<'a>,
    read: Mutex<Vec<ReadFile>>,
}

impl<'a> Recorder<'a> {
    pub fn new(loader: EntryLoader<'a>) -> Self {
        Self { loader, read: Mutex::default() }
    }

    fn record(&self, path: &str, sha: Option<Sha>, stamp: Stamp) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.push(ReadFile { path: path.to_owned(), sha, stamp: Some(stamp) });
    }
}

impl SourceLoader for Recorder<'_> {
    fn load(&self, path: &str) -> Result<String, LoadError> {
        let content = self.loader.content(path)?;
        self.record(path, Some(sha_of(&content.text)), content.stamp);
        Ok(content.text)
    }

    fn check(&self, path: &str) -> Result<(), LoadError> {
        let stamp = self.loader.stamp(path)?;
        self.record(path, None, stamp);
        Ok(())
    }
}

//! The files of the cache on disk. There are several, so that a change of one manifest writes only a part of the
//! cache.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use super::Sha;
use super::file::CachedFile;

pub(super) const SHARDS: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) files: HashMap<String, Arc<CachedFile>>,
    /// Set if the shard on disk is out of date.
    pub(super) dirty: bool,
}

impl Shard {
    /// Decodes a shard, if it was written with this key.
    pub(super) fn read(bytes: &[u8], key: &Sha) -> Option<Self> {
        let (written_with, rest) = postcard::take_from_bytes::<Sha>(bytes).ok()?;
        if written_with != *key {
            return None;
        }
        let files: Vec<(String, CachedFile)> = postcard::from_bytes(rest).ok()?;
        let files = files.into_iter().map(|(path, file)| (path, Arc::new(file))).collect();
        Some(Self { files, dirty: false })
    }

    pub(super) fn write(&self, key: &Sha) -> Option<Vec<u8>> {
        let files: Vec<(&str, &CachedFile)> =
            self.files.iter().map(|(path, file)| (path.as_str(), &**file)).collect();
        postcard::to_allocvec(&(key, files)).ok()
    }
}

/// Returns the shard of a path. It is the same in every run of a program.
pub(super) fn index_of(path: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or_default()
}

pub(super) fn name(index: usize) -> String {
    format!("{index:02}")
}

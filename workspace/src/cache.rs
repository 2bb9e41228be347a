//! The cache of analyses: a command analyzes only the files that changed since an earlier command.
//!
//! The cache is in `.dcp/cache`; without it, commands only take longer. It is valid for one program, project file
//! and target. It has no files with problems, so that each command reports these anew.

mod file;
mod shard;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use dcp_compiler::compile::Compilation;
use dcp_model::primitive::{Address, Fingerprint, Kind};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::files::{LARGE_FILE_LIMIT, Tree};
use crate::load::Entry;
use crate::private;
use file::CachedFile;
pub use file::{FreshAnalysis, Recorder};
use shard::{SHARDS, Shard};

/// The folder of the cache, below the project's folder.
const FOLDER: &str = ".dcp/cache";

/// The file with the digest of a set of files that had no diagnostics.
const CLEAN_DIGEST_FILE: &str = "clean";

/// The maximum number of changed files for which the cache checks if their links changed. Above it, all files are
/// linked.
const MAX_CHANGED_FILES: usize = 64;

type Sha = [u8; 32];

/// A workload, by domain and name.
type Workload = (String, String);

#[derive(Debug)]
pub struct Cache {
    /// The path relative to the project's folder.
    folder: PathBuf,
    key: Sha,
    shards: Vec<Shard>,
    clean: Option<Sha>,
    now: SystemTime,
}

/// The files whose analyses are taken from the cache.
#[derive(Debug, Default)]
pub struct CachedFiles {
    /// All files of the project, if they were searched for.
    pub entries: Option<Vec<Entry>>,
    pub files: HashMap<String, Arc<CachedFile>>,
    workloads: HashSet<Workload>,
    /// Set if a file's content was compared, so that its new stamp can be stored.
    has_new_stamps: bool,
    /// Set if the cache has exactly the files of the project, and an earlier command had no diagnostics for the
    /// cached versions.
    was_clean: bool,
    /// Set if, in addition, no file has changed.
    pub complete: bool,
}

impl CachedFiles {
    /// Creates a value with no cached files.
    pub fn none(entries: Vec<Entry>) -> Self {
        Self { entries: Some(entries), ..Self::default() }
    }

    /// Returns true if the primitives of a workload are known to be the applied ones.
    pub fn has(&self, domain: &str, name: &str) -> bool {
        self.workloads.contains(&(domain.to_owned(), name.to_owned()))
    }

    /// Returns the number of manifests in the known files.
    pub fn manifests(&self) -> usize {
        self.files.values().map(|file| file.manifests).sum()
    }
}

impl Cache {
    /// Reads the cache. Returns nothing if a cache is impossible: without a project file, or if the program's own file
    /// can't be read to identify it.
    pub fn load(tree: &Tree, project: Option<&str>, target: Option<&str>) -> Option<Self> {
        let key = cache_key(project?, target)?;
        let name = target.map_or_else(|| "default".to_owned(), |it| Fingerprint::of(it).short().to_owned());
        let folder = PathBuf::from(FOLDER).join(name);
        let read = |path: PathBuf| tree.read(&path, LARGE_FILE_LIMIT).ok();
        let clean = read(folder.join(CLEAN_DIGEST_FILE)).and_then(|bytes| bytes.try_into().ok());
        let shard = |index: usize| {
            let bytes = read(folder.join(shard::name(index)));
            bytes.and_then(|bytes| Shard::read(&bytes, &key)).unwrap_or_default()
        };
        let shards = (0..SHARDS).into_par_iter().map(shard).collect();
        Some(Self { folder, key, shards, clean, now: SystemTime::now() })
    }

    /// Returns true if the cache has the primitives of any file.
    pub fn has_primitives(&self) -> bool {
        self.shards.iter().flat_map(|shard| shard.files.values()).any(|file| file.primitives.is_some())
    }

    /// Finds the unchanged files.
    pub fn unchanged_files(&self, tree: &Tree, entries: Vec<Entry>) -> CachedFiles {
        let has_new_stamps = AtomicBool::new(false);
        let unchanged = |entry: &Entry| -> Option<(String, Arc<CachedFile>)> {
            let cached = self.shards[shard::index_of(&entry.path)].files.get(&entry.path)?;
            let file = cached.unchanged(tree, entry, self.now)?;
            if !Arc::ptr_eq(cached, &file) {
                has_new_stamps.store(true, Ordering::Relaxed);
            }
            Some((entry.path.clone(), file))
        };
        let (files, was_clean): (HashMap<_, _>, bool) = rayon::join(
            || entries.par_iter().filter_map(unchanged).collect(),
            || self.clean.is_some() && self.clean == self.project_digest(&entries),
        );
        let has_new_stamps = has_new_stamps.into_inner();
        let complete = was_clean && files.len() == entries.len();
        CachedFiles {
            entries: Some(entries),
            files,
            workloads: HashSet::new(),
            has_new_stamps,
            was_clean,
            complete,
        }
    }

    /// Analyzes the changed files and returns them, if linking them can't change the result: an earlier command
    /// had no diagnostics, and each file has the same links as before.
    pub fn analyze_if_links_unchanged(
        &self,
        known: &CachedFiles,
        analyze: impl Fn(usize, &Entry) -> FreshAnalysis + Sync,
    ) -> Option<Vec<FreshAnalysis>> {
        let entries = known.entries.as_deref()?;
        let is_worth_it = known.was_clean && entries.len() - known.files.len() <= MAX_CHANGED_FILES;
        let changed = entries.iter().enumerate().filter(|(_, entry)| !known.files.contains_key(&entry.path));
        let changed: Vec<_> = changed.take_while(|_| is_worth_it).collect();
        let with_same_links = |(index, entry): (usize, &Entry)| {
            let fresh = analyze(index, entry);
            let cached = self.shards[shard::index_of(&entry.path)].files.get(&entry.path)?;
            fresh.links_as(cached).then_some(fresh)
        };
        if is_worth_it { changed.into_par_iter().map(with_same_links).collect() } else { None }
    }

    /// Stores the results of a command for all files of the project. If that fails, the next command takes longer.
    pub fn store(
        &mut self,
        tree: &Tree,
        known: &CachedFiles,
        compilation: &Compilation,
        fresh: &[FreshAnalysis],
    ) {
        let files_with_diagnostics = files_with_diagnostics(compilation);
        let mut primitives = primitives(compilation);
        self.restamp(known);
        for fresh in fresh {
            match fresh.file(&mut primitives, self.now) {
                Some(file) if !files_with_diagnostics.contains(fresh.path.as_str()) => {
                    self.insert(&fresh.path, Arc::new(file));
                }
                _ => self.remove(&fresh.path),
            }
        }
        let entries = known.entries.as_deref().unwrap_or_default();
        self.retain(entries);
        let clean = compilation.diagnostics.is_empty().then(|| self.project_digest(entries)).flatten();
        self.write(tree, clean);
    }

    /// Stores new stamps of unchanged files, so that the next command need not compare their contents.
    pub fn store_stamps(&mut self, tree: &Tree, known: &CachedFiles) {
        if known.has_new_stamps {
            self.restamp(known);
            self.write(tree, self.clean);
        }
    }

    fn restamp(&mut self, known: &CachedFiles) {
        let files = known.files.iter().filter(|_| known.has_new_stamps);
        for (path, file) in files {
            self.insert(path, Arc::clone(file));
        }
    }

    fn write(&self, tree: &Tree, clean: Option<Sha>) {
        let folder = tree.root().join(&self.folder);
        if private::dcp_folder(tree.root()).is_err() || private::create_folder(&folder).is_err() {
            return;
        }
        // Git ignores the cache, even if the project's own ignore files do not list it.
        let ignore = Path::new(FOLDER).join(".gitignore");
        if tree.stamp(&ignore).is_none() {
            _ = tree.replace_private(&ignore, b"*\n");
        }
        self.shards.par_iter().enumerate().filter(|(_, shard)| shard.dirty).for_each(|(index, shard)| {
            if let Some(bytes) = shard.write(&self.key) {
                _ = tree.replace_private(&self.folder.join(shard::name(index)), &bytes);
            }
        });
        if clean != self.clean {
            _ = tree.replace_private(&self.folder.join(CLEAN_DIGEST_FILE), &clean.unwrap_or_default());
        }
    }

    fn insert(&mut self, path: &str, file: Arc<CachedFile>) {
        let shard = &mut self.shards[shard::index_of(path)];
        let old = shard.files.get(path);
        if !old.is_some_and(|old| Arc::ptr_eq(old, &file)) {
            shard.files.insert(path.to_owned(), file);
            shard.dirty = true;
        }
    }

    fn remove(&mut self, path: &str) {
        let shard = &mut self.shards[shard::index_of(path)];
        shard.dirty |= shard.files.remove(path).is_some();
    }

    /// Removes files that no longer exist.
    fn retain(&mut self, entries: &[Entry]) {
        let existing: HashSet<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        for shard in &mut self.shards {
            let before = shard.files.len();
            shard.files.retain(|path, _| existing.contains(path.as_str()));
            shard.dirty |= shard.files.len() != before;
        }
    }

    /// Returns the digest of all files of the project, if all of them are cached.
    fn project_digest(&self, entries: &[Entry]) -> Option<Sha> {
        let file = |entry: &Entry| self.shards[shard::index_of(&entry.path)].files.get(&entry.path);
        let files: Vec<_> = entries.iter().map_while(file).collect();
        (files.len() == entries.len()).then(|| files_digest(files))
    }
}

/// Returns the digest of a set of files, by the paths and contents of all files that were read for them.
fn files_digest<'f>(files: impl IntoIterator<Item = &'f Arc<CachedFile>>) -> Sha {
    let mut digest = Sha256::new();
    for file in files {
        file.digest(&mut digest);
    }
    digest.finalize().into()
}

/// Returns the files that diagnostics point to.
fn files_with_diagnostics(compilation: &Compilation) -> BTreeSet<&str> {
    let labels = compilation.diagnostics.iter().flat_map(|diagnostic| &diagnostic.labels);
    let files = labels.filter_map(|label| compilation.manifests.file(label.span));
    files.map(|file| &*compilation.sources.get(file).path).collect()
}

/// The kinds and fingerprints of the primitives of each workload.
type Primitives = HashMap<Workload, Vec<(Kind, Fingerprint)>>;

fn primitives(compilation: &Compilation) -> Primitives {
    let mut found = Primitives::new();
    for it in &compilation.primitives {
        let workload = (it.address.domain.clone(), it.address.name.clone());
        found.entry(workload).or_default().push((it.address.kind, it.fingerprint.clone()));
    }
    found
}

/// Limits the known files to those whose primitives are applied.
pub fn only_applied<'a>(
    mut known: CachedFiles,
    entries: impl Iterator<Item = (&'a Address, &'a Fingerprint)>,
) -> CachedFiles {
    let mut applied: HashMap<(&str, &str), Vec<(Kind, &Fingerprint)>> = HashMap::new();
    for (address, fingerprint) in entries {
        let workload = applied.entry((&address.domain, &address.name)).or_default();
        workload.push((address.kind, fingerprint));
    }
    let count = known.files.len();
    known.files.retain(|_, file| {
        let Some(((domain, name), primitives)) = &file.primitives else { return false };
        let existing = applied.get(&(domain.as_str(), name.as_str()));
        existing.is_some_and(|existing| {
            existing.iter().copied().eq(primitives.iter().map(|(kind, it)| (*kind, it)))
        })
    });
    let workloads = known.files.values().filter_map(|file| file.primitives.as_ref());
    known.workloads = workloads.map(|(workload, _)| workload.clone()).collect();
    known.complete &= known.files.len() == count;
    known
}

/// Returns the digest of the program, the project file and the target.
fn cache_key(project: &str, target: Option<&str>) -> Option<Sha> {
    let program = std::env::current_exe().and_then(std::fs::metadata).ok()?;
    let modified = program.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos();
    let of = (env!("CARGO_PKG_VERSION"), program.len(), modified.to_string(), project, target);
    Some(Sha256::digest(serde_json::to_vec(&of).ok()?).into())
}

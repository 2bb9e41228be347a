//! What the last plan that found nothing to do made of each file, so that what has not changed since need not be
//! compiled again.
//!
//! It lies in `.dcp/cache`, and losing it costs time and nothing else. It counts only for the very program, project file
//! and target that it was made with, and only for files that nothing was to be said about. What is looked at is what
//! stands in the files, never their times.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use dcp_compiler::compile::PROJECT_FILE;
use dcp_compiler::primitive::{Fingerprint, Kind};
use dcp_compiler::source::{LoadError, SourceLoader};
use dcp_reconciler::registry::State;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::files::{LARGE, Tree};
use crate::load::{Entry, EntryLoader, load};
use crate::private;
use crate::project::{Home, Outcome};

/// Below the project's folder.
const FOLDER: &str = ".dcp/cache";

/// What stood in a file and in those that it refers to, in the order in which they were read. A file without a fingerprint
/// only has to be there.
pub(crate) type Read = Vec<(String, Option<Fingerprint>)>;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Memo {
    made_with: Fingerprint,
    files: BTreeMap<String, File>,
}

/// A file with one manifest, of which all primitives are made: no workload of a group.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct File {
    read: Read,
    workload: Workload,
    /// In the order of their kinds.
    primitives: Vec<(Kind, Fingerprint)>,
}

/// A workload, by domain and name.
pub(crate) type Workload = (String, String);

/// The files whose primitives are known to be those that are applied.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// All files that there are, if they were looked for.
    pub(crate) entries: Option<Vec<Entry>>,
    pub(crate) files: HashSet<String>,
    pub(crate) workloads: HashSet<Workload>,
    /// Whether these are all that the last plan read, so that nothing could be said of them together that was not said
    /// then.
    pub(crate) complete: bool,
}

impl Known {
    pub(crate) fn has(&self, domain: &str, name: &str) -> bool {
        self.workloads.contains(&(domain.to_owned(), name.to_owned()))
    }
}

/// The program, the project file and the target. There is nothing where the program can't be told from another.
fn made_with(home: &Home, target: Option<&str>) -> Option<Fingerprint> {
    let program = std::env::current_exe().and_then(std::fs::metadata).ok()?;
    let modified = program.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos();
    let of = (env!("CARGO_PKG_VERSION"), program.len(), modified.to_string(), home.text(), target);
    Some(Fingerprint::of(&serde_json::to_string(&of).ok()?))
}

/// Relative to the project's folder.
fn path(target: Option<&str>) -> PathBuf {
    let name = target.map_or_else(
        || "plan.json".to_owned(),
        |target| format!("plan-{}.json", Fingerprint::of(target).short()),
    );
    PathBuf::from(FOLDER).join(name)
}

impl Memo {
    /// Whether anything was kept.
    pub(crate) fn may_be(home: &Home, target: Option<&str>) -> bool {
        home.root.join(path(target)).exists()
    }

    /// What was kept, if it can be used.
    pub(crate) fn load(home: &Home, target: Option<&str>) -> Option<Self> {
        let text = home.tree.read(&path(target), LARGE).ok()?;
        let memo: Self = serde_json::from_slice(&text).ok()?;
        (memo.made_with == made_with(home, target)?).then_some(memo)
    }

    /// Which of the files that were found are what they were.
    pub(crate) fn unchanged(&self, tree: &Tree, entries: &[Entry]) -> Vec<String> {
        let same = |entry: &&Entry| {
            let stands = |(path, was): &(String, Option<Fingerprint>)| match was {
                None => tree.check(Path::new(path)).is_ok(),
                Some(was) if entry.shown == *path => {
                    entry.text(tree).is_ok_and(|text| Fingerprint::of(text) == *was)
                }
                Some(was) => load(tree, path).is_ok_and(|text| Fingerprint::of(&text) == *was),
            };
            self.files.get(&entry.shown).is_some_and(|file| file.read.iter().all(stands))
        };
        entries.par_iter().filter(same).map(|entry| entry.shown.clone()).collect()
    }

    /// Which of the unchanged files, of all that were found, are applied as they are.
    pub(crate) fn known(&self, unchanged: Vec<String>, entries: Vec<Entry>, state: &State) -> Known {
        let mut applied: HashMap<(&str, &str), Vec<(Kind, &Fingerprint)>> = HashMap::new();
        for (address, entry) in &state.entries {
            let workload = applied.entry((&address.domain, &address.name)).or_default();
            workload.push((address.kind, &entry.fingerprint));
        }
        let workload = |path: &str| -> Option<Workload> {
            let File { workload, primitives, .. } = self.files.get(path)?;
            let there = applied.get(&(workload.0.as_str(), workload.1.as_str()))?;
            let were = primitives.iter().map(|(kind, fingerprint)| (*kind, fingerprint));
            there.iter().copied().eq(were).then(|| workload.clone())
        };
        let known = |path: String| workload(&path).map(|workload| (path, workload));
        let (files, workloads): (HashSet<_>, HashSet<_>) = unchanged.into_iter().filter_map(known).unzip();
        let complete = files.len() == entries.len() && files.len() == self.files.len();
        Known { entries: Some(entries), files, workloads, complete }
    }

    /// Keeps what a plan of the whole project made of its files, all of which is applied. That it can't be kept is no
    /// reason to fail.
    pub(crate) fn keep(home: &Home, target: Option<&str>, before: Option<&Self>, outcome: &Outcome) {
        let Some(memo) = Self::of(home, target, before, outcome) else { return };
        let Ok(text) = serde_json::to_vec(&memo) else { return };
        let folder = home.root.join(FOLDER);
        if private::dcp(&home.root).is_ok() && private::folder(&folder).is_ok() {
            _ = home.tree.replace_private(&path(target), &text);
        }
    }

    fn of(home: &Home, target: Option<&str>, before: Option<&Self>, outcome: &Outcome) -> Option<Self> {
        let compilation = &outcome.compilation;
        let mut said: BTreeSet<&str> = BTreeSet::new();
        for diagnostic in &compilation.diagnostics {
            let places = diagnostic.labels.iter();
            said.extend(places.map(|label| &*compilation.sources.get(label.span.file).path));
            // It may be about any file.
            diagnostic.primary().filter(|at| at.file != PROJECT_FILE)?;
        }
        let mut primitives: HashMap<(&str, &str), Vec<(Kind, Fingerprint)>> = HashMap::new();
        for it in &compilation.primitives {
            let workload = primitives.entry((&it.address.domain, &it.address.name)).or_default();
            workload.push((it.address.kind, it.fingerprint.clone()));
        }
        let mut files: BTreeMap<String, Vec<File>> = BTreeMap::new();
        // What is made of a workload of a group depends on the files of the others, too.
        let mut grouped: BTreeSet<String> = BTreeSet::new();
        for node in &compilation.graph.nodes {
            let path = compilation.sources.get(node.at.file).path.to_string();
            if node.member.is_some() {
                grouped.insert(path);
                continue;
            }
            let file = match outcome.read.get(&path) {
                Some(read) => {
                    let primitives = primitives.remove(&(node.domain.as_str(), node.name.as_str()));
                    let workload = (node.domain.clone(), node.name.clone());
                    primitives.map(|primitives| File { read: read.clone(), workload, primitives })
                }
                None => before.and_then(|before| before.files.get(&path).cloned()),
            };
            files.entry(path).or_default().push(file?);
        }
        let clean = |read: &Read| !read.iter().any(|(path, _)| said.contains(path.as_str()));
        let single = files.into_iter().filter_map(|(path, mut all)| {
            let file =
                all.pop().filter(|file| all.is_empty() && clean(&file.read) && !grouped.contains(&path))?;
            Some((path, file))
        });
        Some(Self { made_with: made_with(home, target)?, files: single.collect() })
    }
}

/// Loads for one file, and remembers what was read.
#[derive(Debug)]
pub(crate) struct Recorder<'a> {
    loader: EntryLoader<'a>,
    read: Mutex<Read>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(loader: EntryLoader<'a>) -> Self {
        Self { loader, read: Mutex::default() }
    }

    fn remember(&self, path: &str, fingerprint: Option<Fingerprint>) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.push((path.to_owned(), fingerprint));
    }

    pub(crate) fn into_read(self) -> Read {
        self.read.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SourceLoader for Recorder<'_> {
    fn load(&self, path: &str) -> Result<String, LoadError> {
        let text = self.loader.load(path)?;
        self.remember(path, Some(Fingerprint::of(&text)));
        Ok(text)
    }

    fn check(&self, path: &str) -> Result<(), LoadError> {
        self.loader.check(path)?;
        self.remember(path, None);
        Ok(())
    }
}

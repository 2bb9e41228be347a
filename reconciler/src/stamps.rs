//! What DAG files say of as what they are applied: the revision, and the commit that it came from.
//!
//! A primitive knows neither, so that it is the same wherever it is compiled. What is published is a function of what
//! the registry has of an address, and of nothing else: so whoever writes a file, whenever, writes the same.

use std::collections::{BTreeMap, BTreeSet};

use dcp_compiler::airflow::stamped;
use dcp_model::primitive::{Fingerprint, Orchestrator};

use crate::apply::{Error, Target, orchestrator};
use crate::dags::File;
use crate::registry::{self, Entry, State};

/// As many commits are asked for at once.
const AT_ONCE: u64 = 1000;

/// The file of a DAG that is applied.
pub(crate) fn file(made: Orchestrator, revision: u64, commit: Option<&str>) -> File {
    let Orchestrator { file: name, content, .. } = made;
    File { name, content: stamped(&content, revision, commit) }
}

/// The files of DAGs that are applied, in the order of their entries.
pub(crate) async fn files(target: Target<'_>, state: &State, entries: &[&Entry]) -> Result<Vec<File>, Error> {
    let wanted: Vec<Fingerprint> = entries.iter().map(|entry| entry.fingerprint.clone()).collect();
    let texts = target.registry.bodies(target.scope, &wanted).await?;
    let commits = commits(target, state, entries.iter().map(|entry| entry.serial).collect()).await?;
    let one = |(text, entry): (&String, &&Entry)| {
        let commit = commits.get(&entry.serial).map(String::as_str);
        Ok(file(orchestrator(text)?, entry.revision, commit))
    };
    texts.iter().zip(entries).map(one).collect()
}

/// The commits of the repository that some serials were applied from, where that is known.
async fn commits(
    target: Target<'_>,
    state: &State,
    mut serials: BTreeSet<u64>,
) -> registry::Result<BTreeMap<u64, String>> {
    let mut commits = BTreeMap::new();
    if let Some(applied) = state.applied.as_ref().filter(|applied| serials.remove(&applied.serial)) {
        commits.extend(applied.commit.clone().map(|commit| (applied.serial, commit)));
    }
    // Serials lie close together as a rule, and so each page has many of them.
    while let Some(last) = serials.pop_last() {
        let first = serials.first().copied().unwrap_or(last);
        let limit = (last - first + 1).min(AT_ONCE);
        let limit = u32::try_from(limit).expect("it is a thousand at most");
        let page = target.registry.history(target.scope, last.checked_add(1), limit).await?;
        for applied in page {
            if applied.serial == last || serials.remove(&applied.serial) {
                commits.extend(applied.commit.map(|commit| (applied.serial, commit)));
            }
        }
    }
    Ok(commits)
}

//! The DAG files of applied primitives, stamped with the revision and the commit.
//!
//! A primitive holds neither, so its content is the same wherever it is compiled. A file is a function of what the
//! registry stores at its address, so all writers write the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use dcp_compiler::airflow::stamped;
use dcp_model::primitive::{Body, Fingerprint, Kind, Orchestrator};

use super::File;
use crate::registry::{Error, Registry, Result};
use crate::state::{Entry, Scope, State};

/// Commits in one request.
const COMMITS_PER_REQUEST: u64 = 1000;

/// Returns the file of an applied DAG.
pub(crate) fn file(made: Orchestrator, revision: u64, commit: Option<&str>) -> File {
    let Orchestrator { file: name, content, .. } = made;
    File { name, content: stamped(&content, revision, commit) }
}

/// Returns the files of applied DAGs in the order of their entries.
pub(crate) async fn files(
    registry: &dyn Registry,
    scope: &Scope,
    state: &State,
    entries: &[&Entry],
) -> Result<Vec<File>> {
    let wanted: Vec<Fingerprint> = entries.iter().map(|entry| entry.fingerprint.clone()).collect();
    let texts = registry.bodies(scope, &wanted).await?;
    let commits = commits(registry, scope, state, entries.iter().map(|entry| entry.serial).collect()).await?;
    let one = |(text, entry): (&String, &&Entry)| {
        let commit = commits.get(&entry.serial).map(String::as_str);
        Ok(file(orchestrator(text).map_err(Error::Corrupt)?, entry.revision, commit))
    };
    texts.iter().zip(entries).map(one).collect()
}

/// Returns the Git commits that serials were applied from, where they are known.
async fn commits(
    registry: &dyn Registry,
    scope: &Scope,
    state: &State,
    mut serials: BTreeSet<u64>,
) -> Result<BTreeMap<u64, String>> {
    let mut commits = BTreeMap::new();
    if let Some(applied) = state.applied.as_ref().filter(|applied| serials.remove(&applied.serial)) {
        commits.extend(applied.commit.clone().map(|commit| (applied.serial, commit)));
    }
    // Serials are usually close together, so each page has many of them.
    while let Some(last) = serials.pop_last() {
        let first = serials.first().copied().unwrap_or(last);
        let limit = (last - first + 1).min(COMMITS_PER_REQUEST);
        let limit = u32::try_from(limit).expect("it is a thousand at most");
        let page = registry.history(scope, last.checked_add(1), limit).await?;
        for applied in page {
            if applied.serial == last || serials.remove(&applied.serial) {
                commits.extend(applied.commit.map(|commit| (applied.serial, commit)));
            }
        }
    }
    Ok(commits)
}

/// Parses the DAG of a stored or planned primitive. An error says what is wrong with it.
pub(crate) fn orchestrator(text: &str) -> std::result::Result<Orchestrator, String> {
    match Body::parse(Kind::Orchestrator, text) {
        Ok(Body::Orchestrator(orchestrator)) => Ok(*orchestrator),
        Ok(_) => Err("a primitive is not the DAG that its address says it is".to_owned()),
        Err(error) => Err(format!("a DAG can't be read: {error}")),
    }
}

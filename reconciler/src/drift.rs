//! Differences between applied DAGs and the files in the DAG folder.

use std::collections::{BTreeMap, BTreeSet};

use dcp_model::primitive::{Address, Kind};
use serde::Serialize;

use crate::apply::{Error, Target};
use crate::publish::{File, files};
use crate::state::{Entry, State};

/// A DAG file that is not as applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    pub file: String,
    pub kind: DriftKind,
    /// The workload that it is of, where that is known.
    pub workload: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DriftKind {
    /// Somebody changed it by hand.
    Changed,
    Missing,
    /// dcp made it, and nothing that is applied here has it: another project may.
    Extra,
}

/// All files that differ, and what those should be that are applied.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub drifts: Vec<Drift>,
    due: Vec<File>,
}

/// Compares the folder of DAG files with the registry.
pub async fn find(target: Target<'_>, state: &State) -> Result<Found, Error> {
    let applied = state.entries.iter().filter(|(address, _)| address.kind == Kind::Orchestrator);
    let (addresses, entries): (Vec<&Address>, Vec<&Entry>) = applied.unzip();
    let mut expected: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (address, File { name, content }) in
        addresses.iter().zip(files::files(target.registry, target.scope, state, &entries).await?)
    {
        expected.insert(name, (format!("{}/{}", address.domain, address.name), content));
    }
    let ours: BTreeSet<String> = expected.keys().cloned().collect();
    let there: BTreeSet<String> = target.dags.list().await?.into_iter().map(|it| it.name).collect();
    let mut found = Found::default();
    for (name, (workload, content)) in expected {
        let kind = match there.contains(&name) {
            false => DriftKind::Missing,
            true if target.dags.read(&name).await?.as_deref() != Some(content.as_bytes()) => {
                DriftKind::Changed
            }
            true => continue,
        };
        found.drifts.push(Drift { file: name.clone(), kind, workload: Some(workload) });
        found.due.push(File { name, content });
    }
    let extra = there.into_iter().filter(|name| !ours.contains(name));
    found.drifts.extend(extra.map(|file| Drift { file, kind: DriftKind::Extra, workload: None }));
    Ok(found)
}

/// Makes what was changed, or is missing, what is applied. What is extra is left alone: it may be another project's.
pub async fn repair(target: Target<'_>, found: &Found) -> Result<usize, Error> {
    target.dags.put(&found.due).await?;
    Ok(found.due.len())
}

//! Differences between applied DAGs and the files in the DAG folder.

use std::collections::{BTreeMap, BTreeSet};

use dcp_model::primitive::{Address, Kind};
use serde::Serialize;

use crate::apply::{Error, Target};
use crate::publish::{File, files};
use crate::state::{Entry, State};

/// A DAG file that differs from the applied DAG.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    pub file: String,
    pub kind: DriftKind,
    /// The workload of the file, if it is known.
    pub workload: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DriftKind {
    /// The file was changed by hand.
    Changed,
    Missing,
    /// dcp wrote the file, and no DAG of this scope has it. It may belong to another project.
    Extra,
}

/// The files that differ, and the expected files.
#[derive(Debug, Clone, Default)]
pub struct DriftReport {
    pub drifts: Vec<Drift>,
    expected_files: Vec<File>,
}

/// Compares the folder of DAG files with the registry.
pub async fn find(target: Target<'_>, state: &State) -> Result<DriftReport, Error> {
    let applied = state.entries.iter().filter(|(address, _)| address.kind == Kind::Orchestrator);
    let (addresses, entries): (Vec<&Address>, Vec<&Entry>) = applied.unzip();
    let mut expected: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (address, File { name, content }) in
        addresses.iter().zip(files::files(target.registry, target.scope, state, &entries).await?)
    {
        expected.insert(name, (format!("{}/{}", address.domain, address.name), content));
    }
    let ours: BTreeSet<String> = expected.keys().cloned().collect();
    let existing: BTreeSet<String> = target.dags.list().await?.into_iter().map(|it| it.name).collect();
    let mut found = DriftReport::default();
    for (name, (workload, content)) in expected {
        let kind = match existing.contains(&name) {
            false => DriftKind::Missing,
            true if target.dags.read(&name).await?.as_deref() != Some(content.as_bytes()) => {
                DriftKind::Changed
            }
            true => continue,
        };
        found.drifts.push(Drift { file: name.clone(), kind, workload: Some(workload) });
        found.expected_files.push(File { name, content });
    }
    let extra = existing.into_iter().filter(|name| !ours.contains(name));
    found.drifts.extend(extra.map(|file| Drift { file, kind: DriftKind::Extra, workload: None }));
    Ok(found)
}

/// Restores changed and missing files. Extra files stay, as they may belong to another project.
pub async fn repair(target: Target<'_>, found: &DriftReport) -> Result<usize, Error> {
    target.dags.put(&found.expected_files).await?;
    Ok(found.expected_files.len())
}

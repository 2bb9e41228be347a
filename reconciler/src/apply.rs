//! Applies a plan.
//!
//! The order is: stage DAG files, commit to the registry, switch DAG files, remove files of deleted DAGs. So no file is
//! ever incomplete, and none belongs to a job that is not in the registry. The registry lists the commits whose files
//! are not known to be in place, so the next apply repairs what a crash left behind.

use std::collections::BTreeSet;

use dcp_model::primitive::{Address, Fingerprint, Kind, Orchestrator};
use jiff::Timestamp;

use crate::plan::Plan;
use crate::publish::files::{self, orchestrator};
use crate::publish::{self, DagFolder, File};
use crate::registry::{self, Registry};
use crate::state;
use crate::state::Action;
use crate::state::{Base, Change, Commit, Entry, Head, Scope, State};

/// The id, the author and the time of an apply's commit, as the registry records them.
#[derive(Debug, Clone)]
pub struct CommitMetadata {
    /// A random id, different for each apply.
    pub id: String,
    pub by: String,
    pub at: Timestamp,
}

/// The target of an apply.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub registry: &'a dyn Registry,
    pub dags: &'a DagFolder,
    pub scope: &'a Scope,
}

/// A finished step, reported before the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Begins to write and remove DAG files.
    Begun {
        files: usize,
        removed: usize,
    },
    Staged,
    Committed {
        serial: u64,
    },
    Switched,
    Removed,
    Published,
}

/// The result of an apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyResult {
    pub head: Head,
    pub written: usize,
    pub removed: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error(transparent)]
    Dags(#[from] publish::Error),
    /// The commit is applied; the next apply puts the files in place.
    #[error("serial {serial} is applied, but its DAG files are not all in place: {error}")]
    Unpublished { serial: u64, error: publish::Error },
    #[error("the plan is not one that can be applied: {0}")]
    Plan(String),
}

/// Applies a plan. The state must be the one that it was made against.
pub async fn apply(
    target: Target<'_>,
    plan: &Plan,
    metadata: &CommitMetadata,
    report: &mut (dyn FnMut(Step) + Send),
) -> Result<ApplyResult, Error> {
    let changes = changes(plan)?;
    let mut expected = ExpectedDags::of(target, plan, &changes).await?;
    let files = expected.files(plan.commit.as_deref());
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let obsolete_files = obsolete_files(target, plan, &names).await?;
    report(Step::Begun { files: files.len(), removed: obsolete_files.len() });
    target.dags.stage(&metadata.id, &files).await?;
    report(Step::Staged);
    let head = commit(target, plan, metadata, changes).await?;
    let serial = head.base.serial;
    let unpublished = |error| Error::Unpublished { serial, error };
    report(Step::Committed { serial });
    let applied = head.applied.as_ref().and_then(|applied| applied.commit.as_deref());
    expected.correct(target, serial).await?;
    switch(target.dags, &metadata.id, &files, expected.files(applied)).await.map_err(unpublished)?;
    report(Step::Switched);
    target.dags.remove(&obsolete_files).await.map_err(unpublished)?;
    report(Step::Removed);
    let all: Vec<String> = names.iter().chain(&obsolete_files).cloned().collect();
    put_later_commits_in_place(target, plan, head.base.clone(), &all).await?;
    target.registry.published(target.scope, &[serial]).await?;
    target.dags.discard(&metadata.id).await.map_err(unpublished)?;
    report(Step::Published);
    Ok(ApplyResult { head, written: names.len(), removed: obsolete_files.len() })
}

/// Commits the changes of a plan. Discards the staged files if the registry rejects the commit.
async fn commit(
    target: Target<'_>,
    plan: &Plan,
    metadata: &CommitMetadata,
    changes: Vec<Change>,
) -> Result<Head, Error> {
    let commit = Commit {
        id: metadata.id.clone(),
        base: plan.base.clone(),
        by: metadata.by.clone(),
        at: metadata.at,
        commit: plan.commit.clone(),
        changes,
    };
    let result = target.registry.commit(target.scope, commit).await;
    // If the response was lost, the commit may be applied. Then its staged files are needed.
    if let Err(registry::Error::Moved(_) | registry::Error::Invalid(_) | registry::Error::Denied(_)) = result
    {
        target.dags.discard(&metadata.id).await?;
    }
    Ok(result?)
}

/// Switches the staged files, and writes those whose content differs from the staged one.
async fn switch(dags: &DagFolder, id: &str, staged: &[File], files: Vec<File>) -> Result<(), publish::Error> {
    let (as_staged, others): (Vec<File>, Vec<File>) =
        files.into_iter().partition(|file| staged.contains(file));
    match dags.switch(id, &as_staged).await {
        // Another apply removed the staged files as leftovers of a crash.
        Err(publish::Error::NotStaged { .. }) => dags.put(&as_staged).await?,
        other => other?,
    }
    dags.put(&others).await
}

/// Puts the files of commits after `seen` in place, until the files match the head.
///
/// A concurrent apply may have written older files, so the commit stays unpublished until then.
async fn put_later_commits_in_place(
    target: Target<'_>,
    plan: &Plan,
    mut seen: Base,
    names: &[String],
) -> Result<(), Error> {
    let touched = addresses(plan)?;
    loop {
        let state = target.registry.state(target.scope).await?;
        if state.base == seen {
            return Ok(());
        }
        put_in_place(target, &state, &touched, names).await?;
        seen = state.base;
    }
}

/// Puts the unpublished DAG files of earlier applies in place, and returns their number.
pub async fn repair(target: Target<'_>, state: &State) -> Result<usize, Error> {
    let mut touched = BTreeSet::new();
    let mut names = BTreeSet::new();
    for &serial in &state.unpublished {
        let before = target.registry.state_at(target.scope, serial.saturating_sub(1)).await?;
        let after = target.registry.state_at(target.scope, serial).await?;
        let of =
            |state: &State, address: &Address| state.entries.get(address).map(|it| it.fingerprint.clone());
        let all =
            before.entries.keys().chain(after.entries.keys()).filter(|it| it.kind == Kind::Orchestrator);
        let changed: BTreeSet<&Address> = all.filter(|it| of(&before, it) != of(&after, it)).collect();
        let sides = changed.iter().flat_map(|address| [of(&before, address), of(&after, address)]);
        let bodies: Vec<Fingerprint> = sides.flatten().collect();
        for text in target.registry.bodies(target.scope, &bodies).await? {
            names.insert(orchestrator(&text).map_err(registry::Error::Corrupt)?.file);
        }
        touched.extend(changed.into_iter().cloned());
    }
    let names: Vec<String> = names.into_iter().collect();
    let repaired = put_in_place(target, state, &touched, &names).await?;
    if !state.unpublished.is_empty() {
        target.registry.published(target.scope, &state.unpublished).await?;
    }
    target.dags.clean().await?;
    Ok(repaired)
}

/// Writes the files of these addresses as the registry has them, and removes the files among `names` that no DAG has.
async fn put_in_place(
    target: Target<'_>,
    state: &State,
    touched: &BTreeSet<Address>,
    names: &[String],
) -> Result<usize, Error> {
    let orchestrators = touched.iter().filter(|address| address.kind == Kind::Orchestrator);
    let entries: Vec<&Entry> = orchestrators.filter_map(|address| state.entries.get(address)).collect();
    let files = files::files(target.registry, target.scope, state, &entries).await?;
    let current: BTreeSet<&String> = files.iter().map(|file| &file.name).collect();
    let obsolete_files: Vec<String> = names.iter().filter(|name| !current.contains(name)).cloned().collect();
    target.dags.put(&files).await?;
    target.dags.remove(&obsolete_files).await?;
    Ok(files.len() + obsolete_files.len())
}

fn changes(plan: &Plan) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for step in plan.workloads.iter().flat_map(|workload| &workload.steps) {
        let body = match (&step.after, &step.body) {
            (Some(fingerprint), Some(text)) => {
                Some(state::Body { fingerprint: fingerprint.clone(), text: text.clone() })
            }
            (None, None) if step.action == Action::Delete => None,
            _ => return Err(Error::Plan(format!("`{}` has no body", step.address))),
        };
        changes.push(Change { address: address(&step.address)?, action: step.action, body });
    }
    Ok(changes)
}

fn addresses(plan: &Plan) -> Result<BTreeSet<Address>, Error> {
    plan.workloads.iter().flat_map(|workload| &workload.steps).map(|step| address(&step.address)).collect()
}

fn address(text: &str) -> Result<Address, Error> {
    text.parse().map_err(Error::Plan)
}

/// New and changed DAGs, each with its expected revision.
///
/// Files are staged before the commit, which decides the revision: a DAG that was deleted and comes back continues the
/// revisions of its address. So an expected revision can be wrong.
struct ExpectedDags {
    dags: Vec<(Address, Orchestrator, u64)>,
    /// Set if some of the DAGs may have had a revision before.
    uncertain: bool,
}

impl ExpectedDags {
    async fn of(target: Target<'_>, plan: &Plan, changes: &[Change]) -> Result<Self, Error> {
        let mut dags = Vec::new();
        for change in changes.iter().filter(|change| change.address.kind == Kind::Orchestrator) {
            if let Some(body) = &change.body {
                let dag = orchestrator(&body.text).map_err(Error::Plan)?;
                dags.push((change.address.clone(), dag, 1));
            }
        }
        // In a scope without commits, all revisions are the first.
        if dags.is_empty() || plan.base.serial == 0 {
            return Ok(Self { dags, uncertain: false });
        }
        let state = target.registry.state(target.scope).await?;
        let mut uncertain = false;
        for (address, _, revision) in &mut dags {
            match state.entries.get(address) {
                Some(entry) => *revision = entry.revision + 1,
                None => uncertain = true,
            }
        }
        Ok(Self { dags, uncertain })
    }

    /// Corrects the revisions after the commit.
    async fn correct(&mut self, target: Target<'_>, serial: u64) -> Result<(), Error> {
        if self.uncertain {
            let state = target.registry.state_at(target.scope, serial).await?;
            for (address, _, revision) in &mut self.dags {
                *revision = state.entries.get(address).map_or(*revision, |entry| entry.revision);
            }
        }
        Ok(())
    }

    fn files(&self, commit: Option<&str>) -> Vec<File> {
        self.dags.iter().map(|(_, made, revision)| files::file(made.clone(), *revision, commit)).collect()
    }
}

/// Returns the DAG files that no DAG has any more.
async fn obsolete_files(target: Target<'_>, plan: &Plan, current: &[String]) -> Result<Vec<String>, Error> {
    let steps = plan.workloads.iter().flat_map(|workload| &workload.steps);
    let mut before = Vec::new();
    for step in steps {
        if let Some(fingerprint) = &step.before
            && address(&step.address)?.kind == Kind::Orchestrator
        {
            before.push(fingerprint.clone());
        }
    }
    let texts = target.registry.bodies(target.scope, &before).await?;
    let old = texts.iter().map(|text| orchestrator(text).map_err(registry::Error::Corrupt));
    let old = old.collect::<registry::Result<Vec<_>>>()?;
    let current: BTreeSet<&String> = current.iter().collect();
    Ok(old.into_iter().map(|it| it.file).filter(|name| !current.contains(name)).collect())
}

//! Ends applications without an owner, such as after the database of their control plane was restored from a backup.
//!
//! An application has an owner while the database has its cluster, or while its execution has not ended. Each record has
//! the identity of its control plane. If an application of this identity has no owner, its record gets a mark with the
//! time. A Gateway with a copy of the database that finds an owner replaces the mark by a claim, and the application goes
//! on. It is ended once the mark is older than [`Orphans::after`]. The order excludes races:
//!
//! 1. Records are listed before the database is read. A record is created after its binding is stored, and deleted
//!    before the binding is removed.
//! 2. Before an application is stopped, it is bound to no cluster ([`Binding::Stopped`]), in the database that decides
//!    where applications may be created. One that was bound meanwhile has an owner.
//! 3. The stop is stored in the record with a replace that fails if the record has changed since it was listed, such as
//!    by a claim.
//!
//! A Gateway that is paused between two of these steps fails at the next one.

mod decision;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream;
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Binding, Cluster, Inner};
use crate::error::Result;
use crate::{Name, OrphanMark, Phase, Recorded};
use decision::{Facts, Verdict, decide};

/// The treatment of applications without an owner on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orphans {
    pub action: OrphanAction,
    /// The minimum age of an application, and the time for which it must have no owner, before it is ended.
    pub after: Duration,
}

impl Default for Orphans {
    fn default() -> Self {
        Self { action: OrphanAction::End, after: Duration::from_hours(1) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanAction {
    /// End them, and remove everything stored of them.
    End,
    /// Only count them.
    Report,
}

/// The number of applications on a cluster that this control plane does not run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unowned {
    /// Applications of other control planes, and those that were created before dcp stored identities.
    pub others: u32,
    /// Applications of this control plane without an owner.
    pub orphans: u32,
    /// Those that a Gateway with a copy of the database owns.
    pub claimed: u32,
    /// Those that this process has removed.
    pub removed: u32,
}

/// The state of a process about the sweeps of a cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Sweep {
    /// The times since which this process has seen marks, and no owner.
    marked: HashMap<Name, Instant>,
    pub(super) unowned: Unowned,
    /// The error of the last sweep.
    problem: Option<String>,
}

/// Longest interval between two sweeps.
const MAX_INTERVAL: Duration = Duration::from_mins(1);
/// Maximum time of one sweep. The next one continues.
const TIMEOUT: Duration = Duration::from_mins(2);
/// Maximum number of applications that are changed at the same time.
const MAX_CHANGES: usize = 8;
/// Grace period of a driver without an owner.
const GRACE: Duration = Duration::from_mins(1);
/// Maximum number of names in a message.
const MAX_NAMES: usize = 5;

/// Sweeps all clusters until their backend is dropped.
pub(super) async fn sweep_all(inner: Weak<Inner>) {
    while let Some(inner) = inner.upgrade() {
        let clusters: Vec<(String, Arc<Cluster>)> =
            inner.clusters().iter().map(|(name, cluster)| (name.clone(), Arc::clone(cluster))).collect();
        join_all(clusters.iter().map(|(name, cluster)| sweep(name, cluster, &inner))).await;
        let shortest = clusters.iter().map(|(_, cluster)| cluster.member.orphans.after / 4).min();
        drop(inner);
        tokio::time::sleep(shortest.unwrap_or(MAX_INTERVAL).min(MAX_INTERVAL)).await;
    }
}

/// Sweeps one cluster. After an error, the marks that this process has seen stay.
async fn sweep(name: &str, cluster: &Cluster, inner: &Inner) {
    // The health check reports a cluster that does not respond.
    let Ok(Ok(recorded)) = tokio::time::timeout(TIMEOUT, cluster.member.compute.recorded()).await else {
        return;
    };
    let problem = match tokio::time::timeout(TIMEOUT, round(name, cluster, inner, &recorded)).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("it takes longer than {TIMEOUT:?}")),
    };
    let mut sweep = cluster.sweep();
    if problem.is_some() && problem != sweep.problem {
        let why = problem.as_deref().unwrap_or_default();
        (inner.log)(&format!("cluster `{name}`: applications without an owner are not ended: {why}"));
    }
    sweep.problem = problem;
}

async fn round(name: &str, cluster: &Cluster, inner: &Inner, recorded: &[Recorded]) -> Result<()> {
    let own = inner.bindings.identity().await?;
    let names: Vec<Name> = recorded.iter().map(|it| it.name.clone()).collect();
    let owned = inner.bindings.with_owner(&names).await?;
    let verdicts = assess(cluster, (inner.clock)(), &own, recorded, &owned);
    let is_new = |(_, verdict): &&(&Recorded, Verdict)| *verdict == Verdict::Mark;
    let marked: Vec<&Name> = verdicts.iter().filter(is_new).map(|(it, _)| &it.name).collect();
    if !marked.is_empty() {
        let after = cluster.member.orphans.after;
        (inner.log)(&format!(
            "cluster `{name}`: the database has no owner of {}; they are ended in {after:?} unless one appears",
            listed(&marked)
        ));
    }
    let mut changes = Vec::new();
    for (it, verdict) in verdicts.iter().filter(|(_, verdict)| verdict.is_change()) {
        changes.push(perform(name, cluster, inner, it, *verdict).boxed());
    }
    let results: Vec<Result<()>> = stream::iter(changes).buffer_unordered(MAX_CHANGES).collect().await;
    results.into_iter().collect()
}

/// Decides about all applications of a cluster, and counts them.
fn assess<'r>(
    cluster: &Cluster,
    now: Timestamp,
    own: &str,
    recorded: &'r [Recorded],
    owned: &HashSet<Name>,
) -> Vec<(&'r Recorded, Verdict)> {
    let mut sweep = cluster.sweep();
    let is_marked = |it: &&Recorded| {
        let is_own = it.control_plane.as_deref() == Some(own);
        is_own && !owned.contains(&it.name) && matches!(it.mark, Some(OrphanMark::Since(_)))
    };
    let now_marked: HashSet<&Name> = recorded.iter().filter(is_marked).map(|it| &it.name).collect();
    sweep.marked.retain(|name, _| now_marked.contains(name));
    for name in now_marked {
        sweep.marked.entry(name.clone()).or_insert_with(Instant::now);
    }
    let verdict = |recorded: &'r Recorded| {
        let age = recorded.created.map_or(SignedDuration::ZERO, |created| now.duration_since(created));
        let (is_owned, orphans) = (owned.contains(&recorded.name), cluster.member.orphans);
        let marked_for = sweep.marked.get(&recorded.name).map(Instant::elapsed);
        (recorded, decide(&Facts { recorded, own, is_owned, age, marked_for, orphans }))
    };
    let verdicts: Vec<_> = recorded.iter().map(verdict).collect();
    let count = |is: fn(Verdict) -> bool| {
        u32::try_from(verdicts.iter().filter(|(_, verdict)| is(*verdict)).count()).unwrap_or(u32::MAX)
    };
    sweep.unowned = Unowned {
        others: count(|it| it == Verdict::Other),
        orphans: count(|it| matches!(it, Verdict::Orphan | Verdict::Mark | Verdict::End)),
        claimed: count(|it| it == Verdict::Claimed),
        removed: sweep.unowned.removed,
    };
    verdicts
}

async fn perform(
    name: &str,
    cluster: &Cluster,
    inner: &Inner,
    recorded: &Recorded,
    verdict: Verdict,
) -> Result<()> {
    let compute = &cluster.member.compute;
    match verdict {
        Verdict::Owned | Verdict::Other | Verdict::Claimed | Verdict::Orphan => Ok(()),
        Verdict::Mark => compute.set_mark(recorded, OrphanMark::Since((inner.clock)())).await.map(drop),
        Verdict::Claim => {
            if compute.set_mark(recorded, OrphanMark::Claimed).await? {
                (inner.log)(&format!(
                    "cluster `{name}`: another Gateway was about to end `{}`, as its copy of the database has no owner of \
                     it: use another identity for the copy, or stop that Gateway",
                    recorded.name
                ));
            }
            Ok(())
        }
        Verdict::End => end(name, cluster, inner, recorded).await,
    }
}

/// Ends an application, and removes it once it has ended. Each step is repeated with the next sweep.
async fn end(name: &str, cluster: &Cluster, inner: &Inner, recorded: &Recorded) -> Result<()> {
    let (application, compute) = (&recorded.name, &cluster.member.compute);
    // From here on, no creator gets a cluster for it. The binding stays, for a creator that was paused.
    if inner.bindings.bind(application, Binding::Stopped).await? != Binding::Stopped {
        return Ok(());
    }
    if !compute.stop_recorded(recorded, GRACE).await? {
        return Ok(());
    }
    let status = cluster.status_of(application).await?;
    if status.is_some_and(|status| status.phase != Phase::Ended) {
        return Ok(());
    }
    compute.forget(application).await?;
    cluster.note(application, None);
    cluster.sweep().unowned.removed += 1;
    (inner.log)(&format!("cluster `{name}`: ended and removed `{application}`, which had no owner"));
    Ok(())
}

/// Lists the first names, and the number of all.
fn listed(names: &[&Name]) -> String {
    let first: Vec<String> = names.iter().take(MAX_NAMES).map(|name| format!("`{name}`")).collect();
    let rest = names.len().saturating_sub(MAX_NAMES);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests;

//! The applied and the desired side of a workload.

use std::collections::BTreeMap;

use dcp_model::dag::Schedule;
use dcp_model::manifest::{Job, Location};
use dcp_model::primitive::{Address, Body, ContinuousJob, CoreEtlJob, Kind, Orchestrator, Pool, Primitive};
use serde_json::Value;

use super::{SourceLocation, Step, Workload};
use crate::state::{Action, Entry};

/// Finds the place of a workload's field: by domain, name, and the path in the manifest.
pub type FieldLocator<'a> = dyn Fn(&str, &str, &[&str]) -> Option<SourceLocation> + 'a;

/// Finds the place of a field by its path in the manifest.
pub(super) type WorkloadFieldLocator<'a> = dyn Fn(&[&str]) -> Option<SourceLocation> + 'a;

/// A workload with differences: all its addresses, on both sides.
#[derive(Debug, Default)]
pub(super) struct WorkloadDiff<'a> {
    pub(super) addresses: BTreeMap<&'a Address, (Option<&'a Entry>, Option<&'a Primitive>)>,
}

impl WorkloadDiff<'_> {
    pub(super) fn differs(&self) -> bool {
        let same = |(old, new): &(Option<&Entry>, Option<&Primitive>)| {
            old.map(|it| &it.fingerprint) == new.map(|it| &it.fingerprint)
        };
        !self.addresses.values().all(same)
    }

    /// Separates the DAG of a group from the workload of the same name. A new DAG decides to which of them it belongs.
    pub(super) fn split(&self, old: &BTreeMap<&Address, Body>) -> (Self, Self) {
        let (mut of_group, mut own) = (Self::default(), Self::default());
        for (&address, &(entry, new)) in &self.addresses {
            let body = new.map(|new| &new.body).or_else(|| old.get(address));
            let side = if body.and_then(group_dag).is_some() { &mut of_group } else { &mut own };
            side.addresses.insert(address, (entry, new));
        }
        (of_group, own)
    }
}

/// Returns the DAG of a primitive if it is that of a group.
pub(super) fn group_dag(body: &Body) -> Option<&Orchestrator> {
    match body {
        Body::Orchestrator(orchestrator) if orchestrator.dag.group => Some(orchestrator),
        Body::Orchestrator(_) | Body::CoreEtlJob(_) | Body::ContinuousJob(_) | Body::Pool(_) => None,
    }
}

/// The kind of job and of run that plans show for a pool.
pub(super) const POOL: &str = "pool";

/// One side of a workload.
#[derive(Debug, Default)]
pub(super) struct WorkloadVersion {
    pub(super) job: Option<CoreEtlJob>,
    pub(super) continuous: Option<ContinuousJob>,
    pub(super) orchestrator: Option<Orchestrator>,
    pub(super) pool: Option<Pool>,
    /// The group whose DAG has the task of the workload.
    pub(super) group: Option<String>,
}

impl WorkloadVersion {
    pub(super) fn of(bodies: impl IntoIterator<Item = Body>, group: Option<String>) -> Self {
        let mut side = Self { group, ..Self::default() };
        for body in bodies {
            match body {
                Body::CoreEtlJob(job) => side.job = Some(*job),
                Body::ContinuousJob(job) => side.continuous = Some(*job),
                Body::Orchestrator(orchestrator) => side.orchestrator = Some(*orchestrator),
                Body::Pool(pool) => side.pool = Some(*pool),
            }
        }
        side
    }

    /// Returns the kind of run in the words of the manifest, or `pool`.
    pub(super) fn run(&self) -> Option<&'static str> {
        if self.pool.is_some() {
            return Some(POOL);
        }
        match (&self.continuous, &self.orchestrator) {
            (Some(job), _) => Some(job.kind()),
            (None, Some(orchestrator)) => Some(match orchestrator.dag.schedule {
                Schedule::Cron(_) | Schedule::Every(_) => "schedule",
                Schedule::Assets { .. } => "onAssets",
                Schedule::Manual => "manual",
            }),
            (None, None) => self.group.as_ref().map(|_| "group"),
        }
    }

    pub(super) fn exists(&self) -> bool {
        self.job.is_some() || self.run().is_some()
    }

    /// Returns whether something of it runs permanently.
    pub(super) fn is_permanent(&self) -> bool {
        self.continuous.is_some() || self.pool.is_some()
    }

    /// Returns whether it is a paused continuous job.
    pub(super) fn is_paused(&self) -> bool {
        self.continuous.as_ref().is_some_and(ContinuousJob::is_paused)
    }

    /// Returns the checkpoint, if there is one.
    pub(super) fn checkpoint(&self) -> Option<&str> {
        let of_job = || match &self.job.as_ref()?.job {
            Job::Stream(stream) => stream.checkpoint.as_ref().map(Location::as_str),
            Job::Sql(_) | Job::Pyspark(_) | Job::Jar(_) => None,
        };
        let stream = self.continuous.as_ref().and_then(ContinuousJob::continuous);
        stream.map(|it| it.checkpoint.as_str()).or_else(of_job)
    }
}

/// A planned workload with its two sides, which decide its order and renames.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) workload: Workload,
    pub(super) old: WorkloadVersion,
    pub(super) new: WorkloadVersion,
}

pub(super) fn steps(sides: &WorkloadDiff<'_>, action: Action) -> Vec<Step> {
    let mut steps = Vec::new();
    for (address, (old, new)) in &sides.addresses {
        let before = old.map(|entry| entry.fingerprint.clone());
        let after = new.map(|primitive| primitive.fingerprint.clone());
        if before == after {
            continue;
        }
        let action = match (&before, &after) {
            (None, _) => Action::Create,
            (_, None) => Action::Delete,
            (Some(_), Some(_)) if address.kind == Kind::Orchestrator => Action::Update,
            (Some(_), Some(_)) => action,
        };
        let body = new.map(|primitive| primitive.body.canonical());
        steps.push(Step { address: address.to_string(), action, before, after, body });
    }
    steps
}

/// Returns a primitive as JSON, for comparisons.
pub(super) fn to_json<T: serde::Serialize>(primitive: &T) -> Value {
    serde_json::to_value(primitive).expect("primitives have text as keys, and nothing that JSON can't hold")
}

//! The cost of a difference between two versions of a workload.

use std::collections::BTreeSet;

use dcp_model::manifest::Job;

use super::class::{self, Rule};
use super::stream::{self, StreamComparison};
use super::workload_version::WorkloadVersion;
use super::{Class, pool};

/// The applied version of a workload.
#[derive(Debug, PartialEq, Eq)]
enum Applied {
    /// It is neither continuous nor a pool.
    Batch,
    Running,
    /// It is paused before and after the change.
    Paused,
    Pool,
}

/// The facts that decide the cost of a difference.
#[derive(Debug)]
pub(super) struct CostContext {
    applied: Applied,
    streamed: BTreeSet<String>,
    pub(super) compared: Option<StreamComparison>,
    /// The state versions of a program on both sides.
    versions: (Option<u32>, Option<u32>),
    /// Set if one side is a service, which has no checkpoint.
    pub(super) service: bool,
}

impl CostContext {
    pub(super) fn of(old: &WorkloadVersion, new: &WorkloadVersion) -> Self {
        let streams = match (old.job.as_ref().map(|it| &it.job), new.job.as_ref().map(|it| &it.job)) {
            (Some(Job::Stream(old)), Some(Job::Stream(new))) => Some((old, new)),
            _ => None,
        };
        let streamed = streams.into_iter().flat_map(|(old, new)| {
            let names = old.sources.keys().chain(new.sources.keys()).map(|name| name.as_str().to_owned());
            names.filter(|name| stream::reads_as_stream(old, name) || stream::reads_as_stream(new, name))
        });
        let version = |side: &WorkloadVersion| side.continuous.as_ref()?.continuous()?.state_version;
        let is_service =
            |side: &WorkloadVersion| side.continuous.as_ref().is_some_and(|it| it.continuous().is_none());
        Self {
            applied: match () {
                () if old.pool.is_some() => Applied::Pool,
                () if old.continuous.is_none() => Applied::Batch,
                () if old.is_paused() && new.is_paused() => Applied::Paused,
                () => Applied::Running,
            },
            streamed: streamed.collect(),
            compared: streams.map(|(old, new)| stream::compare(old, new)),
            versions: (version(old), version(new)),
            service: is_service(old) || is_service(new),
        }
    }

    pub(super) fn is_batch(&self) -> bool {
        self.applied == Applied::Batch
    }

    /// Returns the cost of a difference and the reason, or none if the difference is not shown.
    pub(super) fn cost_of(&self, path: &[String]) -> Option<(Class, String)> {
        if self.applied == Applied::Pool && pool::is_derived(path) {
            return None;
        }
        let Some((rule, why)) = class::row(path) else {
            return Some((
                Class::Unknown,
                "this version of dcp does not know what the field does".to_owned(),
            ));
        };
        let stateful = self.compared.as_ref().and_then(|compared| compared.stateful);
        let (class, why) = match rule {
            Rule::Always(class) if path.ends_with(&["stateVersion".to_owned()]) => self.version(class, why),
            Rule::Always(class) => (class, why.to_owned()),
            Rule::ResetIfStreamed if path.get(3).is_some_and(|name| self.streamed.contains(name)) => {
                (Class::Reset, why.to_owned())
            }
            Rule::ResetIfStreamed => (Class::Restart, "the next batch reads it from there".to_owned()),
            Rule::ResetIfStateful | Rule::UnknownIfStateful if stateful == Some(false) => {
                (Class::Restart, "the query keeps no state".to_owned())
            }
            Rule::ResetIfStateful if stateful == Some(true) => (Class::Reset, why.to_owned()),
            Rule::ResetIfStateful | Rule::UnknownIfStateful => (Class::Unknown, why.to_owned()),
            Rule::ByStateVersion => self.program(),
            Rule::NotContinuous => (Class::InPlace, "the next run takes it".to_owned()),
            Rule::ByQuery | Rule::ByShare | Rule::Derived | Rule::Identity => return None,
        };
        Some(self.lower_class(class, why))
    }

    /// Lowers the class of a change: a job that does not run can't restart, and a service or a pool can't lose a
    /// checkpoint.
    pub(super) fn lower_class(&self, class: Class, why: String) -> (Class, String) {
        let (class, why) = match class {
            Class::Unknown | Class::Reset if self.service => {
                (Class::Restart, "the service restarts with it".to_owned())
            }
            _ => (class, why),
        };
        match (class, &self.applied) {
            (Class::Restart, Applied::Batch) => (Class::InPlace, "the next run takes it".to_owned()),
            (Class::Restart, Applied::Paused) => {
                (Class::InPlace, "it is paused, and takes this when it goes on".to_owned())
            }
            (Class::Restart | Class::Unknown | Class::Reset, Applied::Pool) => {
                (Class::Restart, pool::REPLACED.to_owned())
            }
            _ => (class, why),
        }
    }

    fn version(&self, class: Class, why: &str) -> (Class, String) {
        match self.versions {
            (Some(_), Some(_)) => (class, why.to_owned()),
            _ => {
                (Class::InPlace, "it begins, or ceases, to say whether the old state can be read".to_owned())
            }
        }
    }

    fn program(&self) -> (Class, String) {
        match self.versions {
            _ if self.is_batch() => (Class::Restart, String::new()),
            (Some(_), Some(new)) => {
                (Class::Restart, format!("`stateVersion: {new}` says what becomes of the state"))
            }
            _ => (
                Class::Unknown,
                "what a program keeps as state only its author knows: `run.continuous.stateVersion` can say it"
                    .to_owned(),
            ),
        }
    }
}

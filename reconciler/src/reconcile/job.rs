//! A continuous job, as the acting reconciler knows it.

use dcp_runner::execution::Id;
use jiff::Timestamp;

use super::store::{Key, StoredJob};
use super::{Condition, Desired, Observed, Requested, RunStatus};

/// A continuous job, with the reconciler's knowledge of it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: Key,
    /// The domain of the workload; `name` is its name.
    pub(super) domain: String,
    pub(super) name: String,
    pub(super) desired: Option<Desired>,
    /// The reason why the declared settings can't be read. Then nothing is done to the job.
    pub(super) unreadable: Option<String>,
    pub(super) requested: Requested,
    pub(super) stored: StoredJob,
    pub(super) observed: Observed,
    /// A live execution of this workload that is not its run. The worker checks who submitted it.
    pub(super) suspect: Option<Id>,
    /// A live execution that somebody else submitted.
    pub(super) foreign: Option<String>,
    /// The time since when the run reports no progress.
    pub(super) silent_since: Option<Timestamp>,
    /// The last report of completion in this term.
    pub(super) completed_up_to: Option<UpTo>,
    /// The time of the next decision, if nothing changes before.
    pub(super) wake: Option<Timestamp>,
    pub(super) condition: Condition,
}

impl Job {
    pub(super) fn new(key: Key, stored: StoredJob) -> Option<Self> {
        let (domain, name) = key.address.split_once('/')?.1.split_once('/')?;
        let (domain, name) = (domain.to_owned(), name.to_owned());
        // The status of a stored run is unknown at first.
        let run = if stored.state.run.is_some() { RunStatus::Unknown } else { RunStatus::Nothing };
        let (desired, unreadable, requested) = (None, None, Requested::default());
        let observed = Observed { run, orphan: None };
        Some(Self {
            key,
            domain,
            name,
            desired,
            unreadable,
            requested,
            stored,
            observed,
            suspect: None,
            foreign: None,
            silent_since: None,
            completed_up_to: None,
            wake: None,
            condition: Condition::Unknown,
        })
    }

    pub(super) fn execution(&self) -> Option<&str> {
        self.stored.state.run.as_ref()?.execution.as_deref()
    }
}

/// The time up to which a stream's output is complete, for the state that began with a revision. A stream with a new
/// state begins at its first event again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UpTo {
    pub(super) state: u64,
    pub(super) time: Timestamp,
}

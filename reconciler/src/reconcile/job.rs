//! A continuous job, as the acting reconciler knows it.

use dcp_runner::execution::Id;
use jiff::Timestamp;

use super::store::{Key, StoredJob};
use super::{Condition, Desired, Observed, Requested, RunStatus};

/// A continuous job, with all that is known of it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: Key,
    /// What `domain/name` it is.
    pub(super) domain: String,
    pub(super) name: String,
    pub(super) desired: Option<Desired>,
    /// Why what is declared of it can't be read. Then it is left as it is.
    pub(super) unreadable: Option<String>,
    pub(super) requested: Requested,
    pub(super) stored: StoredJob,
    pub(super) observed: Observed,
    /// What is alive of this job and is not its run: it has to be seen whose it is.
    pub(super) suspect: Option<Id>,
    /// What was seen to be somebody else's.
    pub(super) foreign: Option<String>,
    /// Since when nothing is told of how it is, though it runs.
    pub(super) silent: Option<Timestamp>,
    /// The last that was told to be complete of it, since it is known here.
    pub(super) complete: Option<UpTo>,
    /// When it has to be decided about, whatever happens.
    pub(super) wake: Option<Timestamp>,
    pub(super) condition: Condition,
}

impl Job {
    pub(super) fn new(key: Key, stored: StoredJob) -> Option<Self> {
        let (domain, name) = key.address.split_once('/')?.1.split_once('/')?;
        let (domain, name) = (domain.to_owned(), name.to_owned());
        // What was going on is not known yet.
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
            silent: None,
            complete: None,
            wake: None,
            condition: Condition::Unknown,
        })
    }

    pub(super) fn execution(&self) -> Option<&str> {
        self.stored.state.run.as_ref()?.execution.as_deref()
    }
}

/// Up to when a stream's output is complete, by the revision that began its state: one that begins anew begins at the
/// first event again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UpTo {
    pub(super) state: u64,
    pub(super) time: Timestamp,
}

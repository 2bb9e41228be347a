//! Shared state of the task that drives an execution.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::observe::Observed;
use crate::progress::Progress;

#[derive(Debug)]
pub(super) struct Task {
    /// Notified when the execution may have changed, or may start.
    pub(super) wake: Notify,
    /// The version that the task knows; watchers are notified of each change.
    pub(super) version: watch::Sender<u64>,
    /// Set once the task knows the status of the execution.
    pub(super) status_known: watch::Sender<bool>,
    /// The last status of its application.
    pub(super) observed: Observed,
    waiting: Mutex<Waiting>,
    /// Progress of its queries, and whether it is stored already.
    progress: Mutex<(Option<Progress>, bool)>,
}

/// The reason for which an execution is not started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Waiting {
    #[default]
    Nothing,
    /// A slot of its backend.
    Slot,
    /// The limit of its domain is reached.
    Limit(u32),
    /// Earlier executions of its domain, which has a limit.
    Line(u32),
}

impl Task {
    pub(super) fn new(version: u64) -> Self {
        Self {
            wake: Notify::new(),
            version: watch::Sender::new(version),
            status_known: watch::Sender::new(false),
            observed: Observed::default(),
            waiting: Mutex::default(),
            progress: Mutex::new((None, true)),
        }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, (Option<Progress>, bool)> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn waiting(&self) -> Waiting {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_waiting(&self, waiting: Waiting) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }
}

impl Waiting {
    /// Returns the message for users.
    pub(super) fn message(self, domain: &str) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Slot => Some("as many attempts are alive as there may be at once".to_owned()),
            Self::Limit(limit) => Some(format!(
                "as many executions of the domain `{domain}` run as may at once (limit `running: {limit}` of the policy)"
            )),
            Self::Line(limit) => Some(format!(
                "earlier executions of the domain `{domain}` start first, of which {limit} may run at once (limit \
                 `running: {limit}` of the policy)"
            )),
        }
    }
}

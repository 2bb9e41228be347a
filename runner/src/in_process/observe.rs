//! Watches the backends, so that the task of an execution learns at once that its application has changed.
//!
//! Each backend has one watch. The last status of each application is kept with the task of its execution; as long as
//! the watch works, tasks use it and don't call the backend. Without a watch, they poll.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dcp_gateway::{Change, Compute, Status, WatchEvent};
use dcp_model::manifest;
use futures_util::StreamExt as _;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Inner;
use super::supervise::Restarts;
use crate::execution::Execution;

/// Interval at which a task calls the backend although its watch works.
const RESYNC: Duration = Duration::from_mins(1);
/// Wait before a broken watch is begun again.
const RETRY: Duration = Duration::from_secs(1);

/// The watches of all backends.
#[derive(Debug)]
pub(super) struct Watches(BTreeMap<manifest::Backend, AtomicBool>);

impl Watches {
    pub(super) fn new(backends: impl IntoIterator<Item = manifest::Backend>) -> Self {
        Self(backends.into_iter().map(|backend| (backend, AtomicBool::new(false))).collect())
    }

    /// Returns true if every change of an application is reported.
    fn is_live(&self, backend: manifest::Backend) -> bool {
        self.0.get(&backend).is_some_and(|live| live.load(Ordering::Acquire))
    }

    fn set_live(&self, backend: manifest::Backend, value: bool) {
        if let Some(live) = self.0.get(&backend) {
            live.store(value, Ordering::Release);
        }
    }
}

/// The last status of an execution's application.
#[derive(Debug, Default)]
pub(super) struct Observed {
    state: Mutex<State>,
    /// Notified when the status may have changed.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The attempt and its status, with the time at which it was known.
    known: Option<(u32, Status, Instant)>,
    /// Incremented by each change that the watch reports.
    version: u64,
}

impl Observed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a change that the watch reported. A status of an older attempt has no effect.
    fn report(&self, attempt: u32, status: Option<Status>) {
        let mut state = self.state();
        if state.known.as_ref().is_some_and(|(known, ..)| *known > attempt) {
            return;
        }
        state.known = status.map(|status| (attempt, status, Instant::now()));
        state.version += 1;
        drop(state);
        self.changed.notify_one();
    }

    fn of(&self, attempt: u32) -> Option<(Status, Instant)> {
        let state = self.state();
        let (known, status, at) = state.known.as_ref()?;
        (*known == attempt).then(|| (status.clone(), *at))
    }
}

impl Inner {
    /// Returns the status of an execution's application: the one that the watch reported last, or the backend's.
    pub(super) async fn observe(
        &self,
        observed: &Observed,
        compute: &dyn Compute,
        execution: &Execution,
    ) -> dcp_gateway::Result<Option<Status>> {
        let attempt = execution.attempt();
        if self.watches.is_live(backend(execution))
            && let Some((status, at)) = observed.of(attempt)
            && at.elapsed() < RESYNC
        {
            return Ok(Some(status));
        }
        self.observe_anew(observed, compute, execution).await
    }

    /// Returns the status that the backend has now.
    pub(super) async fn observe_anew(
        &self,
        observed: &Observed,
        compute: &dyn Compute,
        execution: &Execution,
    ) -> dcp_gateway::Result<Option<Status>> {
        let attempt = execution.attempt();
        let version = observed.state().version;
        let status = compute.get(&execution.name().parse()?).await?;
        let mut state = observed.state();
        // A change that was reported during the call is newer than its response.
        if state.version != version
            && let Some((known, status, _)) = &state.known
            && *known == attempt
        {
            return Ok(Some(status.clone()));
        }
        state.known = status.clone().map(|status| (attempt, status, Instant::now()));
        Ok(status)
    }

    /// Returns the time until the status of an execution is read again, unless a change is reported before.
    pub(super) fn poll_interval(&self, execution: &Execution) -> Duration {
        if self.watches.is_live(backend(execution)) { RESYNC } else { self.options.poll_interval }
    }
}

/// Returns the backend of the current attempt.
pub(super) fn backend(execution: &Execution) -> manifest::Backend {
    execution.attempts.last().map_or(execution.backend, |attempt| attempt.backend)
}

/// Watches a backend until the Runner stops.
pub(super) async fn run(inner: Arc<Inner>, backend: manifest::Backend, compute: Arc<dyn Compute>) {
    let mut stopping = inner.stopping.subscribe();
    let watching = async {
        let mut restarts = Restarts::new();
        while restarts.panicked(watch(&inner, backend, &*compute)).await {}
    };
    tokio::select! {
        _ = stopping.wait_for(|it| *it) => {}
        () = watching => {}
    }
    inner.watches.set_live(backend, false);
}

async fn watch(inner: &Inner, backend: manifest::Backend, compute: &dyn Compute) {
    loop {
        let mut events = compute.watch();
        while let Some(Ok(event)) = events.next().await {
            match event {
                WatchEvent::Listed => inner.watches.set_live(backend, true),
                WatchEvent::Changed(change) => inner.report(change),
            }
        }
        inner.watches.set_live(backend, false);
        // Tasks that wait for a report poll from now on.
        for task in inner.tasks().values() {
            task.observed.changed.notify_one();
        }
        tokio::time::sleep(RETRY).await;
    }
}

impl Inner {
    /// Passes a change to the task of the execution, if this Runner has it.
    fn report(&self, change: Change) {
        let Some((id, attempt)) = Execution::parse_name(change.name.as_str()) else { return };
        let task = self.tasks().get(&id).cloned();
        if let Some(task) = task {
            task.observed.report(attempt, change.status);
        }
    }
}

#[cfg(test)]
mod tests {
    use dcp_gateway::Phase;

    use super::*;

    #[test]
    fn a_status_of_an_older_attempt_has_no_effect() {
        let observed = Observed::default();
        observed.report(2, Some(Status::new(Phase::Running)));
        observed.report(1, Some(Status::new(Phase::Ended)));
        assert_eq!(observed.of(2).map(|(status, _)| status.phase), Some(Phase::Running));
        assert_eq!(observed.of(1), None);
        observed.report(2, None);
        assert_eq!(observed.of(2), None);
    }
}

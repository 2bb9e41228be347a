//! Maintenance of a Runner: it sends the heartbeat, takes over from Runners that are gone, wakes the tasks of
//! executions that others changed, and removes expired data.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dcp_gateway::Name;

use super::Inner;
use super::supervise::Restarts;
use super::task::Task;
use crate::api::{Record, Result};
use crate::execution::{Id, Phase};
use crate::pace;
use crate::store::SaveExtras;

/// Minimum interval for storing the progress of streams, which other Runners read.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Maximum number of executions that one cycle cleans, and maximum number that it deletes.
const CLEANUP_BATCH: u32 = 200;

pub(super) async fn run(inner: Arc<Inner>) {
    let mut restarts = Restarts::new();
    while restarts.panicked(run_cycles(&inner)).await {}
}

async fn run_cycles(inner: &Arc<Inner>) {
    let mut stopping = inner.stopping.subscribe();
    let (mut next_drive, mut next_store) = (Instant::now(), Instant::now());
    let lease = inner.options.lease;
    loop {
        let pause = tokio::time::sleep(inner.membership.heartbeat_interval());
        tokio::select! {
            () = pause => {}
            _ = stopping.wait_for(|it| *it) => return,
        }
        // The next cycle repeats what failed; clients see the cause in their own calls.
        let _ = inner.membership.heartbeat(&inner.store).await;
        let took_over = inner.membership.take_over(&inner.store).await.unwrap_or_default();
        if took_over || Instant::now() >= next_drive {
            let started = Instant::now();
            let result = inner.drive_owned().await;
            next_drive = Instant::now() + pace::pause(&result, started.elapsed(), Duration::ZERO..=lease);
        }
        let _ = inner.clean_up().await;
        if Instant::now() >= next_store {
            let started = Instant::now();
            let result = inner.store_progress().await;
            next_store = Instant::now()
                + pace::pause(&result, started.elapsed(), PROGRESS_INTERVAL..=lease.max(PROGRESS_INTERVAL));
        }
    }
}

impl Inner {
    /// Adopts executions whose owner is no member, and drives all executions that this Runner owns.
    pub(super) async fn drive_owned(self: &Arc<Self>) -> Result<()> {
        self.membership.adopt_orphans(&self.store).await?;
        let owned = self.store.owned(&self.membership.id()).await?;
        let may_need_slot = |phase: Phase| phase.may_be_alive() && !self.slots.is_empty();
        let (alive, others): (Vec<_>, Vec<_>) = owned.into_iter().partition(|it| may_need_slot(it.2));
        // Attempts that are alive take their slots before any new attempt can.
        for (id, version, _) in alive {
            let is_new = !self.tasks().contains_key(&id);
            let known = if is_new { self.store.get(&id).await? } else { None };
            self.start_or_wake(&id, version, known, None);
        }
        for (id, version, _) in others {
            self.start_or_wake(&id, version, None, None);
        }
        Ok(())
    }

    /// Stores the progress of streams that has changed.
    async fn store_progress(&self) -> Result<()> {
        let tasks: Vec<_> = self.tasks().iter().map(|(id, task)| (id.clone(), Arc::clone(task))).collect();
        let changed: Vec<_> = tasks.iter().filter(|(_, task)| !task.progress().1).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let mark_stored = |(id, task): &&(Id, Arc<Task>)| {
            let mut progress = task.progress();
            progress.1 = true;
            (id.clone(), progress.0.clone())
        };
        let result = self
            .store
            .store_progress(&self.membership.id(), &changed.iter().map(mark_stored).collect::<Vec<_>>())
            .await;
        if result.is_err() {
            for (_, task) in changed {
                task.progress().1 = false;
            }
        }
        result
    }

    async fn clean_up(&self) -> Result<()> {
        let now = self.now();
        for mut record in self.store.to_clean(now, CLEANUP_BATCH).await? {
            if self.remove_data(&record).await {
                self.store.save(&mut record, SaveExtras::default()).await?;
            }
        }
        let retention =
            jiff::SignedDuration::try_from(self.options.retention).unwrap_or(jiff::SignedDuration::MAX);
        if let Ok(before) = now.checked_sub(retention) {
            self.store.delete_ended(before, CLEANUP_BATCH).await?;
        }
        Ok(())
    }

    /// Removes the data of an execution at all backends, and its result. Returns whether all of it is gone.
    async fn remove_data(&self, record: &Record) -> bool {
        for attempt in &record.execution.attempts {
            let Ok(name) = record.execution.name_of(attempt.number).parse::<Name>() else { continue };
            let Some(compute) = self.compute(attempt.backend) else { return false };
            if compute.forget(&name).await.is_err() {
                return false;
            }
        }
        match &self.options.results {
            Some(results) => results.remove(record.id()).await.is_ok(),
            None => true,
        }
    }
}

//! Maintenance of a Runner: it sends the heartbeat, takes over from Runners that are gone, wakes the tasks of
//! executions that others changed, and removes expired data.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dcp_gateway::Name;

use super::supervise::Restarts;
use super::{Inner, Task};
use crate::api::{Record, Result};
use crate::execution::{Id, Phase};
use crate::pace;
use crate::store::Also;

/// Minimum interval for storing the progress of streams, which other Runners read.
const TOLD: Duration = Duration::from_secs(2);

/// Maximum number of executions that one cycle cleans, and maximum number that it deletes.
const SOME: u32 = 200;

pub(super) async fn run(inner: Arc<Inner>) {
    let mut restarts = Restarts::new();
    while restarts.panicked(rounds(&inner)).await {}
}

async fn rounds(inner: &Arc<Inner>) {
    let mut stopping = inner.stopping.subscribe();
    let (mut next, mut tell) = (Instant::now(), Instant::now());
    let lease = inner.options.lease;
    loop {
        let pause = tokio::time::sleep(inner.presence.pause());
        tokio::select! {
            () = pause => {}
            _ = stopping.wait_for(|it| *it) => return,
        }
        // The next cycle repeats what failed; clients see the cause in their own calls.
        let _ = inner.presence.beat(&inner.store).await;
        let took_over = inner.presence.take_over(&inner.store).await.unwrap_or_default();
        if took_over || Instant::now() >= next {
            let begun = Instant::now();
            let round = inner.take_up().await;
            next = Instant::now() + pace::pause(&round, begun.elapsed(), Duration::ZERO..=lease);
        }
        let _ = inner.clear_away().await;
        if Instant::now() >= tell {
            let begun = Instant::now();
            let round = inner.tell().await;
            tell = Instant::now() + pace::pause(&round, begun.elapsed(), TOLD..=lease.max(TOLD));
        }
    }
}

impl Inner {
    /// Adopts executions whose owner is no member, and drives all executions that this Runner owns.
    pub(super) async fn take_up(self: &Arc<Self>) -> Result<()> {
        self.presence.sweep(&self.store).await?;
        let owned = self.store.owned(&self.presence.id()).await?;
        let may_need_slot = |phase: Phase| phase.may_be_alive() && !self.slots.is_empty();
        let (alive, others): (Vec<_>, Vec<_>) = owned.into_iter().partition(|it| may_need_slot(it.2));
        // Attempts that are alive take their slots before any new attempt can.
        for (id, version, _) in alive {
            let is_new = !self.tasks().contains_key(&id);
            let known = if is_new { self.store.get(&id).await? } else { None };
            self.care(&id, version, known, None);
        }
        for (id, version, _) in others {
            self.care(&id, version, None, None);
        }
        Ok(())
    }

    /// Stores the progress of streams that has changed.
    async fn tell(&self) -> Result<()> {
        let tasks: Vec<_> = self.tasks().iter().map(|(id, task)| (id.clone(), Arc::clone(task))).collect();
        let news: Vec<_> = tasks.iter().filter(|(_, task)| !task.progress().1).collect();
        if news.is_empty() {
            return Ok(());
        }
        let how = |(id, task): &&(Id, Arc<Task>)| {
            let mut progress = task.progress();
            progress.1 = true;
            (id.clone(), progress.0.clone())
        };
        let told = self.store.tell(&self.presence.id(), &news.iter().map(how).collect::<Vec<_>>()).await;
        if told.is_err() {
            for (_, task) in news {
                task.progress().1 = false;
            }
        }
        told
    }

    async fn clear_away(&self) -> Result<()> {
        let now = self.now();
        for mut record in self.store.to_clean(now, SOME).await? {
            if self.clear(&record).await {
                self.store.save(&mut record, Also::default()).await?;
            }
        }
        let keep = jiff::SignedDuration::try_from(self.options.keep).unwrap_or(jiff::SignedDuration::MAX);
        if let Ok(before) = now.checked_sub(keep) {
            self.store.forget(before, SOME).await?;
        }
        Ok(())
    }

    /// Removes the data of an execution at all backends, and its result. Returns whether all of it is gone.
    async fn clear(&self, record: &Record) -> bool {
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

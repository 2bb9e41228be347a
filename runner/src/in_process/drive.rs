//! Drives one execution to its end: [`next_effect`] returns the action, this module performs it, and
//! [`apply_event`] applies its outcome, which is stored.

use std::sync::Arc;
use std::time::Duration;

use dcp_gateway::{Compute, End, Name, Phase as At, Status};
use dcp_model::manifest::Job;
use dcp_server::offload;

use super::limits;
use super::lines::Place;
use super::observe;
use super::slots::Slots;
use super::stream::retry_log;
use super::supervise::Restarts;
use super::task::{Task, Waiting};
use super::{Inner, QueuePermit, Slot};
use crate::api::{Error, Record, Result};
use crate::checkpoint::{self, RequiredState};
use crate::execution::{Execution, Id, Phase};
use crate::failure::{Evidence, judge};
use crate::machine::{Effect, Event, Verdict, apply_event, next_effect, time_left};
use crate::replace::Claim;
use crate::store::Start;

/// Length of the end of a driver's log that a failure is diagnosed by.
const LOG_TAIL_BYTES: usize = 1 << 20;

/// Wait after an error of the store, or before an action that changed nothing is repeated.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Interval of reading the progress of a stream.
const PROGRESS: Duration = Duration::from_millis(500);

/// The next step with an execution.
enum NextStep {
    /// Perform the next step at once.
    Continue,
    /// Wait for this time, or until the task is woken.
    Pause(Duration),
    /// Wait for a change of the application, for this time at most.
    Observe(Duration),
    /// Wait for a free slot, or until the task is woken.
    WaitForSlot,
    /// Wait until the executions before this one in its line have started, of a domain with this limit.
    WaitInLine(u32),
    /// Try again later, because the domain has reached this limit.
    WaitForLimit(u32),
    /// Another writer changed the execution; read it again.
    Reload,
    /// Leave the execution: it has ended, or another Runner owns it.
    Done,
}

pub(super) async fn drive(
    inner: Arc<Inner>,
    id: Id,
    task: Arc<Task>,
    mut known: Option<Record>,
    (mut slot, mut permit): (Option<Slot>, Option<QueuePermit>),
) {
    let mut stopping = inner.stopping.subscribe();
    // The slot outlives a panic, because the attempt may be alive.
    let driven = async {
        let mut restarts = Restarts::new();
        while restarts.panicked(drive_to_end(&inner, &id, &task, known.take(), &mut slot, &mut permit)).await
        {
        }
    };
    tokio::select! {
        // The check for a stop comes first, so that no task starts an attempt in a slot that a stopped task freed.
        biased;
        _ = stopping.wait_for(|it| *it) => {}
        () = driven => {}
    }
    task.status_known.send_replace(true);
    inner.tasks().remove(&id);
}

async fn drive_to_end(
    inner: &Arc<Inner>,
    id: &Id,
    task: &Arc<Task>,
    mut known: Option<Record>,
    slot: &mut Option<Slot>,
    permit: &mut Option<QueuePermit>,
) {
    let mut current_follower = None;
    // Unlike the slot, the place is left after a panic, so that others don't wait for the restart.
    let mut place = None;
    loop {
        let record = match &mut known {
            Some(record) => record,
            // Boxed, here and below, to keep these tasks small: very many of them may only wait.
            None => match Box::pin(inner.store.get(id)).await {
                Ok(Some(record)) => known.insert(record),
                Ok(None) => return,
                Err(_) => {
                    pause(task, RETRY_PAUSE).await;
                    continue;
                }
            },
        };
        task.version.send_replace(record.version);
        let is_queued = record.execution.phase == Phase::Queued;
        if is_queued != permit.is_some() {
            *permit = is_queued.then(|| inner.queues.acquire_unlimited(&record.request.domain));
        }
        // If the store can't be read or written, the step did not happen and is repeated.
        let Ok(next_step) = Box::pin(inner.step(record, task, slot, &mut place)).await else {
            known = None;
            pause(task, RETRY_PAUSE).await;
            continue;
        };
        Box::pin(inner.follow(record, task, &mut current_follower)).await;
        if matches!(next_step, NextStep::Done) {
            return;
        }
        wait_for(next_step, inner, task, &mut known, slot).await;
    }
}

impl NextStep {
    fn waiting(&self) -> Waiting {
        match self {
            Self::WaitForSlot => Waiting::Slot,
            Self::WaitInLine(limit) => Waiting::Line(*limit),
            Self::WaitForLimit(limit) => Waiting::Limit(*limit),
            _ => Waiting::Nothing,
        }
    }
}

/// Waits until the next step can be performed. Drops the record if the execution has to be read again.
async fn wait_for(
    next_step: NextStep,
    inner: &Inner,
    task: &Task,
    record: &mut Option<Record>,
    slot: &mut Option<Slot>,
) {
    if !matches!(next_step, NextStep::Continue | NextStep::Reload | NextStep::Done) {
        task.status_known.send_replace(true);
    }
    task.set_waiting(next_step.waiting());
    let is_stale = match next_step {
        NextStep::Continue => false,
        // A woken task reads the execution again, because another writer changed it.
        NextStep::Pause(time) => pause(task, time).await,
        NextStep::Observe(time) => tokio::select! {
            woken = pause(task, time) => woken,
            () = task.observed.changed.notified() => false,
        },
        NextStep::WaitForSlot => {
            // Many executions may wait, and requests may be large, so the request is read again when a slot is free.
            let record = record.take();
            let slots = record.and_then(|record| inner.slots_of(&record).cloned());
            if let Some(slots) = slots {
                wait_for_slot(&slots, task, slot).await;
            }
            true
        }
        NextStep::WaitInLine(_) => {
            drop(record.take());
            task.wake.notified().await;
            true
        }
        NextStep::WaitForLimit(_) => {
            drop(record.take());
            pause(task, limits::retry_pause()).await;
            true
        }
        NextStep::Reload | NextStep::Done => true,
    };
    if is_stale {
        *record = None;
    }
}

/// Waits for a slot, or until the task is woken.
async fn wait_for_slot(slots: &Arc<Slots>, task: &Task, slot: &mut Option<Slot>) {
    tokio::select! {
        taken = slots.take() => *slot = taken,
        () = task.wake.notified() => {}
    }
}

/// Waits. Returns whether the task was woken.
async fn pause(task: &Task, time: Duration) -> bool {
    tokio::select! {
        () = task.wake.notified() => true,
        () = tokio::time::sleep(time) => false,
    }
}

impl Inner {
    async fn step(
        self: &Arc<Self>,
        record: &mut Record,
        task: &Arc<Task>,
        slot: &mut Option<Slot>,
        place: &mut Option<Place>,
    ) -> Result<NextStep> {
        if record.owner != self.membership.id() || record.execution.phase.is_final() {
            return Ok(NextStep::Done);
        }
        if !self.membership.is_valid() {
            return Ok(NextStep::Pause(self.membership.heartbeat_interval()));
        }
        let now = self.now();
        let effect = next_effect(&record.execution, now);
        let limit = self.running_limit(record, &effect);
        if limit.is_none() {
            *place = None;
        }
        if let Effect::Wait(until) = effect {
            // At most a second, because another Runner may have stored the time by a different clock.
            let left = until.duration_since(now).unsigned_abs();
            return Ok(NextStep::Pause(left.clamp(Duration::from_millis(1), Duration::from_secs(1))));
        }
        if let Some(limit) = limit
            && !self.is_first_in_line(record, task, place)
        {
            *slot = None;
            return Ok(NextStep::WaitInLine(limit));
        }
        if slot.is_none() && !self.take_slot(&effect, record, slot) {
            return Ok(NextStep::WaitForSlot);
        }
        let next_step = self.act(&effect, record, task, limit).await;
        let is_full = matches!(next_step, Ok(NextStep::WaitForLimit(_)));
        if is_full || record.execution.phase == Phase::Retrying {
            // Other executions can use the slot meanwhile.
            *slot = None;
        }
        next_step
    }

    /// Performs an action, and stores its outcome.
    async fn act(
        self: &Arc<Self>,
        effect: &Effect,
        record: &mut Record,
        task: &Task,
        limit: Option<u32>,
    ) -> Result<NextStep> {
        let event = self.perform(effect, record, task).await?;
        if record.execution.phase == Phase::Queued && event == Event::Stepped {
            record.execution.adjusted = self.size(record).await?;
        }
        let before = record.execution.clone();
        let polled = matches!(event, Event::Polled(..));
        if let Some(transition) = apply_event(&mut record.execution, event, self.now()) {
            record.history.push(transition);
        }
        if record.execution == before {
            return Ok(if polled {
                NextStep::Observe(self.until_poll(record))
            } else {
                NextStep::Pause(RETRY_PAUSE)
            });
        }
        self.save(record, task, limit).await
    }

    /// Takes a slot if the action needs one. Returns false if none is free.
    fn take_slot(&self, effect: &Effect, record: &Record, slot: &mut Option<Slot>) -> bool {
        // A claim needs no slot, because the execution that is to be replaced may hold the last one.
        let Some(slots) = self.slots_of(record).filter(|_| *effect != Effect::Claim) else { return true };
        *slot = self.occupy(record).or_else(|| slots.try_take());
        slot.is_some()
    }

    /// Stores a changed execution, if its domain has fewer running ones than the limit.
    async fn save(&self, record: &mut Record, task: &Task, limit: Option<u32>) -> Result<NextStep> {
        let extras = self.extras(record).await;
        let stored = match limit.filter(|_| record.execution.phase.may_be_alive()) {
            Some(limit) => match self.store.start(record, extras, limit).await? {
                Start::Full => return Ok(NextStep::WaitForLimit(limit)),
                start => start == Start::Stored,
            },
            None => self.store.save(record, extras).await?,
        };
        if !stored {
            return Ok(NextStep::Reload);
        }
        task.version.send_replace(record.version);
        Ok(if record.execution.phase.is_final() { NextStep::Done } else { NextStep::Continue })
    }

    /// Returns the maximum time until the next step of an execution whose application has not changed.
    fn until_poll(&self, record: &Record) -> Duration {
        let interval = self.poll_interval(&record.execution);
        // The progress of a stream is read with each step.
        let interval = if record.request.streaming.is_some() { interval.min(PROGRESS) } else { interval };
        let left = time_left(&record.execution, self.now());
        left.map_or(interval, |left| interval.min(left.max(Duration::from_millis(1))))
    }

    /// Prepares a stream's checkpoint before any driver can use it. Only this execution holds the checkpoint's
    /// exclusive key.
    async fn prepare_checkpoint(&self, record: &Record) -> Event {
        let streaming = record.request.streaming.as_ref();
        let Some((checkpoint, state)) = streaming.and_then(|it| Some((it.checkpoint.clone()?, it.state?)))
        else {
            return Event::Prepared(Vec::new());
        };
        let Execution { id, created, .. } = &record.execution;
        let required = RequiredState { revision: state, execution: id.clone(), created: *created };
        let move_guard = Arc::clone(&self.checkpoint_moves).read_owned().await;
        // A task of its own, so that the move completes if this task is stopped.
        let mut task = tokio::spawn(async move {
            let moved = checkpoint::prepare(&checkpoint, required).await;
            drop(move_guard);
            moved.map_err(|error| error.to_string())
        });
        let moved = tokio::select! {
            moved = &mut task => moved.unwrap_or_else(|error| Err(error.to_string())),
            () = self.membership.wait_until_invalid() => {
                task.abort();
                Err("this Runner could not send its heartbeat for too long".to_owned())
            }
        };
        match moved {
            Ok(done) => Event::Prepared(done),
            Err(why) => Event::Unavailable(why),
        }
    }

    /// Gets the exclusive key of an execution, or stops the execution that holds it.
    async fn claim(&self, record: &Record) -> Result<Event> {
        Ok(match self.store.claim(record).await? {
            Claim::Free => Event::Claimed,
            Claim::Newer(by) => Event::Replaced { by },
            Claim::Held(by) => {
                self.stop_execution(&by, &Event::Replaced { by: record.id().clone() }).await?;
                Event::Held { by }
            }
            // The execution is read again before the next step, as it was changed meanwhile.
            Claim::Ended => Event::Unavailable("it has ended meanwhile".to_owned()),
        })
    }

    /// Performs an action. Only errors of the store are returned as errors; those of a backend become events.
    async fn perform(self: &Arc<Self>, effect: &Effect, record: &Record, task: &Task) -> Result<Event> {
        let backend = observe::backend(&record.execution);
        let Some(compute) = self.compute(backend) else {
            let name = backend.name();
            return Ok(Event::Unavailable(format!("this Runner has no backend `{name}`")));
        };
        let Ok(name) = record.execution.name().parse::<Name>() else {
            return Ok(Event::Rejected("its name is none that a backend takes".to_owned()));
        };
        match effect {
            Effect::Nothing | Effect::Wait(_) | Effect::Step => Ok(Event::Stepped),
            Effect::Claim => self.claim(record).await,
            Effect::Prepare => Ok(self.prepare_checkpoint(record).await),
            Effect::Create => self.create(&**compute, record).await,
            Effect::Poll => {
                let status = self.observe(&task.observed, &**compute, &record.execution).await;
                self.polled(&**compute, &name, record, status).await
            }
            Effect::Delete { grace } => match compute.delete(&name, *grace).await {
                Ok(()) => {
                    let status = self.observe_anew(&task.observed, &**compute, &record.execution).await;
                    self.polled(&**compute, &name, record, status).await
                }
                Err(error) => Ok(Event::Unavailable(error.to_string())),
            },
        }
    }

    async fn create(self: &Arc<Self>, compute: &dyn Compute, record: &Record) -> Result<Event> {
        let job = match self.job(&record.request.job).await {
            Err(Error::Corrupt(message)) => return Ok(Event::Rejected(message)),
            other => other?,
        };
        let (inner, bytes, of) = (Arc::clone(self), job.text().len(), record.clone());
        let application = match offload(bytes, move || inner.application(job.job(), &of)).await {
            Err(error) => return Ok(Event::Rejected(error.to_string())),
            Ok(application) => application,
        };
        Ok(match compute.create(&application).await {
            Ok(()) => Event::Created,
            Err(dcp_gateway::Error::Unavailable(message)) => Event::Unavailable(message),
            Err(error) => Event::Rejected(error.to_string()),
        })
    }

    /// Returns the event of a status, with the verdict if the application has failed.
    async fn polled(
        &self,
        compute: &dyn Compute,
        name: &Name,
        record: &Record,
        status: dcp_gateway::Result<Option<Status>>,
    ) -> Result<Event> {
        let mut status = match status {
            Ok(status) => status,
            Err(error) => return Ok(Event::Unavailable(error.to_string())),
        };
        if let Some(end) = status.as_mut().and_then(|status| status.end.as_mut()) {
            end.succeeded &= !self.is_incomplete(record, end).await?;
        }
        let verdict = match &status {
            Some(Status { phase: At::Ended, end: Some(end), .. }) if !end.succeeded => {
                // Without a log, the end of the driver may still be enough to find the cause.
                let log = retry_log(|| compute.tail(name, LOG_TAIL_BYTES)).await.unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                self.judge_failure(record, Evidence { end, log: &log }).await?
            }
            _ => None,
        };
        Ok(Event::Polled(status, verdict))
    }

    /// Returns true if a driver ended well because its node is drained: a stream stops when it is asked to.
    async fn is_incomplete(&self, record: &Record, end: &End) -> Result<bool> {
        if !end.succeeded || !end.is_of_node() {
            return Ok(false);
        }
        match self.job(&record.request.job).await {
            Err(Error::Corrupt(_)) => Ok(false),
            Err(error) => Err(error),
            Ok(job) => Ok(record.request.streaming.is_some() || matches!(job.job().job, Job::Stream(_))),
        }
    }

    async fn judge_failure(&self, record: &Record, evidence: Evidence<'_>) -> Result<Option<Verdict>> {
        let job = match self.job(&record.request.job).await {
            Err(Error::Corrupt(_)) => return Ok(None),
            other => other?,
        };
        Ok(record.execution.attempts.last().map(|attempt| judge(evidence, job.job(), attempt)))
    }
}

//! Drives one execution to its end: [`next`] returns the action, this module performs it, and [`after`] applies its
//! outcome, which is stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dcp_gateway::{Compute, Name, Phase as At, Status};
use dcp_model::manifest::Sizing;
use dcp_objects::Objects;
use dcp_server::offload;

use super::observe;
use super::slots::Slots;
use super::supervise::Restarts;
use super::{Inner, Place, Slot, Task, clean_at};
use crate::api::{Error, Record, Result};
use crate::checkpoint::{self, Wanted};
use crate::execution::{Adjustment, Execution, Id, Phase};
use crate::failure::{Evidence, judge};
use crate::machine::{Effect, Event, Verdict, after, next, time_left};
use crate::progress::Follower;
use crate::replace::Claim;
use crate::sizing::{self, Measured};
use crate::store::Also;

/// Length of the end of a driver's log that a failure is diagnosed by.
const TAIL: usize = 1 << 20;

/// Wait after an error of the store, or before an action that changed nothing is repeated.
const RETRY: Duration = Duration::from_secs(1);

/// Interval of reading the progress of a stream.
const PROGRESS: Duration = Duration::from_millis(500);

/// Maximum number of earlier runs that sizing reads.
const EARLIER: u32 = 200;

/// The way to continue with an execution after a step.
enum Then {
    /// Perform the next step at once.
    On,
    /// Wait for this time, or until the task is woken.
    Pause(Duration),
    /// Wait for a change of the application, for this time at most.
    Observe(Duration),
    /// Wait for a free slot, or until the task is woken.
    Slot,
    /// Another writer changed the execution; read it again.
    Reload,
    /// Leave the execution: it has ended, or another Runner owns it.
    Leave,
}

pub(super) async fn drive(
    inner: Arc<Inner>,
    id: Id,
    task: Arc<Task>,
    mut known: Option<Record>,
    (mut slot, mut place): (Option<Slot>, Option<Place>),
) {
    let mut stopping = inner.stopping.subscribe();
    // The slot outlives a panic, because the attempt may be alive.
    let driven = async {
        let mut restarts = Restarts::new();
        while restarts.panicked(to_its_end(&inner, &id, &task, known.take(), &mut slot, &mut place)).await {}
    };
    tokio::select! {
        // The check for a stop comes first, so that no task starts an attempt in a slot that a stopped task freed.
        biased;
        _ = stopping.wait_for(|it| *it) => {}
        () = driven => {}
    }
    task.looked.send_replace(true);
    inner.tasks().remove(&id);
}

async fn to_its_end(
    inner: &Arc<Inner>,
    id: &Id,
    task: &Task,
    mut known: Option<Record>,
    slot: &mut Option<Slot>,
    place: &mut Option<Place>,
) {
    let mut following = None;
    loop {
        let mut record = match known.take() {
            Some(record) => record,
            // Boxed, here and below, to keep these tasks small: very many of them may only wait.
            None => match Box::pin(inner.store.get(id)).await {
                Ok(Some(record)) => record,
                Ok(None) => return,
                Err(_) => {
                    pause(task, RETRY).await;
                    continue;
                }
            },
        };
        task.version.send_replace(record.version);
        let is_queued = record.execution.phase == Phase::Queued;
        if is_queued != place.is_some() {
            *place = is_queued.then(|| inner.queues.admit(&record.request.domain));
        }
        // If the store can't be read or written, the step did not happen and is repeated.
        let Ok(then) = Box::pin(inner.step(&mut record, task, slot)).await else {
            pause(task, RETRY).await;
            continue;
        };
        Box::pin(inner.follow(&record, task, &mut following)).await;
        match then {
            Then::On => known = Some(record),
            Then::Pause(time) => {
                task.looked.send_replace(true);
                // A woken task reads the execution again, because another writer changed it.
                if !pause(task, time).await {
                    known = Some(record);
                }
            }
            Then::Observe(time) => {
                task.looked.send_replace(true);
                let woken = tokio::select! {
                    woken = pause(task, time) => woken,
                    () = task.observed.changed.notified() => false,
                };
                if !woken {
                    known = Some(record);
                }
            }
            Then::Slot => {
                task.looked.send_replace(true);
                let slots = inner.slots_of(&record).cloned();
                // Many executions may wait, and requests may be large, so the request is read again when a slot is
                // free.
                drop(record);
                if let Some(slots) = slots {
                    wait(&slots, task, slot).await;
                }
            }
            Then::Reload => {}
            Then::Leave => return,
        }
    }
}

/// Waits for a slot, or until the task is woken.
async fn wait(slots: &Arc<Slots>, task: &Task, slot: &mut Option<Slot>) {
    task.waits.store(true, Ordering::Relaxed);
    tokio::select! {
        taken = slots.take() => *slot = taken,
        () = task.wake.notified() => {}
    }
    task.waits.store(false, Ordering::Relaxed);
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
        task: &Task,
        slot: &mut Option<Slot>,
    ) -> Result<Then> {
        if record.owner != self.presence.id() || record.execution.phase.is_final() {
            return Ok(Then::Leave);
        }
        if !self.presence.holds() {
            return Ok(Then::Pause(self.presence.pause()));
        }
        let now = self.now();
        let effect = next(&record.execution, now);
        if let Effect::Wait(until) = effect {
            // At most a second, because another Runner may have stored the time by a different clock.
            let left = until.duration_since(now).unsigned_abs();
            return Ok(Then::Pause(left.clamp(Duration::from_millis(1), Duration::from_secs(1))));
        }
        // A claim needs no slot, because the execution that is to be replaced may hold the last one.
        if slot.is_none()
            && effect != Effect::Claim
            && let Some(slots) = self.slots_of(record)
        {
            *slot = self.occupy(record).or_else(|| slots.try_take());
            if slot.is_none() {
                return Ok(Then::Slot);
            }
        }
        let event = self.perform(&effect, record, task).await?;
        if record.execution.phase == Phase::Queued && event == Event::Stepped {
            record.execution.adjusted = self.size(record).await?;
        }
        let before = record.execution.clone();
        let looked = matches!(event, Event::Seen(..));
        if let Some(transition) = after(&mut record.execution, event, self.now()) {
            record.history.push(transition);
        }
        if matches!(record.execution.phase, Phase::Retrying) {
            *slot = None;
        }
        if record.execution == before {
            return Ok(if looked { Then::Observe(self.until_poll(record)) } else { Then::Pause(RETRY) });
        }
        // Measured before the success is stored, because clients may start the next run as soon as they see it.
        let measured =
            if record.execution.phase == Phase::Succeeded { self.measure(record).await } else { None };
        if !self.store.save(record, Also { clean_at: clean_at(record), measured }).await? {
            return Ok(Then::Reload);
        }
        task.version.send_replace(record.version);
        Ok(if record.execution.phase.is_final() { Then::Leave } else { Then::On })
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
    async fn make_room(&self, record: &Record) -> Event {
        let streaming = record.request.streaming.as_ref();
        let Some((checkpoint, state)) = streaming.and_then(|it| Some((it.checkpoint.clone()?, it.state?)))
        else {
            return Event::Prepared(Vec::new());
        };
        let Execution { id, created, .. } = &record.execution;
        let wanted = Wanted { state, execution: id.clone(), since: *created };
        let under_way = Arc::clone(&self.moving).read_owned().await;
        // A task of its own, so that the move completes if this task is stopped.
        let mut task = tokio::spawn(async move {
            let moved = checkpoint::prepare(&checkpoint, wanted).await;
            drop(under_way);
            moved.map_err(|error| error.to_string())
        });
        let moved = tokio::select! {
            moved = &mut task => moved.unwrap_or_else(|error| Err(error.to_string())),
            () = self.presence.lost() => {
                task.abort();
                Err("this Runner could not say for too long that it is there".to_owned())
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
                self.end(&by, &Event::Replaced { by: record.id().clone() }).await?;
                Event::Held { by }
            }
            // The execution is read again before the next step, as it was changed meanwhile.
            Claim::Gone => Event::Unavailable("it has ended meanwhile".to_owned()),
        })
    }

    /// Returns the settings that sizing derives from earlier runs for the first attempt.
    async fn size(&self, record: &Record) -> Result<BTreeMap<String, Adjustment>> {
        let job = match self.job(&record.request.job).await {
            // The error is reported when the attempt is created.
            Err(Error::Corrupt(_)) => return Ok(BTreeMap::new()),
            other => other?,
        };
        let job = job.job();
        if job.resources.sizing != Some(Sizing::Auto) {
            return Ok(BTreeMap::new());
        }
        let earlier = self.store.measured(&record.request, EARLIER).await?;
        Ok(sizing::size(job, &sizing::kept(job, &earlier)))
    }

    /// Reads the progress of a stream's queries, if its backend has an event log.
    async fn follow(&self, record: &Record, task: &Task, following: &mut Option<(u32, Follower)>) {
        let Execution { attempts, phase, .. } = &record.execution;
        let Some(attempt) = attempts.last().filter(|_| record.request.streaming.is_some()) else { return };
        if !matches!(phase, Phase::Running | Phase::Cancelling) {
            return;
        }
        let follower = match following.take() {
            Some((number, follower)) if number == attempt.number => follower,
            _ => {
                let objects = attempt.addresses.event_log.as_deref().and_then(|url| Objects::open(url).ok());
                let Some(objects) = objects else { return };
                Follower::new(objects)
            }
        };
        let (_, follower) = following.insert((attempt.number, follower));
        // A log that can't be read now may be readable later. Until then there is no progress.
        let found = follower.poll().await.ok().flatten();
        let mut progress = task.progress();
        if progress.0 != found {
            *progress = (found, false);
        }
    }

    /// Measures a run by its event log. If that fails, the next run is sized without this one.
    async fn measure(&self, record: &Record) -> Option<Measured> {
        // A stream's event log is incomplete, because parts that were read are removed.
        if record.request.streaming.is_some() {
            return None;
        }
        let url = record.execution.attempts.last()?.addresses.event_log.as_deref()?;
        sizing::event_log::read(url).await.ok()
    }

    /// Performs an action. Only errors of the store are returned as errors; those of a backend become events.
    async fn perform(self: &Arc<Self>, effect: &Effect, record: &Record, task: &Task) -> Result<Event> {
        let backend = observe::backend(&record.execution);
        let Some(compute) = self.compute(backend) else {
            let name = backend.name();
            return Ok(Event::Unavailable(format!("this Runner has no backend `{name}`")));
        };
        let Ok(name) = record.execution.name().parse::<Name>() else {
            return Ok(Event::Refused("its name is none that a backend takes".to_owned()));
        };
        match effect {
            Effect::Nothing | Effect::Wait(_) | Effect::Step => Ok(Event::Stepped),
            Effect::Claim => self.claim(record).await,
            Effect::Prepare => Ok(self.make_room(record).await),
            Effect::Create => self.create(&**compute, record).await,
            Effect::Look => {
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
            Err(Error::Corrupt(said)) => return Ok(Event::Refused(said)),
            other => other?,
        };
        let (inner, bytes, of) = (Arc::clone(self), job.text().len(), record.clone());
        let application = match offload(bytes, move || inner.application(job.job(), &of)).await {
            Err(error) => return Ok(Event::Refused(error.to_string())),
            Ok(application) => application,
        };
        Ok(match compute.create(&application).await {
            Ok(()) => Event::Created,
            Err(dcp_gateway::Error::Unavailable(said)) => Event::Unavailable(said),
            Err(error) => Event::Refused(error.to_string()),
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
        let status = match status {
            Ok(status) => status,
            Err(error) => return Ok(Event::Unavailable(error.to_string())),
        };
        let verdict = match &status {
            Some(Status { phase: At::Ended, end: Some(end), .. }) if !end.succeeded => {
                // Without a log, the end of the driver may still be enough to find the cause.
                let log = compute.tail(name, TAIL).await.unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                self.judged(record, Evidence { end, log: &log }).await?
            }
            _ => None,
        };
        Ok(Event::Seen(status, verdict))
    }

    async fn judged(&self, record: &Record, evidence: Evidence<'_>) -> Result<Option<Verdict>> {
        let job = match self.job(&record.request.job).await {
            Err(Error::Corrupt(_)) => return Ok(None),
            other => other?,
        };
        Ok(record.execution.attempts.last().map(|attempt| judge(evidence, job.job(), attempt)))
    }
}

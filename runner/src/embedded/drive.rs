//! What brings one execution to its end: [`next`] says what is to be done, [`after`] what is then remembered, and
//! here it is done and written down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dcp_gateway::{Compute, Name, Phase as At, Status};
use dcp_model::manifest::Sizing;
use dcp_server::offload;

use super::slots::Slots;
use super::supervise::Restarts;
use super::{Inner, Place, Slot, Task, clean_at};
use crate::api::{Error, Record, Result};
use crate::checkpoint::{self, Wanted};
use crate::execution::{Adjustment, Execution, Id, Phase};
use crate::failure::{Evidence, judge};
use crate::machine::{Effect, Event, Verdict, after, next};
use crate::progress::Follower;
use crate::replace::Claim;
use crate::sizing::{self, Measured};
use crate::store::Also;

/// How much of a driver's log a failure is judged by.
const TAIL: usize = 1 << 20;

/// How long a store or a backend is left alone that failed.
const RETRY: Duration = Duration::from_secs(1);

/// How many earlier runs are looked at.
const EARLIER: u32 = 200;

/// What is to be done next about an execution.
enum Then {
    /// The next step, at once.
    On,
    /// Look again after a while, or when something is new.
    Pause(Duration),
    /// Look again once another attempt may be alive, or when something is new.
    Slot,
    /// Somebody else wrote to it.
    Reload,
    /// There is nothing more to do, or it is not for this Runner.
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
    // Whatever panics, the execution keeps its slot, as its attempt may be alive.
    let driven = async {
        let mut restarts = Restarts::new();
        while restarts.panicked(to_its_end(&inner, &id, &task, known.take(), &mut slot, &mut place)).await {}
    };
    tokio::select! {
        // Tasks that stop free their slots, in which no other task may start an attempt.
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
            // Boxed, here and below, as very many may do nothing but wait: they should be small.
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
        // Where the store can't be read or written now: what was not written down did not happen.
        let Ok(then) = Box::pin(inner.step(&mut record, task, slot)).await else {
            pause(task, RETRY).await;
            continue;
        };
        Box::pin(inner.follow(&record, task, &mut following)).await;
        match then {
            Then::On => known = Some(record),
            Then::Pause(time) => {
                task.looked.send_replace(true);
                // What wakes it is that somebody wrote to it.
                if !pause(task, time).await {
                    known = Some(record);
                }
            }
            Then::Slot => {
                task.looked.send_replace(true);
                let slots = inner.slots_of(&record).cloned();
                // Many executions may wait, and requests may be large, so the request is read again when a slot is free.
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

/// Waits for a slot, or until there is something new.
async fn wait(slots: &Arc<Slots>, task: &Task, slot: &mut Option<Slot>) {
    task.waits.store(true, Ordering::Relaxed);
    tokio::select! {
        taken = slots.take() => *slot = taken,
        () = task.wake.notified() => {}
    }
    task.waits.store(false, Ordering::Relaxed);
}

/// Whether it was woken.
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
            // No longer than a moment: another Runner wrote the time down, by a clock of its own.
            let left = until.duration_since(now).unsigned_abs();
            return Ok(Then::Pause(left.clamp(Duration::from_millis(1), Duration::from_secs(1))));
        }
        // The execution that is to be replaced may have the last slot.
        if slot.is_none()
            && effect != Effect::Claim
            && let Some(slots) = self.slots_of(record)
        {
            *slot = self.occupy(record).or_else(|| slots.try_take());
            if slot.is_none() {
                return Ok(Then::Slot);
            }
        }
        let event = self.perform(&effect, record).await?;
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
            return Ok(Then::Pause(if looked { self.options.look } else { RETRY }));
        }
        // Before it is told to have succeeded: whoever learns of that may run it again at once.
        let measured =
            if record.execution.phase == Phase::Succeeded { self.measure(record).await } else { None };
        if !self.store.save(record, Also { clean_at: clean_at(record), measured }).await? {
            return Ok(Then::Reload);
        }
        task.version.send_replace(record.version);
        Ok(if record.execution.phase.is_final() { Then::Leave } else { Then::On })
    }

    /// Sees to what lies at a stream's checkpoint, before there is any driver that could use it: it has the checkpoint's
    /// key, and nobody else does.
    async fn make_room(&self, record: &Record) -> Event {
        let streaming = record.request.streaming.as_ref();
        let Some((checkpoint, state)) = streaming.and_then(|it| Some((it.checkpoint.clone()?, it.state?)))
        else {
            return Event::Prepared(Vec::new());
        };
        let Execution { id, created, .. } = &record.execution;
        let wanted = Wanted { state, execution: id.clone(), since: *created };
        let under_way = Arc::clone(&self.moving).read_owned().await;
        // By a task of its own: it goes on to its end, though this one may be ended meanwhile.
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

    /// Gets the exclusive key of an execution, or has the one that has it stop.
    async fn claim(&self, record: &Record) -> Result<Event> {
        Ok(match self.store.claim(record).await? {
            Claim::Free => Event::Claimed,
            Claim::Newer(by) => Event::Replaced { by },
            Claim::Held(by) => {
                self.end(&by, &Event::Replaced { by: record.id().clone() }).await?;
                Event::Held { by }
            }
            // What was written meanwhile is read before anything else is done.
            Claim::Gone => Event::Unavailable("it has ended meanwhile".to_owned()),
        })
    }

    /// What the first attempt is given, by earlier runs.
    async fn size(&self, record: &Record) -> Result<BTreeMap<String, Adjustment>> {
        let job = match self.job(&record.request.job).await {
            // It is refused when it is to be created.
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

    /// Reads on how the queries of a stream are, where its backend tells.
    async fn follow(&self, record: &Record, task: &Task, following: &mut Option<(u32, Follower)>) {
        let Execution { attempts, phase, .. } = &record.execution;
        let Some(attempt) = attempts.last().filter(|_| record.request.streaming.is_some()) else { return };
        if !matches!(phase, Phase::Running | Phase::Cancelling) {
            return;
        }
        let follower = match following.take() {
            Some((number, follower)) if number == attempt.number => follower,
            _ => {
                let name = record.execution.name().parse::<Name>().ok();
                let events = name.and_then(|name| self.compute(attempt.backend)?.events(&name));
                let Some(events) = events else { return };
                Follower::new(events)
            }
        };
        let read = tokio::task::spawn_blocking(move || {
            let mut follower = follower;
            let found = follower.look();
            (follower, found)
        });
        // A log that can't be read now can be later, and tells nothing until then.
        let Ok((follower, found)) = read.await else { return };
        *following = Some((attempt.number, follower));
        let found = found.ok().flatten();
        let mut progress = task.progress();
        if progress.0 != found {
            *progress = (found, false);
        }
    }

    /// What is to be learnt of a run. Where there is nothing, the next one is sized without it.
    async fn measure(&self, record: &Record) -> Option<Measured> {
        // A stream's log is not kept whole.
        if record.request.streaming.is_some() {
            return None;
        }
        let name = record.execution.name().parse::<Name>().ok()?;
        let events = self.compute(record.execution.attempts.last()?.backend)?.events(&name)?;
        // A log may be large, and is read to its end.
        let read = tokio::task::spawn_blocking(move || sizing::event_log::read(&events)).await;
        read.ok()?.ok()
    }

    /// Does what is to be done. An error is the store's; what a backend says is an event.
    async fn perform(self: &Arc<Self>, effect: &Effect, record: &Record) -> Result<Event> {
        let backend = record.execution.attempts.last().map_or(record.execution.backend, |it| it.backend);
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
            Effect::Look => self.look(&**compute, &name, record).await,
            Effect::Delete { grace } => match compute.delete(&name, *grace).await {
                Ok(()) => self.look(&**compute, &name, record).await,
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
            Err(dcp_gateway::Error::Invalid(said) | dcp_gateway::Error::Conflict(said)) => {
                Event::Refused(said)
            }
        })
    }

    async fn look(&self, compute: &dyn Compute, name: &Name, record: &Record) -> Result<Event> {
        let status = match compute.get(name).await {
            Ok(status) => status,
            Err(error) => return Ok(Event::Unavailable(error.to_string())),
        };
        let verdict = match &status {
            Some(Status { phase: At::Ended, end: Some(end), .. }) if !end.succeeded => {
                // A log that can't be read proves nothing, and how it ended may be enough.
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

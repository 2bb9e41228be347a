//! What is to be done next about a continuous job.

use dcp_model::manifest::OnUnhealthy;
use jiff::{SignedDuration, Timestamp};

use super::{
    Desired, GivenUp, Health, JobState, Observed, Requested, Run, RunStatus, Stopping, Trial, Version,
    backoff,
};

/// How long a run has to last for earlier failures to be forgotten.
const STEADY: SignedDuration = SignedDuration::from_mins(10);

/// How often it is looked whether a run needs more executors or fewer, in seconds.
const LOOK: u64 = 15;

/// What is to be done to the world. It is done after what is remembered was written down, and done again for as long as it
/// is decided again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Submit a run by its own token: the answer is its execution, whether it is new or was there.
    Start(Run),
    /// Have an execution stop.
    Stop { execution: String },
}

/// How a job is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is to run, and nothing does.
    Gone,
    Paused,
    /// It is not known how it is: the Runner can't be asked.
    Unknown,
    Starting,
    /// Another execution has its checkpoint.
    Held {
        by: String,
    },
    Healthy,
    /// It runs, and nothing is told of how.
    Silent,
    Stopping(Stopping),
    /// It has failed, and is left alone for a while.
    BackingOff {
        until: Timestamp,
    },
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What is to be remembered from now on; it is written down before anything is done.
    pub state: JobState,
    pub act: Option<Effect>,
    pub condition: Condition,
    /// When it has to be decided again, though nothing has changed.
    pub wake: Option<Timestamp>,
    /// What was decided this time, and why.
    pub events: Vec<String>,
}

/// Decides. `chance` is a number of the job's own.
pub fn decide(
    desired: Option<&Desired>,
    requested: &Requested,
    state: &JobState,
    observed: &Observed,
    now: Timestamp,
    chance: u64,
) -> Decision {
    let Observed { run: seen, orphan } = observed;
    let mut it =
        Deciding { desired, requested, state: state.clone(), now, chance, events: Vec::new(), wake: None };
    if it.state.run.is_some() && *seen == RunStatus::Unknown {
        return it.decided(None, Condition::Unknown);
    }
    // Before all else: while it is alive, nothing else may touch the checkpoint.
    if let Some(orphan) = orphan {
        let act = Effect::Stop { execution: orphan.clone() };
        return it.decided(Some(act), Condition::Held { by: orphan.clone() });
    }
    it.note(seen);
    let target = it.target();
    it.try_out(target.as_ref());
    match it.state.run.clone() {
        Some(run) => it.running(run, target, seen),
        None => it.resting(target),
    }
}

/// Returns how long a driver must have run until its version counts as healthy, where nothing else is known of it, in seconds.
fn settles(desired: &Desired, version: &Version) -> u64 {
    if version.is_service() { desired.stable_after } else { desired.start_within }
}

struct Deciding<'a> {
    desired: Option<&'a Desired>,
    requested: &'a Requested,
    state: JobState,
    now: Timestamp,
    chance: u64,
    events: Vec<String>,
    wake: Option<Timestamp>,
}

impl Deciding<'_> {
    fn decided(self, act: Option<Effect>, condition: Condition) -> Decision {
        let Self { state, events, wake, .. } = self;
        Decision { state, act, condition, wake, events }
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |before| before.min(at)));
    }

    /// What follows from what is seen, whatever is to come of it.
    fn note(&mut self, seen: &RunStatus) {
        let Some(run) = self.state.run.clone() else { return };
        match seen {
            RunStatus::Unknown | RunStatus::Nothing | RunStatus::Held { .. } => {}
            RunStatus::Refused { why, retryable } => {
                self.state.run = None;
                self.fail(&run, why, *retryable);
            }
            RunStatus::Ended { succeeded, why, retryable } => {
                self.state.run = None;
                match run.stopping {
                    Some(Stopping::Unhealthy) => {
                        let why =
                            self.state.failure.clone().unwrap_or_else(|| "it was not healthy".to_owned());
                        self.fail(&run, &why, true);
                    }
                    Some(why) => self.events.push(format!("run {} has stopped: {}", run.number, why.words())),
                    // A continuous job must not end by itself.
                    None if *succeeded => self.fail(&run, "it ended by itself", true),
                    None => self.fail(&run, why, *retryable),
                }
            }
            RunStatus::Alive { health } => self.examine(run, *health),
        }
    }

    /// A run came to nothing.
    fn fail(&mut self, run: &Run, why: &str, retryable: bool) {
        self.state.failures = self.state.failures.saturating_add(1);
        self.state.failure = Some(why.to_owned());
        self.state.not_before = Some(backoff::not_before(self.now, self.state.failures, self.chance));
        self.events.push(format!("run {} of revision {} failed: {why}", run.number, run.version.revision));
        let late = self.trial_ends(run.version.build).is_some_and(|end| self.now >= end);
        if !retryable || late {
            self.give_up(&run.version, why);
        }
    }

    /// When a build has to have been healthy; none where it was, or is not on trial.
    fn trial_ends(&self, build: u64) -> Option<Timestamp> {
        let trial = self.state.trial.as_ref().filter(|it| it.build == build && !it.passed)?;
        let Desired { start_within, stable_after, .. } = self.desired?;
        Some(later(trial.since, start_within.saturating_add(*stable_after)))
    }

    /// A build that is on trial is run no more, where the policy has something to put in its place.
    fn give_up(&mut self, version: &Version, why: &str) {
        let Some(desired) = self.desired.filter(|it| it.version.build == version.build) else { return };
        if self.trial_ends(version.build).is_none() {
            return;
        }
        let healthy = self.state.healthy.as_ref().filter(|it| it.build != version.build);
        let instead = match (desired.on_unhealthy, healthy) {
            (OnUnhealthy::Keep, _) | (OnUnhealthy::Rollback, None) => return,
            (OnUnhealthy::Rollback, Some(healthy)) => {
                format!("revision {} takes its place again", healthy.revision)
            }
            (OnUnhealthy::Pause, _) => "it is stopped".to_owned(),
        };
        self.events.push(format!("revision {} is given up, {instead}: {why}", version.revision));
        self.state.given_up = Some(GivenUp { build: version.build, at: self.now, why: why.to_owned() });
    }

    /// Whether what runs does what it should.
    fn examine(&mut self, mut run: Run, health: Health) {
        let Some(desired) = self.desired.filter(|_| run.stopping.is_none()) else { return };
        let start_ends = later(run.begun, desired.start_within);
        let ill = match health {
            Health::Moving { last, batch_millis } => {
                let end = later(last, desired.progress_within);
                if self.now < end {
                    self.wake_at(end);
                    self.prove(&run);
                    self.scale(&run, batch_millis);
                    return;
                }
                format!("it finished no batch for {} s", desired.progress_within)
            }
            // There is nothing to judge it by but that it goes on.
            Health::Silent { since } => {
                let end = later(since, settles(desired, &run.version));
                match self.now < end {
                    true => self.wake_at(end),
                    false => self.prove(&run),
                }
                return;
            }
            Health::Pending | Health::Starting if self.now < start_ends => {
                self.wake_at(start_ends);
                return;
            }
            Health::Pending => format!("it did not start within {} s", desired.start_within),
            Health::Starting => {
                format!("it finished no batch within {} s of its start", desired.start_within)
            }
        };
        self.events
            .push(format!("run {} of revision {} is not healthy: {ill}", run.number, run.version.revision));
        let late = self.trial_ends(run.version.build).is_some_and(|end| self.now >= end);
        if late {
            self.give_up(&run.version, &ill);
        }
        self.state.failure = Some(ill);
        run.stopping = Some(Stopping::Unhealthy);
        self.state.run = Some(run);
    }

    /// It is healthy.
    fn prove(&mut self, run: &Run) {
        if let Some(trial) =
            self.state.trial.as_mut().filter(|it| it.build == run.version.build && !it.passed)
        {
            trial.passed = true;
            self.events.push(format!("run {} of revision {} is healthy", run.number, run.version.revision));
        }
        if self.state.healthy.as_ref() != Some(&run.version) {
            self.state.healthy = Some(run.version.clone());
        }
        let steady = run.begun.saturating_add(STEADY).unwrap_or(Timestamp::MAX);
        if self.state.failures > 0 || self.state.failure.is_some() {
            match self.now < steady {
                true => self.wake_at(steady),
                false => (self.state.failures, self.state.failure, self.state.not_before) = (0, None, None),
            }
        }
    }

    /// It may need more executors, or fewer.
    fn scale(&mut self, run: &Run, batch_millis: u64) {
        let scaling = self.desired.and_then(|it| it.scaling.as_ref());
        let (Some(scaling), Some(executors)) = (scaling, run.executors) else { return };
        // A start may change it too, and is as little to be judged by.
        let since = self.state.scale.as_ref().map_or(run.begun, |it| it.since.max(run.begun));
        let found = scaling.advise(executors, since, batch_millis, &mut self.state.pressure, self.now);
        if let Some(scale) = found {
            let why = &scale.why;
            self.events.push(format!("it gets {} executors instead of {executors}: {why}", scale.executors));
            self.state.scale = Some(scale);
        }
        if scaling.busy(batch_millis).is_some() {
            self.wake_at(later(self.now, LOOK));
        }
    }

    /// How many executors what is started is to have, where they follow the load.
    fn executors(&self) -> Option<u32> {
        Some(self.desired?.scaling.as_ref()?.wanted(self.state.scale.as_ref()))
    }

    /// What is to run, if anything is.
    fn target(&mut self) -> Option<Version> {
        let desired = self.desired?;
        let other = self.state.healthy.as_ref().is_some_and(|it| it.build != desired.version.build);
        let stays = |it: &GivenUp| {
            it.build == desired.version.build
                && match desired.on_unhealthy {
                    OnUnhealthy::Keep => false,
                    OnUnhealthy::Rollback => other,
                    OnUnhealthy::Pause => true,
                }
        };
        // Another revision may be better, and the policy may be another one by now.
        self.state.given_up = self.state.given_up.take().filter(stays);
        if desired.paused || self.requested.paused {
            return None;
        }
        match (&self.state.given_up, desired.on_unhealthy) {
            (Some(_), OnUnhealthy::Rollback) => self.state.healthy.clone(),
            (Some(_), OnUnhealthy::Pause) => None,
            (Some(_), OnUnhealthy::Keep) | (None, _) => Some(desired.version.clone()),
        }
    }

    /// Another build begins anew, and has to show that it is healthy.
    fn try_out(&mut self, target: Option<&Version>) {
        let Some(target) = target else { return };
        if self.state.trial.as_ref().is_none_or(|it| it.build != target.build) {
            let passed = self.state.healthy.as_ref().is_some_and(|it| it.build == target.build);
            self.state.trial = Some(Trial { build: target.build, since: self.now, passed });
            (self.state.failures, self.state.not_before) = (0, None);
        }
    }

    fn running(mut self, mut run: Run, target: Option<Version>, seen: &RunStatus) -> Decision {
        let stop = match (&self.desired, &target) {
            (None, _) => Some(Stopping::Deleted),
            (Some(_), None) => Some(Stopping::Paused),
            (Some(_), Some(target)) if target.build != run.version.build => Some(Stopping::Replaced),
            _ if self.requested.restarts > self.state.restarts => Some(Stopping::Restarted),
            // That they follow the load from now on, or no more, can wait for the next start.
            _ if run.executors.is_some() && self.executors().is_some_and(|it| run.executors != Some(it)) => {
                Some(Stopping::Resized)
            }
            (Some(_), Some(target)) => {
                // It was changed in place.
                run.version.revision = target.revision;
                if let Some(healthy) = self.state.healthy.as_mut().filter(|it| it.build == target.build) {
                    healthy.revision = target.revision;
                }
                None
            }
        };
        if let Some(stop) = stop {
            self.state.restarts = self.requested.restarts;
            // What was not healthy has failed, though it would have been stopped for something else too.
            if run.stopping.is_none() {
                self.events.push(format!("run {} is stopped: {}", run.number, stop.words()));
                run.stopping = Some(stop);
            }
        }
        self.state.run = Some(run.clone());
        // Whether the Runner has it can only be told by submitting it; what was not let in is not there.
        let Some(execution) = run.execution.clone() else {
            let act = Effect::Start(run.clone());
            return match seen {
                RunStatus::Held { .. } if run.stopping.is_some() => {
                    self.state.run = None;
                    self.resting(target)
                }
                RunStatus::Held { by } => self.decided(Some(act), Condition::Held { by: by.clone() }),
                _ => {
                    self.wake_when_late(&run);
                    self.decided(Some(act), Condition::Starting)
                }
            };
        };
        match (run.stopping, seen) {
            (Some(stopping), _) => {
                self.decided(Some(Effect::Stop { execution }), Condition::Stopping(stopping))
            }
            (None, RunStatus::Alive { health: Health::Moving { .. } }) => {
                self.decided(None, Condition::Healthy)
            }
            (None, RunStatus::Alive { health: Health::Silent { since } }) => {
                let condition = self.silent(&run, *since);
                self.decided(None, condition)
            }
            (None, _) => self.decided(None, Condition::Starting),
        }
    }

    /// Returns the condition of a run whose backend reports nothing but a running driver.
    fn silent(&self, run: &Run, since: Timestamp) -> Condition {
        let settles = self.desired.map_or(0, |desired| settles(desired, &run.version));
        match run.version.is_service() {
            true if self.now < later(since, settles) => Condition::Starting,
            true => Condition::Healthy,
            false => Condition::Silent,
        }
    }

    fn resting(mut self, target: Option<Version>) -> Decision {
        if self.requested.restarts > self.state.restarts {
            // Whoever asks for it does not want to wait either.
            (self.state.restarts, self.state.not_before) = (self.requested.restarts, None);
        }
        let Some(target) = target else {
            let condition = if self.desired.is_some() { Condition::Paused } else { Condition::Gone };
            return self.decided(None, condition);
        };
        if let Some(until) = self.state.not_before.filter(|until| self.now < *until) {
            self.wake_at(until);
            return self.decided(None, Condition::BackingOff { until });
        }
        self.state.starts += 1;
        self.state.pressure = None;
        let run = Run {
            number: self.state.starts,
            version: target,
            begun: self.now,
            executors: self.executors(),
            execution: None,
            stopping: None,
        };
        self.events.push(format!("run {} of revision {} is started", run.number, run.version.revision));
        self.state.run = Some(run.clone());
        self.wake_when_late(&run);
        self.decided(Some(Effect::Start(run)), Condition::Starting)
    }

    /// For as long as it is seen as its start was answered, nothing else has it be decided about.
    fn wake_when_late(&mut self, run: &Run) {
        if let Some(desired) = self.desired {
            // What is late already is not asked for without a pause.
            self.wake_at(later(run.begun, desired.start_within).max(later(self.now, 1)));
        }
    }
}

impl Stopping {
    fn words(self) -> &'static str {
        match self {
            Self::Replaced => "another revision takes its place",
            Self::Paused => "it is paused",
            Self::Deleted => "it is deleted",
            Self::Restarted => "a restart was asked for",
            Self::Resized => "it gets another number of executors",
            Self::Unhealthy => "it is not healthy",
        }
    }
}

fn later(at: Timestamp, seconds: u64) -> Timestamp {
    let by = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

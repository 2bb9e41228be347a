//! Decides the next step for a continuous job.

use dcp_model::manifest::OnUnhealthy;
use jiff::{SignedDuration, Timestamp};

use super::{
    Desired, GivenUp, Health, JobState, Observed, Requested, Run, RunStatus, Stopping, Trial, Version,
    backoff,
};

/// Duration of a run after which earlier failures no longer count.
const FAILURES_RESET_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Interval between checks of the number of executors, in seconds.
const SCALE_INTERVAL: u64 = 15;

/// An effect outside of the reconciler. It is performed after the state was saved, and repeated as long as it is
/// decided again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Submits a run with its own token. The response is its execution, new or existing.
    Start(Run),
    /// Stops an execution.
    Stop { execution: String },
}

/// The condition of a job, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The job is deleted, and no run is alive.
    Deleted,
    Paused,
    /// Unknown, as the Runner does not answer.
    Unknown,
    Starting,
    /// Another execution has its checkpoint.
    Held {
        by: String,
    },
    Healthy,
    /// Runs without reporting progress.
    Silent,
    Stopping(Stopping),
    /// Failed, and waits for its backoff.
    BackingOff {
        until: Timestamp,
    },
}

/// A decision about a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The new state, saved before the effect is performed.
    pub state: JobState,
    pub effect: Option<Effect>,
    pub condition: Condition,
    /// The time of the next decision, if nothing changes before.
    pub wake: Option<Timestamp>,
    /// Messages about the decision, with reasons.
    pub events: Vec<String>,
}

/// Decides the next step. `jitter` is a number that differs between jobs.
pub fn decide(
    desired: Option<&Desired>,
    requested: &Requested,
    state: &JobState,
    observed: &Observed,
    now: Timestamp,
    jitter: u64,
) -> Decision {
    let Observed { run: status, orphan } = observed;
    let mut it =
        Decider { desired, requested, state: state.clone(), now, jitter, events: Vec::new(), wake: None };
    if it.state.run.is_some() && *status == RunStatus::Unknown {
        return it.decided(None, Condition::Unknown);
    }
    // The orphan goes first: while it lives, nothing else may use the checkpoint.
    if let Some(orphan) = orphan {
        let effect = Effect::Stop { execution: orphan.clone() };
        return it.decided(Some(effect), Condition::Held { by: orphan.clone() });
    }
    it.observe(status);
    let target = it.target();
    it.begin_trial(target.as_ref());
    match it.state.run.clone() {
        Some(run) => it.decide_running(run, target, status),
        None => it.decide_stopped(target),
    }
}

/// Returns the time in seconds after which a driver without reported progress counts as healthy.
fn settle_time(desired: &Desired, version: &Version) -> u64 {
    if version.is_service() { desired.stable_after } else { desired.start_within }
}

struct Decider<'a> {
    desired: Option<&'a Desired>,
    requested: &'a Requested,
    state: JobState,
    now: Timestamp,
    jitter: u64,
    events: Vec<String>,
    wake: Option<Timestamp>,
}

impl Decider<'_> {
    fn decided(self, effect: Option<Effect>, condition: Condition) -> Decision {
        let Self { state, events, wake, .. } = self;
        Decision { state, effect, condition, wake, events }
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |before| before.min(at)));
    }

    /// Updates the state from the observed status of the run.
    fn observe(&mut self, status: &RunStatus) {
        let Some(run) = self.state.run.clone() else { return };
        match status {
            RunStatus::Unknown | RunStatus::Nothing | RunStatus::Held { .. } => {}
            RunStatus::Rejected { why, retryable } => {
                self.state.run = None;
                self.record_failure(&run, why, *retryable);
            }
            RunStatus::Ended { succeeded, why, retryable } => {
                self.state.run = None;
                match run.stopping {
                    Some(Stopping::Unhealthy) => {
                        let why =
                            self.state.failure.clone().unwrap_or_else(|| "it was not healthy".to_owned());
                        self.record_failure(&run, &why, true);
                    }
                    Some(why) => {
                        self.events.push(format!("run {} has stopped: {}", run.number, why.description()));
                    }
                    // A continuous job must not end by itself.
                    None if *succeeded => self.record_failure(&run, "it ended by itself", true),
                    None => self.record_failure(&run, why, *retryable),
                }
            }
            RunStatus::Alive { health } => self.check_health(run, *health),
        }
    }

    /// Records a failed run.
    fn record_failure(&mut self, run: &Run, why: &str, retryable: bool) {
        self.state.failures = self.state.failures.saturating_add(1);
        self.state.failure = Some(why.to_owned());
        self.state.not_before = Some(backoff::not_before(self.now, self.state.failures, self.jitter));
        self.events.push(format!("run {} of revision {} failed: {why}", run.number, run.version.revision));
        let late = self.trial_ends(run.version.build).is_some_and(|end| self.now >= end);
        if !retryable || late {
            self.give_up(&run.version, why);
        }
    }

    /// Returns the end of a build's trial, or none if it passed or is not on trial.
    fn trial_ends(&self, build: u64) -> Option<Timestamp> {
        let trial = self.state.trial.as_ref().filter(|it| it.build == build && !it.passed)?;
        let Desired { start_within, stable_after, .. } = self.desired?;
        Some(later(trial.since, start_within.saturating_add(*stable_after)))
    }

    /// Gives up a build on trial, if the policy has an alternative.
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

    /// Checks the health of a run.
    fn check_health(&mut self, run: Run, health: Health) {
        let Some(desired) = self.desired.filter(|_| run.stopping.is_none()) else { return };
        let start_ends = later(run.begun, desired.start_within);
        let problem = match health {
            Health::Progressing { last, batch_millis } => {
                let end = later(last, desired.progress_within);
                if self.now < end {
                    self.wake_at(end);
                    self.mark_healthy(&run);
                    self.scale(&run, batch_millis);
                    return;
                }
                format!("it finished no batch for {} s", desired.progress_within)
            }
            // Without progress, the only sign of health is that the driver runs.
            Health::Silent { since } => {
                let end = later(since, settle_time(desired, &run.version));
                match self.now < end {
                    true => self.wake_at(end),
                    false => self.mark_healthy(&run),
                }
                return;
            }
            Health::Queued => {
                self.extend_start(run, desired.start_within);
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
        self.stop_unhealthy(run, problem);
    }

    /// Keeps at least half of the time to start for a run that waits in the queue of its Runner.
    fn extend_start(&mut self, mut run: Run, start_within: u64) {
        let half = start_within.div_ceil(2);
        if self.now >= later(run.begun, half) {
            run.begun = self.now;
            self.state.run = Some(run.clone());
        }
        self.wake_at(later(run.begun, half));
    }

    /// Marks a run as one to stop because of a problem.
    fn stop_unhealthy(&mut self, mut run: Run, problem: String) {
        self.events.push(format!(
            "run {} of revision {} is not healthy: {problem}",
            run.number, run.version.revision
        ));
        let late = self.trial_ends(run.version.build).is_some_and(|end| self.now >= end);
        if late {
            self.give_up(&run.version, &problem);
        }
        self.state.failure = Some(problem);
        run.stopping = Some(Stopping::Unhealthy);
        self.state.run = Some(run);
    }

    /// Marks the version of a run as healthy.
    fn mark_healthy(&mut self, run: &Run) {
        if let Some(trial) =
            self.state.trial.as_mut().filter(|it| it.build == run.version.build && !it.passed)
        {
            trial.passed = true;
            self.events.push(format!("run {} of revision {} is healthy", run.number, run.version.revision));
        }
        if self.state.healthy.as_ref() != Some(&run.version) {
            self.state.healthy = Some(run.version.clone());
        }
        let steady = run.begun.saturating_add(FAILURES_RESET_AFTER).unwrap_or(Timestamp::MAX);
        if self.state.failures > 0 || self.state.failure.is_some() {
            match self.now < steady {
                true => self.wake_at(steady),
                false => (self.state.failures, self.state.failure, self.state.not_before) = (0, None, None),
            }
        }
    }

    /// Changes the number of executors if the load requires it.
    fn scale(&mut self, run: &Run, batch_millis: u64) {
        let scaling = self.desired.and_then(|it| it.scaling.as_ref());
        let (Some(scaling), Some(executors)) = (scaling, run.executors) else { return };
        // A start changes the number as well, so utilization counts from the start.
        let since = self.state.scale.as_ref().map_or(run.begun, |it| it.since.max(run.begun));
        let found = scaling.advise(executors, since, batch_millis, &mut self.state.pressure, self.now);
        if let Some(scale) = found {
            let why = &scale.why;
            self.events.push(format!("it gets {} executors instead of {executors}: {why}", scale.executors));
            self.state.scale = Some(scale);
        }
        if scaling.utilization(batch_millis).is_some() {
            self.wake_at(later(self.now, SCALE_INTERVAL));
        }
    }

    /// Returns the number of executors of the next start, if they follow the load.
    fn executors(&self) -> Option<u32> {
        Some(self.desired?.scaling.as_ref()?.executors_for(self.state.scale.as_ref()))
    }

    /// Returns the version that should run, if any.
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
        // A new revision or another policy revokes the decision.
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

    /// Begins the trial of a new build.
    fn begin_trial(&mut self, target: Option<&Version>) {
        let Some(target) = target else { return };
        if self.state.trial.as_ref().is_none_or(|it| it.build != target.build) {
            let passed = self.state.healthy.as_ref().is_some_and(|it| it.build == target.build);
            self.state.trial = Some(Trial { build: target.build, since: self.now, passed });
            (self.state.failures, self.state.not_before) = (0, None);
        }
    }

    /// Returns the reason to stop a run, if there is one.
    fn reason_to_stop(&self, run: &Run, target: Option<&Version>) -> Option<Stopping> {
        match (self.desired, target) {
            (None, _) => Some(Stopping::Deleted),
            (Some(_), None) => Some(Stopping::Paused),
            (Some(_), Some(target)) if target.build != run.version.build => Some(Stopping::Replaced),
            _ if self.requested.restarts > self.state.restarts => Some(Stopping::Restarted),
            // Switching scaling on or off waits for the next start.
            _ if run.executors.is_some() && self.executors().is_some_and(|it| run.executors != Some(it)) => {
                Some(Stopping::Resized)
            }
            _ => None,
        }
    }

    fn decide_running(mut self, mut run: Run, target: Option<Version>, status: &RunStatus) -> Decision {
        if let Some(stop) = self.reason_to_stop(&run, target.as_ref()) {
            self.state.restarts = self.requested.restarts;
            // An unhealthy run counts as failed, even if there is another reason to stop it.
            if run.stopping.is_none() {
                self.events.push(format!("run {} is stopped: {}", run.number, stop.description()));
                run.stopping = Some(stop);
            }
        } else if let Some(target) = &target {
            // The revision changed in place.
            run.version.revision = target.revision;
            if let Some(healthy) = self.state.healthy.as_mut().filter(|it| it.build == target.build) {
                healthy.revision = target.revision;
            }
        }
        self.state.run = Some(run.clone());
        // Only a submit shows whether the Runner has the run. A rejected submit left none.
        let Some(execution) = run.execution.clone() else {
            let effect = Effect::Start(run.clone());
            return match status {
                RunStatus::Held { .. } if run.stopping.is_some() => {
                    self.state.run = None;
                    self.decide_stopped(target)
                }
                RunStatus::Held { by } => self.decided(Some(effect), Condition::Held { by: by.clone() }),
                _ => {
                    self.wake_when_late(&run);
                    self.decided(Some(effect), Condition::Starting)
                }
            };
        };
        match (run.stopping, status) {
            (Some(stopping), _) => {
                self.decided(Some(Effect::Stop { execution }), Condition::Stopping(stopping))
            }
            (None, RunStatus::Alive { health: Health::Progressing { .. } }) => {
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
        let settle_time = self.desired.map_or(0, |desired| settle_time(desired, &run.version));
        match run.version.is_service() {
            true if self.now < later(since, settle_time) => Condition::Starting,
            true => Condition::Healthy,
            false => Condition::Silent,
        }
    }

    fn decide_stopped(mut self, target: Option<Version>) -> Decision {
        if self.requested.restarts > self.state.restarts {
            // A restart ends the backoff.
            (self.state.restarts, self.state.not_before) = (self.requested.restarts, None);
        }
        let Some(target) = target else {
            let condition = if self.desired.is_some() { Condition::Paused } else { Condition::Deleted };
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

    /// Wakes the job at the end of its start timeout, as no observation may change until then.
    fn wake_when_late(&mut self, run: &Run) {
        if let Some(desired) = self.desired {
            // Late runs are checked once per second.
            self.wake_at(later(run.begun, desired.start_within).max(later(self.now, 1)));
        }
    }
}

impl Stopping {
    fn description(self) -> &'static str {
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

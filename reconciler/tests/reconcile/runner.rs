//! A simulated Runner, whose executions fail in every way.

use std::collections::BTreeMap;

use dcp_reconciler::reconcile::{Health, Run, RunStatus, Version};
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Random numbers that depend on the seed alone.
pub(crate) struct Dice(StdRng);

impl Dice {
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0.random_range(0..sides)
    }

    pub(crate) fn once_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// Behaviour of the executions of a build.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Behavior {
    Good,
    /// Fails at once; another attempt may succeed if it is retryable.
    Fails {
        retryable: bool,
    },
    /// Ends by itself, successfully.
    Ends,
    /// Runs without any progress.
    Hangs,
}

#[derive(Debug, Clone)]
pub(crate) struct Execution {
    token: (u64, u64),
    pub(crate) version: Version,
    begun: Timestamp,
    end: Option<End>,
    /// The number of steps until it stops; set once a stop is requested.
    stopping: Option<u64>,
    /// Set if someone started it by hand.
    pub(crate) foreign: bool,
}

#[derive(Debug, Clone)]
struct End {
    succeeded: bool,
    why: &'static str,
    retryable: bool,
}

/// The Runner, and the state that last wrote to each checkpoint.
#[derive(Default)]
pub(crate) struct SimulatedRunner {
    pub(crate) executions: Vec<Execution>,
    checkpoints: BTreeMap<Option<String>, u64>,
    pub(crate) behaviors: BTreeMap<u64, Behavior>,
    /// Submits that have not reached the Runner yet, though their sender has stopped waiting.
    pub(crate) late: Vec<Run>,
    pub(crate) resets: usize,
    pub(crate) orphans_seen: usize,
    /// The number of runs of services that were started.
    pub(crate) services: usize,
}

impl SimulatedRunner {
    pub(crate) fn alive(&self) -> impl Iterator<Item = (usize, &Execution)> {
        self.executions.iter().enumerate().filter(|(_, it)| it.end.is_none())
    }

    pub(crate) fn submit(&mut self, run: &Run, now: Timestamp) -> Result<usize, RunStatus> {
        let token = (run.version.revision, run.number);
        if let Some(at) = self.executions.iter().position(|it| it.token.1 == token.1) {
            assert_eq!(self.executions[at].version.build, run.version.build, "one token, one request");
            return Ok(at);
        }
        let holder = self.alive().find(|(_, it)| it.version.checkpoint == run.version.checkpoint);
        if let Some((by, _)) = holder {
            return Err(RunStatus::Held { by: by.to_string() });
        }
        self.services += usize::from(run.version.is_service());
        // The Runner moves a checkpoint of another state away, once the execution holds the checkpoint exclusively.
        if !run.version.is_service() {
            let before = self.checkpoints.insert(run.version.checkpoint.clone(), run.version.state);
            self.resets += usize::from(before.is_some_and(|before| before != run.version.state));
        }
        let version = run.version.clone();
        let (end, stopping, foreign) = (None, None, false);
        self.executions.push(Execution { token, version, begun: now, end, stopping, foreign });
        Ok(self.executions.len() - 1)
    }

    pub(crate) fn stop(&mut self, id: &str, dice: &mut Dice) {
        let at: usize = id.parse().expect("it is one of these");
        let steps_left = dice.roll(3);
        self.executions[at].stopping.get_or_insert(steps_left);
    }

    /// Starts a continuous job by hand if nothing runs.
    pub(crate) fn start_by_hand(&mut self, version: Version, now: Timestamp) {
        if self.alive().next().is_none() {
            let token = (0, u64::MAX - self.executions.len() as u64);
            let (end, stopping, foreign) = (None, Some(20), true);
            self.executions.push(Execution { token, version, begun: now, end, stopping, foreign });
        }
    }

    /// Advances live executions, and may deliver a late submit.
    pub(crate) fn advance(&mut self, now: Timestamp, dice: &mut Dice, faults: bool) {
        if !self.late.is_empty() && (!faults || dice.once_in(8)) {
            let run = self.late.remove(0);
            let _ = self.submit(&run, now);
        }
        for it in self.executions.iter_mut().filter(|it| it.end.is_none()) {
            let behavior = self.behaviors.get(&it.version.build).copied().unwrap_or(Behavior::Good);
            let end = |succeeded, why, retryable| Some(End { succeeded, why, retryable });
            if let Some(steps_left) = &mut it.stopping {
                match steps_left {
                    0 => it.end = end(true, "it was asked to stop", true),
                    _ => *steps_left -= 1,
                }
            } else if let Behavior::Fails { retryable } = behavior {
                it.end = end(false, "it always fails", retryable);
            } else if behavior == Behavior::Ends {
                it.end = end(true, "it is done", true);
            } else if faults && dice.once_in(30) {
                it.end = end(dice.once_in(4), "it was killed", true);
            }
        }
    }

    /// Returns a live execution of the job that is not its current run and was not started by hand.
    pub(crate) fn orphan(&mut self, run: Option<&Run>) -> Option<String> {
        let number = run.map(|run| run.number);
        let found = self.alive().find(|(_, it)| !it.foreign && Some(it.token.1) != number)?.0;
        self.orphans_seen += 1;
        Some(found.to_string())
    }

    pub(crate) fn seen(&self, run: Option<&Run>, now: Timestamp) -> RunStatus {
        let Some(id) = run.and_then(|run| run.execution.as_ref()) else { return RunStatus::Nothing };
        let it = &self.executions[id.parse::<usize>().expect("it is one of these")];
        if let Some(End { succeeded, why, retryable }) = &it.end {
            return RunStatus::Ended { succeeded: *succeeded, why: (*why).to_owned(), retryable: *retryable };
        }
        let age = now.duration_since(it.begun);
        let health = match self.behaviors.get(&it.version.build) {
            _ if age < SignedDuration::from_secs(2) => Health::Pending,
            _ if it.version.is_service() => Health::Silent { since: it.begun + SignedDuration::from_secs(2) },
            Some(Behavior::Hangs) => Health::Starting,
            _ => Health::Progressing { last: now, batch_millis: 100 },
        };
        RunStatus::Alive { health }
    }
}

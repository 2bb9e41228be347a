//! Simulates runs of one schedule that replace each other, in a world in which a Runner crashes between any two lines,
//! for thousands of seeds. `DCP_SEED=N` repeats a single one.

use dcp_gateway::{End, Phase as At, Status};
use dcp_model::manifest::Backend;
use dcp_runner::execution::{Execution, Id, Phase, Policy, StopReason};
use dcp_runner::machine::{Effect, Event, apply_event, next_effect};
use dcp_runner::replace::{Claim, Rival, decide};
use jiff::{SignedDuration, Timestamp};

/// A small generator of random numbers that depend only on the seed.
struct SeededRng(u64);

impl SeededRng {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn pick(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(length as u64)).expect("small")
    }
}

/// A run as stored, and whether its driver is alive.
struct Run {
    execution: Execution,
    order: i64,
    has_key: bool,
    alive: bool,
}

impl Run {
    fn is_live(&self) -> bool {
        !self.execution.phase.is_final()
    }

    fn rank(&self) -> (i64, &Id) {
        (self.order, &self.execution.id)
    }
}

fn policy() -> Policy {
    Policy {
        attempts: 2,
        remedies: 0,
        backoff_seconds: 1,
        max_backoff_seconds: 1,
        causes: Vec::new(),
        start_seconds: 900,
        run_seconds: None,
        stop_seconds: 1,
        ttl_seconds: 3600,
    }
}

fn submit(runs: &mut Vec<Run>, order: i64, now: Timestamp) {
    let id = Id::parse(&format!("r{:03}", runs.len())).expect("the value is valid");
    let mut execution = Execution::new(id, policy(), Backend::Local, now);
    execution.awaits_key = true;
    runs.push(Run { execution, order, has_key: false, alive: false });
}

/// Performs an action for a run like a Runner, and returns its outcome.
fn perform(runs: &mut [Run], at: usize, effect: &Effect, rng: &mut SeededRng, now: Timestamp) -> Event {
    let status = |phase, end| Some(Status { started: Some(now), end, ..Status::new(phase) });
    let ended = |succeeded: bool, stopped: bool| {
        let exit_code = Some(i32::from(!succeeded));
        status(At::Ended, Some(End { succeeded, stopped, ..End::exited(now, exit_code, None) }))
    };
    match effect {
        Effect::Claim => claim(runs, at, rng, now),
        Effect::Create => {
            runs[at].alive = true;
            Event::Created
        }
        Effect::Poll if rng.roll(8) == 0 => {
            runs[at].alive = false;
            Event::Polled(ended(rng.roll(2) == 0, false), None)
        }
        Effect::Delete { .. } if rng.roll(3) == 0 => {
            runs[at].alive = false;
            Event::Polled(ended(false, true), None)
        }
        Effect::Poll | Effect::Delete { .. } => Event::Polled(status(At::Running, None), None),
        Effect::Nothing | Effect::Wait(_) | Effect::Step | Effect::Prepare => Event::Stepped,
    }
}

/// Claims the key like the store in one transaction, and handles the result like the Runner.
fn claim(runs: &mut [Run], at: usize, rng: &mut SeededRng, now: Timestamp) -> Event {
    let others = runs.iter().enumerate().filter(|(other, run)| *other != at && run.is_live());
    let rivals: Vec<Rival> = others
        .map(|(_, run)| Rival { id: run.execution.id.clone(), order: Some(run.order), has_key: run.has_key })
        .collect();
    let id = runs[at].execution.id.clone();
    match decide(&id, Some(runs[at].order), &rivals) {
        Claim::Free => {
            assert!(!runs.iter().enumerate().any(|(it, run)| it != at && run.is_live() && run.has_key));
            runs[at].has_key = true;
            Event::Claimed
        }
        Claim::Newer(by) => Event::Replaced { by },
        Claim::Held(by) => {
            // The Runner may crash before it requests the replacement.
            let holder = runs.iter_mut().find(|run| run.execution.id == by).filter(|_| rng.roll(4) > 0);
            if let Some(holder) = holder {
                apply_event(&mut holder.execution, Event::Replaced { by: id }, now);
            }
            Event::Held { by }
        }
        Claim::Ended => unreachable!("it is live"),
    }
}

fn simulate(seed: u64) -> Result<u32, String> {
    let (mut rng, mut now) = (SeededRng(seed), Timestamp::UNIX_EPOCH);
    let mut runs: Vec<Run> = Vec::new();
    let most = 2 + rng.pick(6);
    for _ in 0..100_000 {
        now = now.checked_add(SignedDuration::from_millis(500)).expect("soon");
        if runs.len() < most && rng.roll(12) == 0 {
            // Nearly always the next one; sometimes an older one that comes late.
            let order =
                i64::try_from(runs.len()).expect("small") * 10 - if rng.roll(5) == 0 { 25 } else { 0 };
            submit(&mut runs, order, now);
        }
        if runs.len() == most && !runs.iter().any(Run::is_live) {
            return check(&runs);
        }
        if runs.is_empty() {
            continue;
        }
        let at = rng.pick(runs.len());
        let effect = next_effect(&runs[at].execution, now);
        if matches!(effect, Effect::Nothing | Effect::Wait(_)) {
            continue;
        }
        let event = perform(&mut runs, at, &effect, &mut rng, now);
        if runs.iter().filter(|run| run.alive).count() > 1 {
            return Err("two drivers are alive".to_owned());
        }
        // The outcome is not stored if the Runner crashes now.
        if rng.roll(6) > 0 {
            apply_event(&mut runs[at].execution, event, now);
        }
    }
    Err("they never ended".to_owned())
}

/// Checks all runs, and returns the number of replaced ones.
fn check(runs: &[Run]) -> Result<u32, String> {
    let mut replaced = 0;
    for run in runs {
        let Some(StopReason::Replaced { by }) = &run.execution.stopping else { continue };
        let by = runs.iter().find(|it| it.execution.id == *by).ok_or("it was replaced by nothing")?;
        if by.rank() <= run.rank() {
            return Err(format!("an older run replaced a newer one: {:?}", run.rank()));
        }
        replaced += 1;
    }
    let newest = runs.iter().max_by_key(|run| run.rank()).ok_or("there are no runs")?;
    if newest.execution.phase == Phase::Cancelled || newest.execution.attempts.is_empty() {
        return Err("the newest run did not run".to_owned());
    }
    if runs.iter().any(|run| run.alive || (run.execution.attempt() > 0 && !run.has_key)) {
        return Err("a run ran without the key, or still does".to_owned());
    }
    Ok(replaced)
}

#[test]
fn replaced_runs_never_overlap_after_crashes() {
    let seeds = match std::env::var("DCP_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..5_000u64,
    };
    let mut replaced = 0;
    for seed in seeds.clone() {
        replaced += simulate(seed).unwrap_or_else(|violation| panic!("DCP_SEED={seed}: {violation}"));
    }
    assert!(replaced > 1_000 || seeds.end - seeds.start == 1, "{replaced}");
}

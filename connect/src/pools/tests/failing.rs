//! Pools whose drivers end before they serve, or never answer.

use std::hash::{Hash as _, Hasher as _};

use dcp_runner::execution::Diagnosis;

use super::*;
use crate::session::PoolFailure;

/// Maximum age of a driver that never answers.
const SILENCE: SignedDuration = SignedDuration::from_mins(13);

/// Returns whether a driver is one of those that run, and never answer.
pub(super) fn hangs(id: &str) -> bool {
    let mut hasher = std::hash::DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish().is_multiple_of(4)
}

/// Checks that drivers that never answer are ended. Lost responses and interrupted rounds delay it.
pub(super) fn check_ends_of_silent_drivers(world: &World, seed: u64) {
    for record in world.live() {
        let running = record.execution.attempts.last().and_then(|attempt| attempt.running);
        let age = running.map_or(SignedDuration::ZERO, |running| now().duration_since(running));
        let is_silent = record.execution.phase == Phase::Running && hangs(&record.execution.name());
        assert!(!is_silent || age < SILENCE, "seed {seed}: a driver has hung for {age}");
    }
}

/// The drivers that run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drivers {
    Fail,
    Serve,
    /// They run, and never answer.
    Hang,
}
use Drivers::{Fail, Hang, Serve};

/// Performs a round each second.
async fn run(pools: &Pools, world: &World, build: u64, memory: &mut Memory, seconds: i64, drivers: Drivers) {
    for _ in 0..seconds {
        advance(1);
        world.step(if drivers == Fail { 100 } else { 0 });
        for stored in pools.store.drivers().await.unwrap() {
            if drivers == Serve {
                pools.store.set_open(&stored.driver.id, now()).await.unwrap();
            }
        }
        round(pools, &declared(Share::Domain, build), 1, memory, None).await.unwrap();
    }
}

async fn failure(pools: &Pools) -> Option<PoolFailure> {
    let mut failures = pools.store.failures().await.unwrap();
    assert!(failures.len() <= 1, "{failures:?}");
    failures.pop()
}

#[tokio::test]
async fn failing_drivers_start_after_growing_pauses_until_one_serves() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(1, 0);
    let pools = pools(&folder.path().join("state.db"), &world).await;
    let mut memory = Memory::default();
    run(&pools, &world, 1, &mut memory, 1_200, Fail).await;
    // Pauses of 5, 10, 20, 40, 80, 160, 300 and 300 s.
    let count = || world.with(|inner| inner.records.len());
    assert!((8..=9).contains(&count()), "{} drivers were started in 20 minutes", count());
    let stored = failure(&pools).await.unwrap();
    assert_eq!(stored.attempts, count() as u64);

    // A new leader respects the pause.
    memory = Memory::default();
    let before = count();
    round(&pools, &declared(Share::Domain, 1), 2, &mut memory, None).await.unwrap();
    world.with(|inner| inner.newest = 0);
    assert_eq!(count(), before);

    // A new definition is tried at once.
    run(&pools, &world, 2, &mut memory, 8, Fail).await;
    assert!(count() > before);
    let again = failure(&pools).await.unwrap();
    assert!(again.attempts < 3, "{again:?}");

    run(&pools, &world, 2, &mut memory, 60, Serve).await;
    assert!(failure(&pools).await.is_some(), "the driver has not served yet");
    run(&pools, &world, 2, &mut memory, 60, Serve).await;
    assert_eq!(failure(&pools).await, None);
}

#[tokio::test]
async fn failure_names_the_cause_and_the_execution() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(2, 0);
    let pools = pools(&folder.path().join("state.db"), &world).await;
    let mut memory = Memory::default();
    round(&pools, &declared(Share::Domain, 1), 1, &mut memory, None).await.unwrap();
    let id = world.with(|inner| {
        let record = inner.records.values_mut().next().unwrap();
        let diagnosis = Diagnosis {
            class: None,
            cause: "oom".to_owned(),
            summary: "the driver ran out of memory; password=hunter2hunter2".to_owned(),
            evidence: Vec::new(),
        };
        record.execution.attempts.push(Attempt { diagnosis: Some(diagnosis), ..attempt() });
        record.execution.phase = Phase::Failed;
        record.id().as_str().to_owned()
    });
    round(&pools, &declared(Share::Domain, 1), 1, &mut memory, None).await.unwrap();
    let stored = failure(&pools).await.unwrap();
    assert_eq!((stored.cause.as_str(), stored.execution.as_deref()), ("oom", Some(id.as_str())));
    assert!(
        stored.message.starts_with("the driver ran out of memory") && !stored.message.contains("hunter2")
    );
}

#[tokio::test]
async fn rejected_driver_is_submitted_again_after_a_pause() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(3, 0);
    let pools = pools(&folder.path().join("state.db"), &world).await;
    let mut memory = Memory::default();
    world.with(|inner| inner.rejection = Some(Error::Denied("`reconciler` is no developer".to_owned())));
    run(&pools, &world, 1, &mut memory, 60, Serve).await;
    let stored = failure(&pools).await.unwrap();
    assert_eq!((stored.cause.as_str(), stored.execution), ("rejected", None));
    assert!((4..=5).contains(&stored.attempts), "{}", stored.attempts);
    assert!(stored.message.contains("is no developer"), "{}", stored.message);
    world.with(|inner| inner.rejection = None);
    run(&pools, &world, 1, &mut memory, 200, Serve).await;
    assert_eq!(failure(&pools).await, None);
    assert_eq!(world.live().len(), 1);
}

#[tokio::test]
async fn driver_that_never_answers_is_ended_and_the_next_ones_start_after_growing_pauses() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(4, 0);
    let pools = pools(&folder.path().join("state.db"), &world).await;
    let mut memory = Memory::default();
    let records = || world.with(|inner| inner.records.values().cloned().collect::<Vec<_>>());
    run(&pools, &world, 1, &mut memory, 590, Hang).await;
    assert_eq!((records().len(), failure(&pools).await), (1, None));
    run(&pools, &world, 1, &mut memory, 30, Hang).await;
    let ended = records().into_iter().find(|record| record.execution.phase == Phase::Cancelled);
    let ended = ended.expect("the driver is ended");
    let stored = failure(&pools).await.unwrap();
    assert_eq!((stored.cause.as_str(), stored.attempts), ("unresponsive", 1));
    assert_eq!(stored.execution.as_deref(), Some(ended.id().as_str()));
    assert!(stored.message.contains("did not respond to a proxy within 10 minutes"), "{}", stored.message);
    // After 10 minutes each: pauses of 10, 20 and 40 s.
    run(&pools, &world, 1, &mut memory, 1_830, Hang).await;
    assert_eq!((records().len(), failure(&pools).await.unwrap().attempts), (4, 4));
    assert!(world.live().len() <= 1);
    run(&pools, &world, 1, &mut memory, 200, Serve).await;
    assert_eq!((world.live().len(), failure(&pools).await), (1, None));
}

#[tokio::test]
async fn failure_of_a_driver_that_never_answers_is_recorded_once_wherever_the_loop_is_interrupted() {
    for steps in 1..60 {
        let folder = tempfile::tempdir().unwrap();
        let world = world(5, 0);
        let pools = pools(&folder.path().join("state.db"), &world).await;
        let declared = declared(Share::Domain, 1);
        for _ in 0..3 {
            advance(1);
            world.step(0);
            round(&pools, &declared, 1, &mut Memory::default(), None).await.unwrap();
        }
        world.with(|inner| {
            let record = inner.records.values_mut().next().unwrap();
            record.execution.attempts = vec![attempt()];
            record.execution.phase = Phase::Running;
        });
        advance(600);
        let _ = round(&pools, &declared, 2, &mut Memory::default(), Some(steps)).await;
        for _ in 0..4 {
            world.with(|inner| {
                for record in inner.records.values_mut() {
                    if record.execution.phase == Phase::Cancelling {
                        record.execution.phase = Phase::Cancelled;
                    }
                }
            });
            round(&pools, &declared, 3, &mut Memory::default(), None).await.unwrap();
        }
        assert_eq!(failure(&pools).await.unwrap().attempts, 1, "interrupted after {steps} steps");
        assert_eq!(world.live().len(), 0, "interrupted after {steps} steps");
    }
}

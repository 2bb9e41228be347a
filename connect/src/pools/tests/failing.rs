//! Pools whose drivers end before they serve.

use dcp_runner::execution::Diagnosis;

use super::*;
use crate::session::PoolFailure;

/// Performs a round each second. Drivers that run fail, or serve.
async fn run(pools: &Pools, world: &World, build: u64, memory: &mut Memory, seconds: i64, is_failing: bool) {
    for _ in 0..seconds {
        advance(1);
        world.step(if is_failing { 100 } else { 0 });
        for stored in pools.store.drivers().await.unwrap() {
            if !is_failing {
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
    run(&pools, &world, 1, &mut memory, 1_200, true).await;
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
    run(&pools, &world, 2, &mut memory, 8, true).await;
    assert!(count() > before);
    let again = failure(&pools).await.unwrap();
    assert!(again.attempts < 3, "{again:?}");

    run(&pools, &world, 2, &mut memory, 60, false).await;
    assert!(failure(&pools).await.is_some(), "the driver has not served yet");
    run(&pools, &world, 2, &mut memory, 60, false).await;
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
    run(&pools, &world, 1, &mut memory, 60, false).await;
    let stored = failure(&pools).await.unwrap();
    assert_eq!((stored.cause.as_str(), stored.execution), ("rejected", None));
    assert!((4..=5).contains(&stored.attempts), "{}", stored.attempts);
    assert!(stored.message.contains("is no developer"), "{}", stored.message);
    world.with(|inner| inner.rejection = None);
    run(&pools, &world, 1, &mut memory, 200, false).await;
    assert_eq!(failure(&pools).await, None);
    assert_eq!(world.live().len(), 1);
}

//! Rules of the contract.

use std::time::{Duration, Instant};

use dcp_model::primitive::Fingerprint;
use dcp_reconciler::reconcile::lease::Lease;
use dcp_reconciler::reconcile::store::{Key, Store};
use dcp_reconciler::reconcile::{GivenUp, JobState, Requested, Run, Version};
use jiff::Timestamp;

use crate::Fixture;

fn key(name: &str) -> Key {
    Key { scope: "shop/prod".to_owned(), address: format!("ContinuousJob/logistics/{name}") }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn state(starts: u64) -> JobState {
    let version = Version {
        revision: 3,
        build: 2,
        state: 1,
        job: Fingerprint::of("job"),
        trigger: Some(dcp_model::manifest::Trigger::default()),
        checkpoint: Some("s3://lake/clicks".to_owned()),
        grace: 120,
    };
    let run = Run {
        number: starts,
        version,
        begun: at(0),
        executors: Some(3),
        execution: Some("a1".to_owned()),
        stopping: None,
    };
    JobState {
        run: Some(run),
        starts,
        failure: Some("out of memory ✓".to_owned()),
        not_before: Some(at(1)),
        given_up: Some(GivenUp { build: 4, at: at(2), why: "it failed".to_owned() }),
        ..JobState::default()
    }
}

pub(crate) async fn saved_states_are_read_back(fixture: Fixture) {
    let mut stored = fixture.store.job(&key("clicks")).await.unwrap();
    assert_eq!((stored.version, &stored.state), (0, &JobState::default()));
    for starts in 1..4 {
        stored.state = state(starts);
        assert!(fixture.store.save(&key("clicks"), &mut stored, &[], at(0)).await.unwrap());
        assert_eq!(fixture.other.job(&key("clicks")).await.unwrap(), stored);
        assert_eq!(stored.version, starts);
    }
    let mut second = fixture.other.job(&key("orders")).await.unwrap();
    assert!(fixture.other.save(&key("orders"), &mut second, &["said".to_owned()], at(0)).await.unwrap());
    let all = fixture.store.jobs().await.unwrap();
    assert_eq!(all, [(key("clicks"), stored), (key("orders"), second)]);
}

pub(crate) async fn second_writer_gets_a_conflict(fixture: Fixture) {
    let events = ["it was decided".to_owned()];
    for events in [&events[..], &[]] {
        for _ in 0..2 {
            let mut first = fixture.store.job(&key("clicks")).await.unwrap();
            let mut second = fixture.other.job(&key("clicks")).await.unwrap();
            first.state.starts += 1;
            second.state.starts += 100;
            assert!(fixture.store.save(&key("clicks"), &mut first, events, at(0)).await.unwrap());
            let before = second.clone();
            assert!(!fixture.other.save(&key("clicks"), &mut second, events, at(0)).await.unwrap());
            assert_eq!(second, before);
            assert_eq!(fixture.other.job(&key("clicks")).await.unwrap(), first);
        }
    }
    assert_eq!(
        fixture.store.events(&key("clicks"), 10).await.unwrap().len(),
        2,
        "a rejected save stores no event"
    );
}

pub(crate) async fn events_are_listed_newest_first(fixture: Fixture) {
    let mut stored = fixture.store.job(&key("clicks")).await.unwrap();
    for number in 0..300 {
        let events = [format!("{number} a"), format!("{number} b")];
        assert!(fixture.store.save(&key("clicks"), &mut stored, &events, at(number)).await.unwrap());
    }
    let listed_events = fixture.other.events(&key("clicks"), 3).await.unwrap();
    let listed: Vec<(&str, Timestamp)> =
        listed_events.iter().map(|it| (it.message.as_str(), it.at)).collect();
    assert_eq!(listed, [("299 b", at(299)), ("299 a", at(299)), ("298 b", at(298))]);
    let all = fixture.store.events(&key("clicks"), 10_000).await.unwrap();
    assert!((400..=410).contains(&all.len()), "{} events are stored", all.len());
    assert_eq!(fixture.store.events(&key("orders"), 3).await.unwrap(), []);
}

pub(crate) async fn requests_are_counted(fixture: Fixture) {
    let (store, other) = (&fixture.store, &fixture.other);
    assert_eq!(store.requests(0).await.unwrap(), []);
    store.restart(&key("clicks"), "ada", at(0)).await.unwrap();
    other.pause(&key("clicks"), true, "ben", at(1)).await.unwrap();
    other.restart(&key("clicks"), "ada", at(2)).await.unwrap();
    other.pause(&key("orders"), true, "ada", at(3)).await.unwrap();
    let requested = |paused, restarts| Requested { paused, restarts };
    let all = store.requests(0).await.unwrap();
    assert_eq!(all, [(key("clicks"), requested(true, 2), 3), (key("orders"), requested(true, 0), 4)]);
    store.pause(&key("clicks"), false, "ada", at(4)).await.unwrap();
    assert_eq!(other.requests(4).await.unwrap(), [(key("clicks"), requested(false, 2), 5)]);
    assert_eq!(other.requests(5).await.unwrap(), []);
}

fn lease(store: &Store, length: Duration) -> Lease {
    Lease::new(store, "reconciler", length, Timestamp::now)
}

const LONG_LEASE: Duration = Duration::from_hours(1);
const SHORT_LEASE: Duration = Duration::from_millis(300);

/// Retries until the lease is held, and returns the epoch.
async fn wait_until_taken(lease: &mut Lease) -> u64 {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(epoch) = lease.renew_or_take().await.unwrap() {
            return epoch;
        }
        assert!(Instant::now() < deadline, "the lease was not taken");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn lease_has_one_holder(fixture: Fixture) {
    let (mut one, mut two) = (lease(&fixture.store, LONG_LEASE), lease(&fixture.other, LONG_LEASE));
    assert_eq!((one.renew_or_take().await.unwrap(), two.renew_or_take().await.unwrap()), (Some(1), None));
    for _ in 0..5 {
        assert_eq!((two.renew_or_take().await.unwrap(), one.renew_or_take().await.unwrap()), (None, Some(1)));
    }
    let mut another = Lease::new(&fixture.other, "another", LONG_LEASE, Timestamp::now);
    assert_eq!(another.renew_or_take().await.unwrap(), Some(1), "each name is a separate lease");
    // A lease whose holder does not release it is free only after it has expired.
    let mut short = lease(&fixture.other, SHORT_LEASE);
    assert_eq!(short.renew_or_take().await.unwrap(), None);
    drop(one);
    let begun = Instant::now();
    assert_eq!(wait_until_taken(&mut short).await, 2);
    assert!(begun.elapsed() > SHORT_LEASE);
}

pub(crate) async fn released_lease_is_taken_at_once(fixture: Fixture) {
    let (mut one, mut two) = (lease(&fixture.store, LONG_LEASE), lease(&fixture.other, LONG_LEASE));
    assert_eq!((one.renew_or_take().await.unwrap(), two.renew_or_take().await.unwrap()), (Some(1), None));
    two.release().await.unwrap();
    assert_eq!(one.renew_or_take().await.unwrap(), Some(1), "only the holder can release the lease");
    one.release().await.unwrap();
    assert_eq!((one.epoch(), two.renew_or_take().await.unwrap()), (None, Some(2)));
    assert_eq!(one.renew_or_take().await.unwrap(), None);
}

pub(crate) async fn holder_loses_an_expired_lease(fixture: Fixture) {
    let (mut one, mut two) = (lease(&fixture.store, SHORT_LEASE), lease(&fixture.other, SHORT_LEASE));
    assert_eq!(one.renew_or_take().await.unwrap(), Some(1));
    assert_eq!(two.renew_or_take().await.unwrap(), None);
    // The holder notices that its lease has expired before another one takes it.
    let begun = Instant::now();
    while one.epoch().is_some() {
        assert!(begun.elapsed() < SHORT_LEASE, "the holder did not notice that the lease expired");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(wait_until_taken(&mut two).await, 2);
    assert_eq!((one.renew_or_take().await.unwrap(), one.epoch()), (None, None));
    // A holder whose lease expired, but was not taken, continues with the same epoch.
    let mut alone = Lease::new(&fixture.store, "alone", SHORT_LEASE, Timestamp::now);
    assert_eq!(alone.renew_or_take().await.unwrap(), Some(1));
    while alone.epoch().is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(alone.renew_or_take().await.unwrap(), Some(1));
}

pub(crate) async fn one_of_many_takes_an_expired_lease(fixture: Fixture) {
    let mut first = lease(&fixture.store, SHORT_LEASE);
    assert_eq!(first.renew_or_take().await.unwrap(), Some(1));
    let tasks = (0..8).map(|number| {
        let store = if number % 2 == 0 { fixture.store.clone() } else { fixture.other.clone() };
        tokio::spawn(async move {
            let mut lease = lease(&store, SHORT_LEASE);
            let deadline = Instant::now() + Duration::from_secs(20);
            // The winner holds the lease as long as others try to take it.
            let mut turns = 0;
            while turns < 60 && Instant::now() < deadline {
                turns += u32::from(lease.renew_or_take().await.unwrap().is_some());
                let taken = store.leader("reconciler").await.unwrap().is_some_and(|it| it.epoch > 1);
                if turns == 0 && taken {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            lease.epoch()
        })
    });
    let mut winners = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(winners, [2]);
}

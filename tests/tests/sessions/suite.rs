//! The rules of the contract.

use std::collections::BTreeSet;

use dcp_connect::session::{Driver, DriverState, Pool, PoolFailure, PoolKey, SessionKey, Share, Size};
use dcp_connect::store::{Bound, Demand, Store};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use crate::Fixture;
pub(crate) use crate::sandboxes::*;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn key(user: &str, session: &str) -> SessionKey {
    SessionKey { domain: "shop".to_owned(), user: user.to_owned(), session: session.to_owned() }
}

fn pool() -> PoolKey {
    PoolKey { scope: "web".to_owned(), domain: "shop".to_owned(), name: "small".to_owned() }
}

/// Stores a driver that takes sessions.
async fn add_driver(store: &Store, id: &str, share: Share, max_sessions: u64) {
    store.report(&driver(id, share, max_sessions), NOW).await.unwrap();
    store.set_open(id, NOW).await.unwrap();
}

fn driver(id: &str, share: Share, max_sessions: u64) -> Driver {
    Driver {
        id: id.to_owned(),
        pool: pool(),
        address: "127.0.0.1:1".to_owned(),
        engine: "4.1".to_owned(),
        share,
        size: Size::default(),
        max_sessions,
        started: NOW,
    }
}

async fn live(store: &Store, id: &str) -> u64 {
    store.driver(id).await.unwrap().unwrap().live
}

pub(crate) async fn session_has_one_driver_if_several_proxies_bind_it(fixture: Fixture) {
    let Fixture { store, other, .. } = &fixture;
    for id in ["a", "b"] {
        add_driver(store, id, Share::Domain, 1_000).await;
    }
    for number in 0..20 {
        let session = key("ada", &number.to_string());
        let binds = (0..8).map(|at| {
            let store = if at % 2 == 0 { store } else { other };
            store.bind(&session, ["a", "b"][at / 2 % 2], NOW)
        });
        let bound: Vec<Bound> = join_all(binds).await.into_iter().map(Result::unwrap).collect();
        let fresh = bound.iter().filter(|bound| **bound == Bound::New).count();
        assert_eq!(fresh, 1, "{bound:?}");
        let stored = store.session(&session).await.unwrap().unwrap();
        let others = bound.iter().filter_map(|bound| match bound {
            Bound::Existing(session) => Some(session.driver.as_str()),
            Bound::New | Bound::Refused => None,
        });
        assert!(others.into_iter().all(|driver| driver == stored.driver), "{bound:?}");
    }
    assert_eq!(live(store, "a").await + live(store, "b").await, 20);
}

pub(crate) async fn driver_takes_no_more_sessions_than_its_maximum(fixture: Fixture) {
    let Fixture { store, other, .. } = &fixture;
    add_driver(store, "a", Share::Domain, 3).await;
    let keys: Vec<SessionKey> = (0..12).map(|number| key("ada", &number.to_string())).collect();
    let binds = keys.iter().enumerate().map(|(at, key)| [store, other][at % 2].bind(key, "a", NOW));
    let bound: Vec<Bound> = join_all(binds).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(bound.iter().filter(|bound| **bound == Bound::New).count(), 3);
    assert_eq!(live(store, "a").await, 3);
}

pub(crate) async fn private_driver_has_one_user(fixture: Fixture) {
    let Fixture { store, other, .. } = &fixture;
    add_driver(store, "a", Share::Private, 10).await;
    let keys: Vec<SessionKey> =
        (0..12).map(|number| key(["ada", "grace"][number % 2], &number.to_string())).collect();
    let binds = keys.iter().map(|key| async move { (key, other.bind(key, "a", NOW).await.unwrap()) });
    let users: BTreeSet<&str> = join_all(binds)
        .await
        .into_iter()
        .filter(|(_, bound)| *bound == Bound::New)
        .map(|(key, _)| key.user.as_str())
        .collect();
    assert_eq!(users.len(), 1);
    let owner = store.driver("a").await.unwrap().unwrap().owner;
    assert_eq!(owner.as_deref(), users.first().copied());
}

pub(crate) async fn drained_driver_takes_no_session(fixture: Fixture) {
    let store = &fixture.store;
    add_driver(store, "a", Share::Domain, 10).await;
    assert_eq!(store.bind(&key("ada", "1"), "a", NOW).await.unwrap(), Bound::New);
    assert!(store.drain("a", false).await.unwrap());
    assert_eq!(store.bind(&key("ada", "2"), "a", NOW).await.unwrap(), Bound::Refused);
    // A report of its source does not open it again.
    add_driver(store, "a", Share::Domain, 10).await;
    assert_eq!(store.bind(&key("ada", "2"), "a", NOW).await.unwrap(), Bound::Refused);
    let Bound::Existing(session) = store.bind(&key("ada", "1"), "a", NOW).await.unwrap() else {
        panic!("the session is bound");
    };
    assert_eq!(session.driver, "a");
}

pub(crate) async fn reopened_driver_takes_sessions_once_it_has_answered(fixture: Fixture) {
    let store = &fixture.store;
    let reopened = async |id: &str| {
        assert!(store.drain(id, false).await.unwrap());
        store.reopen(id).await.unwrap();
        store.driver(id).await.unwrap().unwrap().state
    };
    store.report(&driver("a", Share::Domain, 10), NOW).await.unwrap();
    assert_eq!(reopened("a").await, DriverState::Starting);
    store.set_open("a", NOW).await.unwrap();
    assert_eq!(reopened("a").await, DriverState::Open);
}

pub(crate) async fn driver_with_sessions_is_not_drained_as_unused(fixture: Fixture) {
    let store = &fixture.store;
    add_driver(store, "a", Share::Domain, 10).await;
    store.bind(&key("ada", "1"), "a", NOW).await.unwrap();
    assert!(!store.drain("a", true).await.unwrap());
    store.end(&key("ada", "1"), NOW).await.unwrap();
    assert!(store.drain("a", true).await.unwrap());
}

pub(crate) async fn ended_session_frees_its_place_once(fixture: Fixture) {
    let Fixture { store, other, .. } = &fixture;
    add_driver(store, "a", Share::Domain, 2).await;
    for number in ["1", "2"] {
        store.bind(&key("ada", number), "a", NOW).await.unwrap();
    }
    let first = key("ada", "1");
    let ends = [store, other, store, other].map(|store| store.end(&first, NOW));
    let ended: Vec<bool> = join_all(ends).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(ended.iter().filter(|ended| **ended).count(), 1);
    assert_eq!(live(store, "a").await, 1);
    let stored = store.session(&first).await.unwrap().unwrap();
    assert_eq!((stored.driver.as_str(), stored.ended), ("a", Some(NOW)));
}

pub(crate) async fn unused_sessions_expire(fixture: Fixture) {
    let store = &fixture.store;
    add_driver(store, "a", Share::Domain, 10).await;
    for number in ["1", "2"] {
        store.bind(&key("ada", number), "a", NOW).await.unwrap();
    }
    let later = NOW + SignedDuration::from_hours(1);
    store.touch(&[key("ada", "2"), key("ada", "unknown")], later).await.unwrap();
    assert_eq!(store.expire("a", NOW + SignedDuration::from_mins(1), later).await.unwrap(), 1);
    assert_eq!(store.expire("a", NOW + SignedDuration::from_mins(1), later).await.unwrap(), 0);
    assert_eq!(live(store, "a").await, 1);
    let open = store.sessions(None, None).await.unwrap();
    assert_eq!(open.into_iter().map(|(key, _)| key.session).collect::<Vec<_>>(), ["2"]);
}

pub(crate) async fn driver_that_is_gone_stays_gone(fixture: Fixture) {
    let store = &fixture.store;
    add_driver(store, "a", Share::Domain, 10).await;
    store.bind(&key("ada", "1"), "a", NOW).await.unwrap();
    store.set_gone("a").await.unwrap();
    add_driver(store, "a", Share::Domain, 10).await;
    assert!(!store.drain("a", false).await.unwrap());
    assert_eq!(store.driver("a").await.unwrap().unwrap().state, DriverState::Gone);
    assert_eq!(store.drivers().await.unwrap(), []);
    let later = NOW + SignedDuration::from_hours(1);
    store.forget(later).await.unwrap();
    assert_eq!(store.session(&key("ada", "1")).await.unwrap(), None);
    assert_eq!(store.driver("a").await.unwrap(), None);
}

pub(crate) async fn demand_counts_sessions_and_users(fixture: Fixture) {
    let Fixture { store, other, .. } = &fixture;
    for (user, session) in [("ada", "1"), ("ada", "2"), ("grace", "3")] {
        store.want(&key(user, session), &pool(), NOW).await.unwrap();
        other.want(&key(user, session), &pool(), NOW).await.unwrap();
    }
    let demand = |since| async move { other.demand(since).await.unwrap() };
    assert_eq!(demand(NOW).await, [(pool(), Demand { sessions: 3, users: 2 })]);
    assert_eq!(demand(NOW + SignedDuration::from_secs(1)).await, []);
    // A session that is bound does not wait.
    add_driver(store, "a", Share::Domain, 10).await;
    store.bind(&key("ada", "1"), "a", NOW).await.unwrap();
    assert_eq!(demand(NOW).await, [(pool(), Demand { sessions: 2, users: 2 })]);
}

pub(crate) async fn failure_of_a_pool_is_replaced_and_cleared(fixture: Fixture) {
    let Fixture { store, other, .. } = &fixture;
    let first = PoolFailure {
        pool: pool(),
        job: "a".to_owned(),
        attempts: 1,
        at: NOW,
        cause: "oom".to_owned(),
        message: "the driver ran out of memory".to_owned(),
        execution: Some("01".to_owned()),
    };
    let second =
        PoolFailure { attempts: 2, at: NOW + SignedDuration::from_secs(5), execution: None, ..first.clone() };
    let elsewhere = PoolFailure { pool: PoolKey { name: "large".to_owned(), ..pool() }, ..first.clone() };
    for failure in [&first, &elsewhere, &second] {
        store.set_failure(failure).await.unwrap();
    }
    assert_eq!(other.failures().await.unwrap(), [elsewhere.clone(), second]);
    other.clear_failure(&pool()).await.unwrap();
    assert_eq!(store.failures().await.unwrap(), [elsewhere]);
}

pub(crate) async fn sizes_of_pools_and_drivers_are_stored(fixture: Fixture) {
    let Fixture { store, other, .. } = &fixture;
    let (small, large) = (
        Size { cores: Some(4), memory: Some(8 << 30) },
        Size { cores: Some(1_280_000), memory: Some(1 << 50) },
    );
    let declared = Pool {
        key: pool(),
        engine: "4.1".to_owned(),
        share: Share::Domain,
        size: large,
        starts: true,
        min_idle: 1,
        revision: 2,
    };
    store.set_pools(true, std::slice::from_ref(&declared)).await.unwrap();
    assert_eq!(other.pools().await.unwrap(), [declared]);
    for (id, scope, expected) in [("a", "web", small), ("fixed:a", "", large)] {
        let pool = PoolKey { scope: scope.to_owned(), ..pool() };
        let id = id.to_owned();
        let driver = |size: Size| Driver {
            id: id.clone(),
            pool: pool.clone(),
            address: "127.0.0.1:1".to_owned(),
            engine: "4.1".to_owned(),
            share: Share::Domain,
            size,
            max_sessions: 1,
            started: NOW,
        };
        store.report(&driver(small), NOW).await.unwrap();
        // The driver of a pool keeps the size with which it was started; the one of a file gets that of the file.
        store.report(&driver(large), NOW).await.unwrap();
        assert_eq!(other.driver(&id).await.unwrap().unwrap().driver, driver(expected));
    }
}

//! Tests of the overview.

use std::collections::BTreeSet;
use std::sync::Arc;

use dcp_server::Credential;
use dcp_server::policy::{Area, Names, Policy, Rule};

use super::*;
use crate::session::Share;
use crate::store::Bound;

const SIZE: Size = Size { cores: Some(4), memory: Some(8 << 30) };

fn key(scope: &str, domain: &str) -> PoolKey {
    PoolKey { scope: scope.to_owned(), domain: domain.to_owned(), name: "small".to_owned() }
}

fn driver(id: &str, pool: &PoolKey, size: Size) -> Driver {
    Driver {
        id: id.to_owned(),
        pool: pool.clone(),
        address: "127.0.0.1:1".to_owned(),
        engine: "4.1".to_owned(),
        share: Share::Domain,
        size,
        max_sessions: 9,
        started: Timestamp::UNIX_EPOCH,
    }
}

async fn add_driver(store: &Store, id: &str, pool: &PoolKey, is_open: bool) {
    store.report(&driver(id, pool, Size::default()), Timestamp::UNIX_EPOCH).await.unwrap();
    if is_open {
        store.set_open(id, Timestamp::UNIX_EPOCH).await.unwrap();
    }
}

async fn add_session(store: &Store, user: &str, domain: &str, driver: &str) {
    let key = SessionKey {
        domain: domain.to_owned(),
        user: user.to_owned(),
        session: format!("session of {user}"),
    };
    let bound = store.bind(&key, driver, Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(bound, Bound::New);
}

/// Returns a store with a driver and a session of `ada` and of `bob` in each of two domains.
async fn store(folder: &std::path::Path) -> Store {
    let store = Store::sqlite(&folder.join("state.db")).await.unwrap();
    let pool = |domain: &str| Pool {
        key: key("shop", domain),
        engine: "4.1".to_owned(),
        share: Share::Domain,
        size: SIZE,
        starts: true,
        min_idle: 1,
        revision: 1,
    };
    store.set_pools(true, &["finance", "logistics"].map(pool)).await.unwrap();
    for domain in ["finance", "logistics"] {
        add_driver(&store, domain, &key("shop", domain), true).await;
        for user in ["ada", "bob"] {
            add_session(&store, user, domain, domain).await;
        }
    }
    store
}

/// Returns `ada` with roles in domains.
fn ada(roles: &[(Role, &str)]) -> Caller {
    let rule = |&(role, domain): &(Role, &str)| Rule {
        role,
        users: BTreeSet::from(["ada".to_owned()]),
        groups: BTreeSet::new(),
        area: Area {
            scopes: Names::Only(BTreeSet::from(["shop".to_owned()])),
            domains: Names::Only(BTreeSet::from([domain.to_owned()])),
        },
    };
    let policy = Policy { rules: roles.iter().map(rule).collect(), ..Policy::default() };
    Caller::new("ada", Vec::new(), Credential::Session).with_policy(&Arc::new(policy))
}

#[tokio::test]
async fn pools_are_those_of_visible_domains_with_their_drivers_and_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    add_driver(&store, "cold", &key("shop", "logistics"), false).await;
    add_driver(&store, "old", &key("shop", "logistics"), true).await;
    store.drain("old", false).await.unwrap();
    let caller = ada(&[(Role::Viewer, "logistics")]);
    let overview = Overview { store: &store, caller: &caller };
    let pools = overview.pools(None).await.unwrap();
    let drivers = DriverCounts { ready: 1, starting: 1, draining: 1 };
    let expected = PoolStatus {
        state: PoolState::Ready,
        drivers,
        min_idle: 1,
        revision: 1,
        sessions: 2,
        users: 2,
        ..status(key("shop", "logistics"), "4.1".to_owned(), "domain", SIZE)
    };
    assert_eq!(pools, [expected]);
    assert_eq!(overview.pools(Some("finance")).await.unwrap(), []);
    let stranger = ada(&[]);
    let denied = Overview { store: &store, caller: &stranger }.pools(None).await.unwrap_err();
    assert_eq!(denied.code, Code::PermissionDenied);
}

#[tokio::test]
async fn sessions_of_others_are_for_operators_of_their_domain() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let found = async |roles: &[(Role, &str)], domain: Option<&str>, all: bool| {
        let caller = ada(roles);
        let found = Overview { store: &store, caller: &caller }.sessions(domain, all).await;
        found
            .map(|found| found.into_iter().map(|it| format!("{} {}", it.domain, it.user)).collect::<Vec<_>>())
    };
    let viewer = [(Role::Viewer, "logistics")];
    assert_eq!(found(&viewer, None, false).await.unwrap(), ["finance ada", "logistics ada"]);
    assert_eq!(found(&viewer, Some("logistics"), false).await.unwrap(), ["logistics ada"]);
    assert_eq!(found(&viewer, Some("logistics"), true).await.unwrap_err().code, Code::PermissionDenied);
    let operator = [(Role::Operator, "logistics")];
    let all = found(&operator, None, true).await.unwrap();
    assert_eq!(all, ["finance ada", "logistics ada", "logistics bob"]);
    assert_eq!(found(&operator, Some("finance"), true).await.unwrap_err().code, Code::PermissionDenied);
    store.set_gone("logistics").await.unwrap();
    assert_eq!(found(&operator, None, true).await.unwrap(), ["finance ada"]);
}

#[tokio::test]
async fn size_of_a_pool_is_the_declared_one_or_that_of_all_its_drivers() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let fixed = key("", "finance");
    let sizes = async || {
        let pools = pool_statuses(&store).await.unwrap().into_iter();
        let sizes = pools.filter(|pool| pool.domain == "finance");
        sizes.map(|pool| (pool.cores, pool.memory.map(|it| it.to_string()))).collect::<Vec<_>>()
    };
    let declared = (Some(4), Some("8g".to_owned()));
    for (id, size, expected) in [
        ("fixed:a", SIZE, declared.clone()),
        ("fixed:b", SIZE, declared.clone()),
        ("fixed:c", Size { cores: Some(4), memory: Some(4 << 30) }, (Some(4), None)),
        ("fixed:d", SIZE, (Some(4), None)),
        ("fixed:e", Size::default(), (None, None)),
    ] {
        store.report(&driver(id, &fixed, size), Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(sizes().await, [expected, declared.clone()], "{id}");
    }
}

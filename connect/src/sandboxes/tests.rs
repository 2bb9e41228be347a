//! Tests of sandboxes without a driver.

use std::sync::Arc;

use dcp_server::Credential;

use super::*;
use crate::session::{Pool, PoolKey, Share, Size};
use crate::store::Store;

fn now() -> Timestamp {
    Timestamp::from_second(1_000).unwrap()
}

/// Returns a proxy with a pool whose drivers have 4 cores and 8 GiB.
async fn proxy(folder: &tempfile::TempDir) -> Proxy {
    let store = Store::sqlite(&folder.path().join("state.db")).await.unwrap();
    let key = PoolKey { scope: "shop".to_owned(), domain: "logistics".to_owned(), name: "small".to_owned() };
    let size = Size { cores: Some(4), memory: Some(8 << 30) };
    let pool = Pool {
        key,
        engine: "4.1".to_owned(),
        share: Share::Domain,
        size,
        starts: true,
        min_idle: 1,
        revision: 2,
    };
    store.set_pools(true, &[pool]).await.unwrap();
    Proxy::start(store, Arc::new(|_| None), now).await.unwrap()
}

fn new(name: &str, ttl: u64) -> NewSandbox {
    NewSandbox {
        name: name.to_owned(),
        branch: String::new(),
        driver: Wanted::default(),
        catalog: None,
        ttl: Duration::from_secs(ttl),
    }
}

fn stored(user: &str, expires: i64) -> StoredSandbox {
    StoredSandbox {
        key: SandboxKey { domain: "logistics".to_owned(), user: user.to_owned(), name: "main".to_owned() },
        branch: "main".to_owned(),
        pool: None,
        engine: None,
        cores: None,
        memory: None,
        catalog: DEFAULT_CATALOG.to_owned(),
        schema: format!("sandbox_{user}_main"),
        session: random_uuid(),
        opened: None,
        created: now(),
        expires: Timestamp::from_second(expires).unwrap(),
        ending: None,
    }
}

#[tokio::test]
async fn sandbox_of_another_user_does_not_exist() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = proxy(&folder).await;
    assert!(proxy.store().add_sandbox(&stored("ada", 2_000)).await.unwrap());
    let bob = Caller::unrestricted("bob", Credential::Process);
    let sandboxes = Sandboxes { proxy: &proxy, caller: &bob };
    assert_eq!(sandboxes.list().await.unwrap(), []);
    assert_eq!(sandboxes.open("logistics", "main").await.unwrap_err().code, Code::NotFound);
    assert_eq!(sandboxes.delete("logistics", "main", true).await.unwrap_err().code, Code::NotFound);
    let ada = Caller::unrestricted("ada", Credential::Process);
    let sandboxes = Sandboxes { proxy: &proxy, caller: &ada };
    assert_eq!(sandboxes.list().await.unwrap().len(), 1);
    sandboxes.delete("", "main", true).await.unwrap();
    assert_eq!(sandboxes.list().await.unwrap(), []);
}

#[tokio::test]
async fn callers_without_a_role_and_invalid_requests_store_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = proxy(&folder).await;
    let stranger = Caller::new("ada", Vec::new(), Credential::Session);
    let denied = Sandboxes { proxy: &proxy, caller: &stranger }.create(new("main", 60)).await.unwrap_err();
    assert_eq!(denied.code, Code::PermissionDenied);
    let ada = Caller::unrestricted("ada", Credential::Process);
    let sandboxes = Sandboxes { proxy: &proxy, caller: &ada };
    for wrong in
        [new("a`b", 60), new("main", 0), NewSandbox { catalog: Some("a.b".to_owned()), ..new("main", 60) }]
    {
        assert_eq!(sandboxes.create(wrong).await.unwrap_err().code, Code::InvalidArgument);
    }
    assert_eq!(sandboxes.list().await.unwrap(), []);
}

#[tokio::test]
async fn sandbox_is_stored_before_its_driver_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = proxy(&folder).await;
    let ada = Caller::unrestricted("ada", Credential::Process);
    let sandboxes = Sandboxes { proxy: &proxy, caller: &ada };
    let driver = Wanted { cores: Some(4), memory: Memory::from_bytes(8 << 30), ..Wanted::default() };
    tokio::select! {
        created = sandboxes.create(NewSandbox { driver, ..new("main", 60) }) => panic!("no driver runs: {created:?}"),
        () = async {
            while sandboxes.list().await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => {}
    }
    let found = sandboxes.list().await.unwrap();
    assert_eq!((found[0].schema.as_str(), found[0].domain.as_str()), ("sandbox_ada_main", "logistics"));
    assert_eq!((found[0].cores, found[0].memory), (Some(4), Memory::from_bytes(8 << 30)));
}

#[tokio::test]
async fn sandbox_that_no_pool_is_large_enough_for_is_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = proxy(&folder).await;
    let ada = Caller::unrestricted("ada", Credential::Process);
    let sandboxes = Sandboxes { proxy: &proxy, caller: &ada };
    for driver in [
        Wanted { cores: Some(5), ..Wanted::default() },
        Wanted { memory: Memory::from_bytes(9 << 30), ..Wanted::default() },
    ] {
        let refused = sandboxes.create(NewSandbox { driver, ..new("main", 60) }).await.unwrap_err();
        assert!(refused.message.contains("has no pool"), "{}", refused.message);
    }
    assert_eq!(sandboxes.list().await.unwrap(), []);
}

#[tokio::test]
async fn expired_sandbox_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = proxy(&folder).await;
    proxy.store().add_sandbox(&stored("ada", 1_000)).await.unwrap();
    let ada = Caller::unrestricted("ada", Credential::Process);
    let sandboxes = Sandboxes { proxy: &proxy, caller: &ada };
    let expired = sandboxes.open("logistics", "main").await.unwrap_err();
    assert!(expired.message.contains("dcp sandbox create main"), "{}", expired.message);
}

#[tokio::test]
async fn existing_sandbox_is_not_created_with_another_catalog_or_pool() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = proxy(&folder).await;
    proxy.store().add_sandbox(&stored("ada", 2_000)).await.unwrap();
    let ada = Caller::unrestricted("ada", Credential::Process);
    let sandboxes = Sandboxes { proxy: &proxy, caller: &ada };
    let of = |driver: Wanted| NewSandbox { driver, ..new("main", 60) };
    for other in [
        NewSandbox { catalog: Some("lake".to_owned()), ..new("main", 60) },
        of(Wanted { pool: Some("small".to_owned()), ..Wanted::default() }),
        of(Wanted { cores: Some(4), ..Wanted::default() }),
        of(Wanted { memory: Memory::from_bytes(8 << 30), ..Wanted::default() }),
    ] {
        assert_eq!(sandboxes.create(other).await.unwrap_err().code, Code::AlreadyExists);
    }
}

#[tokio::test]
async fn schema_without_the_prefix_is_never_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = proxy(&folder).await;
    let ada = Caller::unrestricted("ada", Credential::Process);
    let changed = StoredSandbox { schema: "lake".to_owned(), ..stored("ada", 2_000) };
    let refused = Sandboxes { proxy: &proxy, caller: &ada }.remove(changed).await.unwrap_err();
    assert!(refused.message.contains("is not dropped"), "{}", refused.message);
}

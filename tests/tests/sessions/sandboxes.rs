//! The rules about sandboxes.

use dcp_connect::store::sandboxes::{SandboxKey, StoredSandbox};
use dcp_model::manifest::Memory;
use futures_util::future::join_all;
use jiff::Timestamp;

use crate::Fixture;

fn key(domain: &str, user: &str) -> SandboxKey {
    SandboxKey { domain: domain.to_owned(), user: user.to_owned(), name: "main".to_owned() }
}

fn sandbox(key: SandboxKey, schema: &str) -> StoredSandbox {
    StoredSandbox {
        key,
        branch: "main".to_owned(),
        pool: None,
        engine: Some("4.1".to_owned()),
        cores: Some(u32::MAX),
        memory: Memory::from_bytes(8 << 30),
        catalog: "spark_catalog".to_owned(),
        schema: schema.to_owned(),
        session: "1".to_owned(),
        opened: None,
        created: at(1),
        expires: at(100),
        ending: None,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) async fn sandbox_is_stored_once_and_its_schema_belongs_to_it_alone(fixture: Fixture) {
    let Fixture { store, other, .. } = &fixture;
    let ada = sandbox(key("logistics", "ada"), "sandbox_ada_main");
    assert!(store.add_sandbox(&ada).await.unwrap());
    assert!(!other.add_sandbox(&ada).await.unwrap());
    assert_eq!(other.sandbox(&ada.key).await.unwrap().unwrap(), ada);
    assert!(!store.add_sandbox(&sandbox(key("finance", "ada"), "sandbox_ada_main")).await.unwrap());
    assert!(store.add_sandbox(&sandbox(key("finance", "ada"), "sandbox_ada_main_1")).await.unwrap());
    assert!(store.add_sandbox(&sandbox(key("finance", "bob"), "sandbox_bob_main")).await.unwrap());
    assert_eq!(store.sandboxes("ada").await.unwrap().len(), 2);
    assert_eq!(store.sandboxes("bob").await.unwrap().len(), 1);
}

pub(crate) async fn sandbox_that_expires_is_removed_by_one(fixture: Fixture) {
    let Fixture { store, other, .. } = &fixture;
    let ada = sandbox(key("logistics", "ada"), "sandbox_ada_main");
    store.add_sandbox(&ada).await.unwrap();
    let never = Timestamp::UNIX_EPOCH;
    assert_eq!(store.expired_sandboxes(at(99), never).await.unwrap(), []);
    assert!(!store.end_sandbox(&ada.key, at(99), never, true).await.unwrap());
    store.remove_sandbox(&ada.key).await.unwrap();
    assert!(store.extend_sandbox(&ada.key, at(200)).await.unwrap(), "it was removed without an end");
    assert!(!store.end_sandbox(&ada.key, at(150), never, true).await.unwrap());
    assert_eq!(store.expired_sandboxes(at(200), never).await.unwrap().len(), 1);
    let ends = (0..8).map(|it| if it % 2 == 0 { store } else { other });
    let ends = join_all(ends.map(|store| store.end_sandbox(&ada.key, at(200), never, true))).await;
    assert_eq!(ends.into_iter().filter(|begun| *begun.as_ref().unwrap()).count(), 1);
    assert!(!store.extend_sandbox(&ada.key, at(300)).await.unwrap());
    let again = store.end_sandbox(&ada.key, at(900), at(800), true).await.unwrap();
    assert!(again, "another one has to complete it");
    store.remove_sandbox(&ada.key).await.unwrap();
    assert_eq!(store.sandbox(&ada.key).await.unwrap(), None);
}

pub(crate) async fn sandbox_gets_one_new_session_if_several_proxies_replace_it(fixture: Fixture) {
    let Fixture { store, other, .. } = &fixture;
    let ada = sandbox(key("logistics", "ada"), "sandbox_ada_main");
    store.add_sandbox(&ada).await.unwrap();
    let sessions = ["2", "3", "4", "5"];
    let replaced = sessions.iter().enumerate().map(|(at, new)| {
        let store = if at % 2 == 0 { store } else { other };
        store.set_sandbox_session(&ada.key, "1", new)
    });
    let replaced = join_all(replaced).await;
    let first: Vec<&str> = sessions
        .into_iter()
        .zip(replaced)
        .filter(|(_, done)| *done.as_ref().unwrap())
        .map(|it| it.0)
        .collect();
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(store.sandbox(&ada.key).await.unwrap().unwrap().session, first[0]);
}

pub(crate) async fn session_of_a_sandbox_is_new_until_it_is_opened(fixture: Fixture) {
    let Fixture { store, other, .. } = &fixture;
    let ada = sandbox(key("logistics", "ada"), "sandbox_ada_main");
    store.add_sandbox(&ada).await.unwrap();
    let is_new = async || other.sandbox(&ada.key).await.unwrap().unwrap().has_new_session();
    assert!(!is_new().await, "no session was opened before");
    store.set_opened_session(&ada.key, "1").await.unwrap();
    assert!(!is_new().await);
    store.set_sandbox_session(&ada.key, "1", "2").await.unwrap();
    assert!(is_new().await);
    store.set_opened_session(&ada.key, "2").await.unwrap();
    assert!(!is_new().await);
    // A proxy that was paused stores the session that was replaced.
    store.set_opened_session(&ada.key, "1").await.unwrap();
    assert!(!is_new().await, "the session of the sandbox was opened");
}

//! The registry in a SQLite file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use dcp_model::primitive::Fingerprint;
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::registry::{Error, Registry as _};
use dcp_reconciler::state::Base;
use dcp_tests::commits::{commit, create, scope};
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{Fixture, contract, crash};

async fn open(path: &Path) -> Sql {
    Sql::sqlite(path).await.unwrap()
}

async fn fixture() -> Fixture {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("with space, 100%/state?.db");
    let (registry, other) = (Arc::new(open(&path).await), Arc::new(open(&path).await));
    Fixture { registry, other, _resources: vec![Box::new(folder)] }
}

contract!(fixture());

#[tokio::test(flavor = "multi_thread")]
async fn killed_process_leaves_a_complete_state_and_no_lock() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    crash::assert_complete_states(&open(&path).await, ["sqlite", path.to_str().unwrap()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn concurrent_first_opens_succeed() {
    for _ in 0..10 {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(".dcp/state.db");
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let path = path.clone();
            tasks.spawn(async move { open(&path).await });
        }
        assert_eq!(tasks.join_all().await.len(), 8);
    }
}

#[tokio::test]
async fn folder_is_private_and_commits_are_durable() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("project/.dcp/state.db");
    let first = open(&path).await;
    let head = first.commit(&scope(), commit(&Base::default(), vec![create("a", "1")])).await.unwrap();
    first.close().await;
    let mode = path.parent().unwrap().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(open(&path).await.state(&scope()).await.unwrap().base, head.base);
}

#[tokio::test]
async fn damaged_body_is_detected() {
    let (folder, registry) = with_one_entry().await;
    tamper(&folder, "UPDATE registry_bodies SET body = 'something else'").await;
    let error = registry.bodies(&scope(), &[Fingerprint::of("1")]).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("state.db") && error.to_string().contains("backup"), "{error}");
}

#[tokio::test]
async fn damaged_rows_are_detected() {
    for damage in [
        "UPDATE registry_current SET address = 'nonsense'",
        "UPDATE registry_current SET fingerprint = upper(fingerprint)",
        "UPDATE registry_current SET serial = -1",
        "UPDATE registry_current SET serial = 'x'",
        "UPDATE registry_applies SET applied_at = 'yesterday'",
        "UPDATE registry_applies SET counts = '{\"conjure\": 1}'",
        "DELETE FROM registry_applies",
        "DROP TABLE registry_unpublished",
    ] {
        let (folder, registry) = with_one_entry().await;
        tamper(&folder, damage).await;
        let seen = registry.state(&scope()).await;
        assert!(matches!(seen, Err(Error::Corrupt(_))), "{damage}: {seen:?}");
    }
}

#[tokio::test]
async fn newer_schema_is_rejected_and_not_changed() {
    let (folder, registry) = with_one_entry().await;
    registry.close().await;
    tamper(&folder, "UPDATE registry_schema SET version = 99").await;
    let error = Sql::sqlite(&folder.path().join("state.db")).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt(_)), "{error:?}");
    assert!(error.to_string().ends_with("upgrade dcp") && error.to_string().contains("state.db"), "{error}");
    tamper(&folder, "UPDATE registry_schema SET version = 1").await;
    assert_eq!(open(&folder.path().join("state.db")).await.state(&scope()).await.unwrap().entries.len(), 1);
    tamper(&folder, "DELETE FROM registry_schema").await;
    let error = Sql::sqlite(&folder.path().join("state.db")).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt(message) if message.contains("which version")), "{error:?}");
}

#[tokio::test]
async fn file_that_is_no_database_is_rejected_with_its_path() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    std::fs::write(&path, "this is a text, and longer than the header of a database file; ".repeat(20))
        .unwrap();
    let error = Sql::sqlite(&path).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("state.db") && error.to_string().contains("backup"), "{error}");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("this is a text"));
}

#[tokio::test]
async fn unwritable_path_is_reported() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [Path::new("/proc/dcp/state.db"), &file.join("state.db"), folder.path()] {
        let error = Sql::sqlite(path).await.unwrap_err();
        assert!(matches!(&error, Error::Unavailable(_)), "{error:?}");
        let message = error.to_string();
        assert!(
            message.contains(path.to_str().unwrap()) && message.contains("must be writable"),
            "{message}"
        );
    }
}

async fn with_one_entry() -> (TempDir, Sql) {
    let folder = TempDir::new().unwrap();
    let registry = open(&folder.path().join("state.db")).await;
    registry.commit(&scope(), commit(&Base::default(), vec![create("a", "1")])).await.unwrap();
    (folder, registry)
}

async fn tamper(folder: &TempDir, statement: &'static str) {
    let url = format!("sqlite://{}", folder.path().join("state.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("PRAGMA foreign_keys = OFF").execute(&mut connection).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

//! The registry in a real PostgreSQL, started by `dcp_tests::postgres`.

use std::sync::Arc;
use std::time::Instant;

use dcp_model::primitive::Fingerprint;
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::registry::{Error, Registry as _};
use dcp_reconciler::state::Base;
use dcp_tests::commits::{commit, create, scope};
use dcp_tests::postgres::{PASSWORD, database};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use crate::{Fixture, contract, crash};

async fn fixture() -> Fixture {
    let url = database();
    let registry = Arc::new(Sql::postgres(&url).await.unwrap());
    let other = Arc::new(Sql::postgres(&url).await.unwrap());
    Fixture { registry, other, _resources: Vec::new() }
}

contract!(fixture());

#[tokio::test(flavor = "multi_thread")]
async fn killed_process_leaves_a_complete_state_and_no_lock() {
    let url = database();
    crash::assert_complete_states(&Sql::postgres(&url).await.unwrap(), ["postgres", &url]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_first_opens_succeed() {
    let url = database();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        tasks.spawn(async move { Sql::postgres(&url).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.len(), 8);
}

#[tokio::test]
async fn damaged_body_is_detected() {
    let url = database();
    let registry = Sql::postgres(&url).await.unwrap();
    registry.commit(&scope(), commit(&Base::default(), vec![create("a", "1")])).await.unwrap();
    tamper(&url, "UPDATE registry_bodies SET body = 'something else'").await;
    let error = registry.bodies(&scope(), &[Fingerprint::of("1")]).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt(_)), "{error:?}");
    tamper(&url, "DROP TABLE registry_unpublished").await;
    let error = registry.state(&scope()).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt(_)), "{error:?}");
}

#[tokio::test]
async fn newer_schema_is_rejected() {
    let url = database();
    drop(Sql::postgres(&url).await.unwrap());
    tamper(&url, "UPDATE registry_schema SET version = 99").await;
    let error = Sql::postgres(&url).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt(_)) && error.to_string().ends_with("upgrade dcp"), "{error:?}");
}

#[tokio::test]
async fn connection_errors_name_the_cause_without_the_password() {
    let url = database();
    let began = Instant::now();
    let (before, name) = url.rsplit_once('/').unwrap();
    let wrong = "hunter2-wrong";
    for (url, expected) in [
        (url.replace(PASSWORD, wrong), "refuses the user"),
        (format!("{before}/nowhere"), "is not there"),
        (format!("postgres://dcp:{PASSWORD}@127.0.0.1:1/{name}"), "can't be reached"),
        (format!("postgres://dcp:{PASSWORD}@127.0.0.1:notaport/{name}"), "can't be read"),
        (format!("mysql://dcp:{PASSWORD}@127.0.0.1/{name}"), "can't be read"),
    ] {
        let error = Sql::postgres(&url).await.unwrap_err();
        let message = format!("{error} {error:?}");
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains(PASSWORD) && !message.contains(wrong), "{message}");
    }
    assert!(began.elapsed().as_secs() < 20, "errors are reported soon");
    let shown = format!("{:?}", Sql::postgres(&url).await.unwrap());
    assert!(!shown.contains(PASSWORD), "{shown}");
}

async fn tamper(url: &str, statement: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("SET session_replication_role = replica").execute(&mut connection).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
